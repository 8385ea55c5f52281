//! Converts the behaviour of an agent to events.
//!
//! An [`Adapter`] receives the output counters of a process, and its lines on request, which suffices for an agent that
//! writes line-delimited JSON. The observations of the adapter are recorded as `observed` events. [`BlackBox`] does not
//! parse the output: it reports the amount of output, and when the process stops writing output.
//!
//! Lines are read from the log files, since the output does not pass through the supervisor. For that reason, a slow
//! adapter does not delay the process, and adapters work only if output goes to files.

pub(crate) mod agent;
mod agent_limits;

use std::time::Duration;

use apm2_model::{
    event::{agent::event::AgentEvent, exit::Exit, kind::OutputSource, timestamp::Timestamp},
    spec::agent_kind::AgentKind,
    state::agent::AgentState,
};

/// Largest length of an observation, in characters.
pub const OBSERVATION_CHARS_MAX: usize = 500;

/// Largest length of a line, in bytes. Longer lines are cut and marked.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// Shortest interval at which [`BlackBox`] reports the amount of output, because each report is a recorded event.
pub const RATE_INTERVAL: Duration = Duration::from_secs(600);

/// An observation of an adapter, to be recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// A text, which is recorded as an `observed` event. Secrets are masked and the text is cut to
    /// [`OBSERVATION_CHARS_MAX`] characters before it is recorded.
    Text(String),
    /// A report of an AI agent, which is recorded as an `agent` event.
    Agent {
        /// The kind of the agent.
        agent: AgentKind,
        /// The report.
        event: AgentEvent,
    },
}

impl Observation {
    /// An observation with this text.
    #[must_use]
    pub fn new(detail: &str) -> Self {
        Self::Text(detail.to_owned())
    }
}

/// How a run has ended, for [`Adapter::end`].
#[derive(Debug, Clone, Copy)]
pub struct ObservedEnd {
    /// The exit of the main process.
    pub exit: Exit,
    /// Whether a stop of the process was requested before.
    pub was_stopped: bool,
}

/// The amount of output of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MeterReading {
    /// Bytes on stdout, over all runs.
    pub stdout_bytes: u64,
    /// Bytes on stderr, over all runs.
    pub stderr_bytes: u64,
    /// Time since the last output or the last start.
    pub silent: Duration,
}

/// The input of the periodic call [`Adapter::tick`].
#[derive(Clone, Copy)]
pub struct AdapterContext<'a> {
    /// The output counters of the process.
    pub meter: MeterReading,
    /// The current time.
    pub now: Timestamp,
    /// Reads the last lines of the output from the log files. Secrets are masked.
    pub last_lines: &'a dyn Fn() -> Vec<String>,
}

/// One line of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The output that the line was written to.
    pub source: OutputSource,
    /// The bytes of the line, without the line end.
    pub bytes: &'a [u8],
    /// Whether the line was longer than [`LINE_BYTES_MAX`] and is cut.
    pub is_cut: bool,
}

/// Converts the behaviour of one process to observations.
pub trait Adapter: Send + Sync {
    /// The name of the adapter, as recorded in events.
    fn name(&self) -> &'static str;

    /// Whether [`line`](Self::line) must be called for each line. Default: false.
    fn wants_lines(&self) -> bool {
        false
    }

    /// Whether the end of a run must wait until [`end`](Self::end) has got all lines of the run. Default: false.
    fn hears_end(&self) -> bool {
        false
    }

    /// Called for each line of output.
    fn line(&mut self, _line: Line<'_>, _now: Timestamp) -> Vec<Observation> {
        Vec::new()
    }

    /// Called when a run has begun, and when a run of an earlier supervisor is taken over (`is_adopted`). `recorded` is what the
    /// record says about the agent, if the process is one.
    fn begin(&mut self, _recorded: Option<&AgentState>, _is_adopted: bool) {}

    /// Called when the process has ended and all its lines were passed to [`line`](Self::line), before its end is recorded.
    /// Called only if [`hears_end`](Self::hears_end) is true.
    fn end(&mut self, _end: &ObservedEnd, _now: Timestamp) -> Vec<Observation> {
        Vec::new()
    }

    /// Called periodically while the process runs.
    fn tick(&mut self, _context: &AdapterContext<'_>) -> Vec<Observation> {
        Vec::new()
    }
}

/// The adapter for any program. Reports the amount of output periodically. If a limit is set, it also reports when the
/// program writes no output for longer than the limit, with the last line before, and when output continues.
#[derive(Debug, Clone)]
pub struct BlackBox {
    silence_limit: Option<Duration>,
    is_silent: bool,
    /// The time of the last report (boot clock, nanoseconds), and the number of bytes written until then.
    reported: Option<(u64, u64)>,
}

impl BlackBox {
    /// An adapter that reports a time without output that is longer than `silence_limit`. Without a limit, it does not
    /// report such times.
    #[must_use]
    pub const fn new(silence_limit: Option<Duration>) -> Self {
        Self { silence_limit, is_silent: false, reported: None }
    }

    fn silence(&mut self, context: &AdapterContext<'_>) -> Option<Observation> {
        let limit = self.silence_limit?;
        let silent = context.meter.silent;
        match (std::mem::replace(&mut self.is_silent, silent > limit), self.is_silent) {
            (false, true) => {
                let last =
                    (context.last_lines)().pop().map_or_else(String::new, |line| format!("; the last line: {line}"));
                Some(Observation::new(&format!("silent for {} s{last}", silent.as_secs())))
            }
            (true, false) => Some(Observation::new("not silent any more")),
            (true, true) | (false, false) => None,
        }
    }

    fn rate(&mut self, context: &AdapterContext<'_>) -> Option<Observation> {
        let bytes = context.meter.stdout_bytes.saturating_add(context.meter.stderr_bytes);
        let (since_ns, before) = *self.reported.get_or_insert((context.now.boot_ns, bytes));
        let passed = Duration::from_nanos(context.now.boot_ns.saturating_sub(since_ns));
        if passed < RATE_INTERVAL {
            return None;
        }
        self.reported = Some((context.now.boot_ns, bytes));
        let written = bytes.saturating_sub(before);
        (written > 0).then(|| Observation::new(&format!("wrote {written} bytes in {} s", passed.as_secs())))
    }
}

impl Adapter for BlackBox {
    fn name(&self) -> &'static str {
        "black-box"
    }

    fn begin(&mut self, _recorded: Option<&AgentState>, _is_adopted: bool) {
        self.is_silent = false;
        self.reported = None;
    }

    fn tick(&mut self, context: &AdapterContext<'_>) -> Vec<Observation> {
        self.silence(context).into_iter().chain(self.rate(context)).collect()
    }
}

/// Assembles lines from pieces of output of any size.
#[derive(Debug, Default)]
pub struct LineSplitter {
    begun: Vec<u8>,
    is_cut: bool,
}

impl LineSplitter {
    /// Adds a piece of output of `source` and calls `line` for each completed line, with the number of bytes of the piece up to
    /// and with the end of the line.
    pub fn push(&mut self, source: OutputSource, piece: &[u8], mut line: impl FnMut(Line<'_>, usize)) {
        let mut rest = piece;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (head, tail) = rest.split_at(end);
            self.extend(head);
            let used = piece.len() - tail.len() + 1;
            line(Line { source, bytes: &self.begun, is_cut: self.is_cut }, used);
            self.begun.clear();
            self.is_cut = false;
            rest = tail.get(1..).unwrap_or_default();
        }
        self.extend(rest);
    }

    /// Whether a line has begun whose end is not there yet.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        !self.begun.is_empty()
    }

    fn extend(&mut self, bytes: &[u8]) {
        let room = LINE_BYTES_MAX.saturating_sub(self.begun.len());
        self.is_cut |= bytes.len() > room;
        self.begun.extend_from_slice(bytes.get(..room.min(bytes.len())).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    /// The observations of a black box at each tick. Each tick is given by its time in seconds, the bytes written, and
    /// the seconds without output.
    fn observations(limit: Option<u64>, ticks: &[(u64, u64, u64)]) -> Vec<Vec<String>> {
        let mut adapter = BlackBox::new(limit.map(Duration::from_secs));
        adapter.begin(None, false);
        let last_lines = || vec!["one".to_owned(), "and two".to_owned()];
        let tick = |(at, bytes, silent): &(u64, u64, u64)| {
            let meter = MeterReading { stdout_bytes: *bytes, stderr_bytes: 0, silent: Duration::from_secs(*silent) };
            let now = Timestamp { boot_id: Uuid::nil(), boot_ns: at * 1_000_000_000, wall_ns: 0 };
            let seen = adapter.tick(&AdapterContext { meter, now, last_lines: &last_lines });
            seen.into_iter()
                .map(|seen| match seen {
                    Observation::Text(text) => text,
                    Observation::Agent { event, .. } => event.name().to_owned(),
                })
                .collect()
        };
        ticks.iter().map(tick).collect()
    }

    #[test]
    fn silence_is_reported_once_with_the_last_line() {
        let seen = observations(Some(10), &[(1, 5, 1), (12, 5, 12), (20, 5, 20), (21, 9, 0)]).concat();
        assert_eq!(seen.len(), 2, "{seen:?}");
        assert!(seen[0].starts_with("silent for 12 s; the last line: ") && seen[0].ends_with("two"), "{seen:?}");
        assert_eq!(seen[1], "not silent any more");
    }

    #[test]
    fn the_amount_of_output_is_reported_periodically_if_there_is_any() {
        let seen = observations(None, &[(0, 100, 0), (300, 200, 0), (600, 400, 0), (900, 400, 300), (1200, 400, 600)]);
        assert_eq!(seen, [vec![], vec![], vec!["wrote 300 bytes in 600 s".to_owned()], vec![], vec![]]);
    }

    #[test]
    fn lines_are_assembled_from_pieces_of_any_size() {
        let text = b"{\"type\":\"a\"}\n\n{\"type\":\"b\"}\nrest";
        for size in 1..text.len() {
            let (mut splitter, mut lines) = (LineSplitter::default(), Vec::new());
            for piece in text.chunks(size) {
                splitter.push(OutputSource::Stdout, piece, |line, _| lines.push(line.bytes.to_vec()));
            }
            assert_eq!(lines, [&b"{\"type\":\"a\"}"[..], b"", b"{\"type\":\"b\"}"], "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_marked() {
        let (mut splitter, mut lines) = (LineSplitter::default(), Vec::new());
        let mut push = |piece: &[u8]| {
            splitter.push(OutputSource::Stdout, piece, |line, _| lines.push((line.bytes.len(), line.is_cut)));
        };
        push(&vec![b'x'; LINE_BYTES_MAX + 1]);
        push(b"\nshort\n");
        assert_eq!(lines, [(LINE_BYTES_MAX, true), (5, false)]);
    }
}
