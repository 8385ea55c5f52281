//! Prints the checks of an installation as a table.

use std::io::{self, Write};

use unicode_width::UnicodeWidthStr as _;

use crate::{
    doctor::check::{Check, CheckStatus},
    render::{
        color::Style,
        escape::escape,
        table::{Align, Cell, Layout, Table},
        words::counted,
        wrap::wrapped,
    },
};

/// Columns of the status and of the gaps beside the name of a check.
const OTHER_COLUMNS: usize = 13;

/// Begins the text of what mends a finding.
const REMEDY: &str = "mend: ";

/// Prints a row for each check, with the texts in several lines where the terminal is narrow, and the number of findings.
pub(crate) fn table(out: &mut dyn Write, checks: &[Check], layout: Layout) -> io::Result<()> {
    let mut table = Table::new([("STATUS", Align::Left), ("CHECK", Align::Left), ("RESULT", Align::Left)]);
    let name_columns = checks.iter().map(|check| check.name.width()).max().unwrap_or(0);
    let columns = layout.width_columns.map(|width| width.saturating_sub(name_columns + OTHER_COLUMNS));
    for check in checks {
        let (symbol, style) = shown(check.status);
        let status = Cell::new(format!("{symbol} {}", check.status.name())).styled(style);
        let message = wrapped(&escape(&check.message), ("", ""), columns);
        let remedy = check.remedy.as_ref().map(|remedy| format!("{REMEDY}{}", escape(remedy)));
        let remedy = remedy.map(|remedy| wrapped(&remedy, ("", ""), columns)).unwrap_or_default();
        let mut first = Some((status, Cell::new(check.name)));
        for line in message.into_iter().chain(remedy) {
            let (status, name) = first.take().unwrap_or_default();
            table.push([status, name, Cell::new(line)]);
        }
    }
    table.write(out, "", layout)?;
    let number = |status| checks.iter().filter(|check| check.status == status).count() as u64;
    let problems = counted(number(CheckStatus::Problem), "problem");
    writeln!(out, "{problems}, {}, {} ok", counted(number(CheckStatus::Note), "note"), number(CheckStatus::Ok))
}

const fn shown(status: CheckStatus) -> (&'static str, Style) {
    match status {
        CheckStatus::Ok => ("✓", Style::Good),
        CheckStatus::Note => ("!", Style::Busy),
        CheckStatus::Problem => ("✗", Style::Bad),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_longer_than_the_terminal_and_no_text_is_cut() {
        let message = "the file system is mounted read-only and cannot be written";
        let checks = [Check::ok("a", "fine"), Check::problem("ledger_space", message, "mount -o remount,rw")];
        for width in 40..120 {
            let mut out = Vec::new();
            table(&mut out, &checks, Layout { width_columns: Some(width), ..Layout::default() }).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.lines().all(|line| line.width() <= width) && !text.contains('…'), "{width}: {text}");
            assert!(text.ends_with("1 problem, 0 notes, 1 ok\n"), "{text}");
        }
    }
}
