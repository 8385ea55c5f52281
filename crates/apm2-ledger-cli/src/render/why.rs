//! Prints why a process is in its state: the state in one sentence, and then one paragraph for each cause.

use std::io::{self, Write};

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::{
    render::{color::Style, escape::escape, status, table::Layout, words, zone::Zone},
    status::InstanceStatus,
    why::{chain::Chain, sentence::sentence},
};

/// Largest number of event numbers that are listed one by one.
const SEQS_LISTED_MAX: usize = 6;

/// The indent of the first line of a cause, and of its further lines.
const INDENTS: (&str, &str) = ("  ", "    ");

/// The smallest number of columns for text. On a narrower terminal, lines are longer than the terminal is wide.
const TEXT_COLUMNS_MIN: usize = 8;

/// Prints the state and its causes.
pub(crate) fn page(out: &mut dyn Write, status: &InstanceStatus<'_>, chain: &Chain, layout: Layout) -> io::Result<()> {
    let style = if layout.color { Style::of(status) } else { Style::Plain };
    for line in wrapped(&headline(status, chain, layout.zone), ("", INDENTS.0), layout.width_columns) {
        writeln!(out, "{}", style.paint(&line))?;
    }
    let causes = chain.causes.iter().map(|cause| format!("{} {}", sentence(cause, layout.zone), events(&cause.seqs)));
    for text in causes.chain(cut_note(status, chain)) {
        for line in wrapped(&text, INDENTS, layout.width_columns) {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// The state in one sentence.
pub(crate) fn headline(status: &InstanceStatus<'_>, chain: &Chain, zone: Zone) -> String {
    let handle = &status.stream.handle;
    let since = chain.since.map_or_else(String::new, |since| format!(", since {}", zone.time(since.wall())));
    let (name, words) = (handle.display_name(), status::status(status));
    let text = if status.is_doubtful() {
        format!("{name} is {words}; the last recorded state is {}{since}.", handle.state.name())
    } else {
        format!("{name} is {words}{since}.")
    };
    escape(&text).into_owned()
}

/// Says that older causes were left out.
fn cut_note(status: &InstanceStatus<'_>, chain: &Chain) -> Option<String> {
    let name = status.stream.handle.display_name();
    let text = format!("Earlier causes were left out; `apm2-ledger show {name} --events all` has all events.");
    chain.is_cut.then(|| escape(&text).into_owned())
}

/// The numbers of the events that record a cause.
fn events(seqs: &[u64]) -> String {
    match seqs {
        [] => String::new(),
        [only] => format!("[event {only}]"),
        [first, .., last] if seqs.len() > SEQS_LISTED_MAX => {
            format!("[{} events from {first} to {last}]", words::count(seqs.len() as u64))
        }
        several => {
            let several: Vec<_> = several.iter().map(ToString::to_string).collect();
            format!("[events {}]", several.join(", "))
        }
    }
}

/// `text` in lines of at most `columns` columns, broken between words where possible.
fn wrapped(text: &str, indents: (&str, &str), columns: Option<usize>) -> Vec<String> {
    let Some(columns) = columns else { return vec![format!("{}{text}", indents.0)] };
    let room = columns.saturating_sub(indents.1.width()).max(TEXT_COLUMNS_MIN);
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split(' ').flat_map(|word| pieces(word, room)) {
        if !line.is_empty() && line.width() + 1 + word.width() > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += &word;
    }
    lines.push(line);
    let indent = |index| if index == 0 { indents.0 } else { indents.1 };
    lines.into_iter().enumerate().map(|(index, line)| format!("{}{line}", indent(index))).collect()
}

/// `word` in pieces of at most `room` columns.
fn pieces(word: &str, room: usize) -> Vec<String> {
    let (mut pieces, mut piece, mut width) = (Vec::new(), String::new(), 0);
    for character in word.chars() {
        let columns = character.width().unwrap_or(0);
        if width + columns > room {
            pieces.push(std::mem::take(&mut piece));
            width = 0;
        }
        piece.push(character);
        width += columns;
    }
    pieces.push(piece);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_longer_than_the_terminal() {
        let text =
            "It was stopped by 日本語 at 2026-01-31T12:00:00.000Z: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.";
        for columns in 12..100 {
            let lines = wrapped(text, INDENTS, Some(columns));
            assert!(lines.iter().all(|line| line.width() <= columns), "{columns}: {lines:?}");
            let all: String = lines.iter().map(|line| line.trim()).collect();
            assert_eq!(all.replace(' ', ""), text.replace(' ', ""));
        }
        assert_eq!(wrapped(text, INDENTS, None), [format!("  {text}")]);
    }

    #[test]
    fn many_event_numbers_are_a_range() {
        assert_eq!(
            (events(&[]), events(&[3]), events(&[3, 9])),
            (String::new(), "[event 3]".into(), "[events 3, 9]".into())
        );
        assert_eq!(events(&[1, 2, 3, 4, 5, 6, 9]), "[7 events from 1 to 9]");
    }
}
