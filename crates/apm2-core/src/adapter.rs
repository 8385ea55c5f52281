//! How an agent's behaviour becomes events.
//!
//! An [`Adapter`] sees how much a process writes, and its lines if it wants them: one that understands an agent's
//! line-delimited JSON needs nothing else. What it sees is recorded as `observed`. [`BlackBox`] understands nothing, and
//! notices silence.

use std::time::Duration;

use crate::process::{OutputSource, Stamp, redact_text};

/// Characters of an observation.
pub const OBSERVATION_CHARS_MAX: usize = 500;

/// Bytes of a line that is handed on; what is longer is cut, and said to be.
pub const LINE_BYTES_MAX: usize = 1 << 20;

/// Something that an adapter saw, for the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observation {
    /// In words: bounded, secrets masked.
    pub detail: String,
}

impl Observation {
    /// An observation in these words.
    #[must_use]
    pub fn new(detail: &str) -> Self {
        Self { detail: redact_text(detail).chars().take(OBSERVATION_CHARS_MAX).collect() }
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

    /// Asked now and then, while the process runs.
    fn tick(&mut self, _meter: &MeterReading, _now: &Stamp) -> Vec<Observation> {
        Vec::new()
    }
}

/// The adapter for a program of which nothing is known: it notices when one falls silent, and when it speaks again.
#[derive(Debug, Clone)]
pub struct BlackBox {
    silence_limit: Duration,
    is_silent: bool,
    bytes: u64,
}

impl BlackBox {
    /// One that remarks on silence longer than `silence_limit`.
    #[must_use]
    pub const fn new(silence_limit: Duration) -> Self {
        Self { silence_limit, is_silent: false, bytes: 0 }
    }
}

impl Adapter for BlackBox {
    fn name(&self) -> &'static str {
        "black-box"
    }

    fn tick(&mut self, meter: &MeterReading, _now: &Stamp) -> Vec<Observation> {
        let bytes = meter.stdout_bytes.saturating_add(meter.stderr_bytes);
        let was_silent = std::mem::replace(&mut self.is_silent, meter.silent > self.silence_limit);
        let seconds = meter.silent.as_secs();
        let seen = match (was_silent, self.is_silent) {
            (false, true) => Some(format!("silent for {seconds} s, after {bytes} bytes")),
            (true, false) => Some(format!("not silent any more: {} bytes", bytes.saturating_sub(self.bytes))),
            (true, true) | (false, false) => None,
        };
        if seen.is_some() {
            self.bytes = bytes;
        }
        seen.map(|seen| Observation::new(&seen)).into_iter().collect()
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
