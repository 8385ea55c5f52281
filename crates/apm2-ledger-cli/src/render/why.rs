//! Prints why a process is in its state: the state in one sentence, and then one paragraph for each cause.

use std::io::{self, Write};

use crate::{
    render::{color::Style, escape::escape, status, table::Layout, words, wrap::wrapped, zone::Zone},
    status::InstanceStatus,
    why::{chain::Chain, sentence::sentence},
};

/// Largest number of event numbers that are listed one by one.
const SEQS_LISTED_MAX: usize = 6;

/// The indent of the first line of a cause, and of its further lines.
const INDENTS: (&str, &str) = ("  ", "    ");

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
    let (name, words) = (handle.display_name(), status::status(status, zone));
    // "waits for its usage limit until 17:00" has its verb.
    let words = if words.starts_with("waits ") { words } else { format!("is {words}") };
    let text = if status.is_doubtful() {
        format!("{name} {words}; the last recorded state is {}{since}.", handle.state.name())
    } else {
        format!("{name} {words}{since}.")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_event_numbers_are_a_range() {
        assert_eq!(
            (events(&[]), events(&[3]), events(&[3, 9])),
            (String::new(), "[event 3]".into(), "[events 3, 9]".into())
        );
        assert_eq!(events(&[1, 2, 3, 4, 5, 6, 9]), "[7 events from 1 to 9]");
    }
}
