//! How an agent's behaviour becomes events.
//!
//! An [`Adapter`] is shown how much a process writes, and its lines if it wants them: one that understands an agent's
//! line-delimited JSON needs nothing else. What it sees is recorded as `observed`. [`BlackBox`] understands nothing, and
//! notices how much is written and when it falls silent.
//!
//! Lines are read back from the log files, since output goes there without passing through the supervisor. So an adapter
//! that is slow delays nobody, and one is asked only where output is kept in files.

use std::time::Duration;

use apm2_model::event::{kind::OutputSource, timestamp::Timestamp};

/// Characters of an observation.
pub const OBSERVATION_CHARS_MAX: usize = 500;

/// Bytes of a line that is handed on; what is longer is cut, and said to be.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// How often [`BlackBox`] tells how much was written, at most: each time is an event that is kept.
pub const RATE_INTERVAL: Duration = Duration::from_secs(600);

/// Something that an adapter saw, for the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// In words. It is recorded without secrets, and at most [`OBSERVATION_CHARS_MAX`] characters of it.
    pub detail: String,
}

impl Observation {
    /// An observation in these words.
    #[must_use]
    pub fn new(detail: &str) -> Self {
        Self { detail: detail.to_owned() }
    }
}

/// How much a process has written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MeterReading {
    /// Bytes on stdout, over all runs.
    pub stdout_bytes: u64,
    /// Bytes on stderr, over all runs.
    pub stderr_bytes: u64,
    /// How long ago it last wrote anything, or was started.
    pub silent: Duration,
}

/// What an adapter is shown when it is asked.
#[derive(Clone, Copy)]
pub struct AdapterContext<'a> {
    /// How much the process has written.
    pub meter: MeterReading,
    /// The time.
    pub now: Timestamp,
    /// Reads the last lines, secrets masked. They cost a look at the disk.
    pub last_lines: &'a dyn Fn() -> Vec<String>,
}

/// One line of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Where it was written.
    pub source: OutputSource,
    /// Its bytes, without the line end.
    pub bytes: &'a [u8],
    /// Whether it was longer than [`LINE_BYTES_MAX`], and is cut.
    pub is_cut: bool,
}

/// Turns the behaviour of one process into observations.
pub trait Adapter: Send + Sync {
    /// Its name, as it is recorded.
    fn name(&self) -> &'static str;

    /// Whether [`line`](Self::line) is to be called.
    fn wants_lines(&self) -> bool {
        false
    }

    /// A line was written.
    fn line(&mut self, _line: Line<'_>) -> Vec<Observation> {
        Vec::new()
    }

    /// A run has begun, or was taken over from an earlier supervisor.
    fn begin(&mut self) {}

    /// Asked now and then, while the process runs.
    fn tick(&mut self, _glance: &AdapterContext<'_>) -> Vec<Observation> {
        Vec::new()
    }
}

/// The adapter for a program of which nothing is known. It tells now and then how much was written, and, where a limit
/// is set, when the program falls silent, with the last line before that, and when it speaks again.
#[derive(Debug, Clone)]
pub struct BlackBox {
    silence_limit: Option<Duration>,
    is_silent: bool,
    /// When the rate was last told, on the boot clock, and what had been written by then.
    told: Option<(u64, u64)>,
}

impl BlackBox {
    /// One that remarks on silence longer than `silence_limit`; on none without a limit.
    #[must_use]
    pub const fn new(silence_limit: Option<Duration>) -> Self {
        Self { silence_limit, is_silent: false, told: None }
    }

    fn silence(&mut self, glance: &AdapterContext<'_>) -> Option<Observation> {
        let limit = self.silence_limit?;
        let silent = glance.meter.silent;
        match (std::mem::replace(&mut self.is_silent, silent > limit), self.is_silent) {
            (false, true) => {
                let last =
                    (glance.last_lines)().pop().map_or_else(String::new, |line| format!("; the last line: {line}"));
                Some(Observation::new(&format!("silent for {} s{last}", silent.as_secs())))
            }
            (true, false) => Some(Observation::new("not silent any more")),
            (true, true) | (false, false) => None,
        }
    }

    fn rate(&mut self, glance: &AdapterContext<'_>) -> Option<Observation> {
        let bytes = glance.meter.stdout_bytes.saturating_add(glance.meter.stderr_bytes);
        let (since_ns, before) = *self.told.get_or_insert((glance.now.boot_ns, bytes));
        let passed = Duration::from_nanos(glance.now.boot_ns.saturating_sub(since_ns));
        if passed < RATE_INTERVAL {
            return None;
        }
        self.told = Some((glance.now.boot_ns, bytes));
        let written = bytes.saturating_sub(before);
        (written > 0).then(|| Observation::new(&format!("wrote {written} bytes in {} s", passed.as_secs())))
    }
}

impl Adapter for BlackBox {
    fn name(&self) -> &'static str {
        "black-box"
    }

    fn begin(&mut self) {
        self.is_silent = false;
        self.told = None;
    }

    fn tick(&mut self, glance: &AdapterContext<'_>) -> Vec<Observation> {
        self.silence(glance).into_iter().chain(self.rate(glance)).collect()
    }
}

/// Puts lines together from pieces of output, however they were cut.
#[derive(Debug, Default)]
pub struct LineSplitter {
    begun: Vec<u8>,
    is_cut: bool,
}

impl LineSplitter {
    /// Takes a piece of output of `source`, and hands on each line that it ends.
    pub fn push(&mut self, source: OutputSource, piece: &[u8], mut line: impl FnMut(Line<'_>)) {
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (head, tail) = rest.split_at(end);
            self.extend(head);
            line(Line { source, bytes: &self.begun, is_cut: self.is_cut });
            self.begun.clear();
            self.is_cut = false;
            rest = tail.get(1..).unwrap_or_default();
        }
        self.extend(rest);
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

    /// What the black box says at each of these times, in seconds, with bytes written and silence since.
    fn told(limit: Option<u64>, glances: &[(u64, u64, u64)]) -> Vec<Vec<String>> {
        let mut adapter = BlackBox::new(limit.map(Duration::from_secs));
        adapter.begin();
        let last_lines = || vec!["one".to_owned(), "and two".to_owned()];
        let tick = |(at, bytes, silent): &(u64, u64, u64)| {
            let meter = MeterReading { stdout_bytes: *bytes, stderr_bytes: 0, silent: Duration::from_secs(*silent) };
            let now = Timestamp { boot_id: Uuid::nil(), boot_ns: at * 1_000_000_000, wall_ns: 0 };
            let seen = adapter.tick(&AdapterContext { meter, now, last_lines: &last_lines });
            seen.into_iter().map(|seen| seen.detail).collect()
        };
        glances.iter().map(tick).collect()
    }

    #[test]
    fn silence_is_told_once_with_the_last_line() {
        let told = told(Some(10), &[(1, 5, 1), (12, 5, 12), (20, 5, 20), (21, 9, 0)]).concat();
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("silent for 12 s; the last line: ") && told[0].ends_with("two"), "{told:?}");
        assert_eq!(told[1], "not silent any more");
    }

    #[test]
    fn the_rate_is_told_now_and_then_and_only_of_those_who_write() {
        let told = told(None, &[(0, 100, 0), (300, 200, 0), (600, 400, 0), (900, 400, 300), (1200, 400, 600)]);
        assert_eq!(told, [vec![], vec![], vec!["wrote 300 bytes in 600 s".to_owned()], vec![], vec![]]);
    }

    #[test]
    fn lines_are_put_together_however_they_were_cut() {
        let text = b"{\"type\":\"a\"}\n\n{\"type\":\"b\"}\nrest";
        for size in 1..text.len() {
            let (mut splitter, mut lines) = (LineSplitter::default(), Vec::new());
            for piece in text.chunks(size) {
                splitter.push(OutputSource::Stdout, piece, |line| lines.push(line.bytes.to_vec()));
            }
            assert_eq!(lines, [&b"{\"type\":\"a\"}"[..], b"", b"{\"type\":\"b\"}"], "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_without_end_is_cut_and_said_to_be() {
        let (mut splitter, mut lines) = (LineSplitter::default(), Vec::new());
        let mut push = |piece: &[u8]| {
            splitter.push(OutputSource::Stdout, piece, |line| lines.push((line.bytes.len(), line.is_cut)));
        };
        push(&vec![b'x'; LINE_BYTES_MAX + 1]);
        push(b"\nshort\n");
        assert_eq!(lines, [(LINE_BYTES_MAX, true), (5, false)]);
    }
}
