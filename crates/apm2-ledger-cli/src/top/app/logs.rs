//! The output of the process that is displayed.

use std::collections::VecDeque;

use apm2_model::event::kind::OutputSource;

use crate::top::feed::log_update::{LogPiece, LogTarget, LogUpdate};

/// Number of lines that are held. Earlier ones are dropped.
pub(crate) const LINES_MAX: usize = 2_000;

/// Longest line that is held, in bytes. The rest of a longer one is dropped.
const LINE_BYTES_MAX: usize = 8 << 10;

/// One line of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogLine {
    /// The output; `None` for a remark about the log.
    pub(crate) output: Option<OutputSource>,
    /// The text, escaped.
    pub(crate) text: String,
    /// Whether the line has ended.
    is_whole: bool,
}

/// The last lines of the outputs of an instance.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    /// What is shown; `None` while nothing was asked for.
    pub(crate) target: Option<LogTarget>,
    pub(crate) lines: VecDeque<LogLine>,
    /// Whether the existing lines were read.
    pub(crate) is_read: bool,
}

impl Logs {
    /// Shows the output of another instance, of which nothing is known yet.
    pub(crate) fn show(&mut self, target: LogTarget) {
        *self = Self { target: Some(target), ..Self::default() };
    }

    /// Adds what was read. False if it is about what is not shown any more.
    pub(crate) fn take(&mut self, update: LogUpdate) -> bool {
        if self.target.as_ref().is_none_or(|target| *target != update.target) {
            return false;
        }
        self.is_read = true;
        update.pieces.into_iter().for_each(|piece| self.push(piece));
        true
    }

    fn push(&mut self, piece: LogPiece) {
        let open = self.lines.iter_mut().rev().find(|line| line.output == piece.output);
        if let Some(line) = open.filter(|line| !line.is_whole) {
            push_within(&mut line.text, &piece.text);
            line.is_whole = piece.ends_line;
            return;
        }
        let mut text = String::new();
        push_within(&mut text, &piece.text);
        self.lines.push_back(LogLine { output: piece.output, text, is_whole: piece.ends_line });
        if self.lines.len() > LINES_MAX {
            self.lines.pop_front();
        }
    }
}

/// Appends as much of `more` as a line may hold.
fn push_within(line: &mut String, more: &str) {
    let room = LINE_BYTES_MAX.saturating_sub(line.len());
    let end = more.char_indices().map(|(at, _)| at).chain([more.len()]).take_while(|at| *at <= room).last();
    line.push_str(more.get(..end.unwrap_or(0)).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use apm2_model::{event::stream_id::StreamId, spec::id::ProcessId};

    use super::*;

    fn target(number: u8) -> LogTarget {
        let id = StreamId { process_id: ProcessId::from_bytes([number; 16]), instance: 0 };
        LogTarget { id, files: Vec::new(), until: None, is_pretty: false }
    }

    fn piece(output: OutputSource, text: &str, ends_line: bool) -> LogPiece {
        LogPiece { output: Some(output), text: text.to_owned(), ends_line }
    }

    #[test]
    fn lines_of_two_outputs_are_put_together() {
        use OutputSource::{Stderr, Stdout};
        let mut logs = Logs::default();
        logs.show(target(1));
        let pieces = vec![piece(Stdout, "half", false), piece(Stderr, "error", true), piece(Stdout, " whole", true)];
        assert!(logs.take(LogUpdate { target: target(1), pieces }));
        let pieces = vec![piece(Stdout, "next", true)];
        assert!(!logs.take(LogUpdate { target: target(2), pieces: pieces.clone() }), "of another process");
        assert!(logs.take(LogUpdate { target: target(1), pieces }));
        let texts: Vec<_> = logs.lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, ["half whole", "error", "next"]);
    }

    #[test]
    fn a_flood_stays_within_its_limits() {
        let mut logs = Logs::default();
        logs.show(target(1));
        let long = "é".repeat(LINE_BYTES_MAX);
        let pieces = (0..3 * LINES_MAX).map(|_| piece(OutputSource::Stdout, &long[..20], true));
        logs.take(LogUpdate { target: target(1), pieces: pieces.collect() });
        assert_eq!(logs.lines.len(), LINES_MAX);
        logs.take(LogUpdate { target: target(1), pieces: vec![piece(OutputSource::Stdout, &long, true)] });
        assert_eq!(logs.lines.back().unwrap().text.len(), LINE_BYTES_MAX);
    }
}
