//! The output of an instance, the last line at the end.

use apm2_model::event::kind::OutputSource;

use crate::{
    render::color::Style,
    top::{
        app::logs::{LogLine, Logs},
        text::StyledLine,
    },
};

/// The lines. Lines of stderr have a mark, so that they are found without colours.
pub(crate) fn lines(logs: &Logs) -> Vec<StyledLine> {
    if logs.lines.is_empty() {
        let text = if logs.is_read { "nothing was written" } else { "reading…" };
        return vec![StyledLine::new(text, Style::Quiet)];
    }
    logs.lines.iter().map(line).collect()
}

fn line(line: &LogLine) -> StyledLine {
    let (mark, style) = match line.output {
        Some(OutputSource::Stdout) => ("  ", Style::Plain),
        Some(OutputSource::Stderr) => ("! ", Style::Bad),
        None => ("~ ", Style::Quiet),
    };
    StyledLine::new(mark, style).with(&line.text, if line.output.is_none() { style } else { Style::Plain })
}
