//! Why an instance is in its state: the page of `why`.

use crate::{
    render::{self, color::Style, table::Layout, zone::Zone},
    status::InstanceStatus,
    top::text::StyledLine,
    why::{cause::UnwatchedProcess, chain::chain, evidence::Evidence},
};

/// The lines, in a pane of this width.
pub(crate) fn lines(evidence: &Evidence, status: &InstanceStatus<'_>, zone: Zone, columns: usize) -> Vec<StyledLine> {
    let chain = chain(evidence, UnwatchedProcess::of(status));
    let layout = Layout { width_columns: Some(columns), color: false, zone };
    let mut page = Vec::new();
    // Writing to memory cannot fail.
    let _ = render::why::page(&mut page, status, &chain, layout);
    let text = String::from_utf8_lossy(&page);
    let style = |index| if index == 0 { Style::of(status) } else { Style::Plain };
    text.lines().enumerate().map(|(index, line)| StyledLine::new(line, style(index))).collect()
}
