//! Passes the output of an instance to its agent adapter, and returns what the adapter observes.

use std::{path::PathBuf, time::Duration};

use apm2_model::{
    event::{
        kind::{EventKind, OutputSource},
        timestamp::Timestamp,
    },
    spec::launch::LaunchSpec,
};
use tokio::time::Instant;

use crate::{
    adapter::{Adapter, AdapterContext, BlackBox, Line, LineSplitter, Observation},
    output::log::{
        captured::CapturedOutput,
        follow::{LogItem, LogReader},
    },
    time::instant_in,
};

/// Shortest interval between two calls of an adapter.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Interval between two calls of an adapter that does not set its own interval.
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// Largest number of lines that are passed to an adapter in one step. Further lines wait for the next step.
const PIECES_MAX: usize = 64;

/// An adapter with its input, and the time of its next call.
#[derive(Default)]
pub(crate) struct Watch {
    watched: Option<Watched>,
    interval: Duration,
    due: Option<Instant>,
}

struct Watched {
    adapter: Box<dyn Adapter>,
    output: CapturedOutput,
    lines: Vec<Lines>,
}

/// One output, which is read line by line.
struct Lines {
    source: OutputSource,
    path: PathBuf,
    reader: LogReader,
    splitter: LineSplitter,
}

impl Watch {
    /// Observes an instance whose output is captured in files. The observer is `adapter`;
    /// [`BlackBox`] if there is none.
    pub(crate) fn new(launch: &LaunchSpec, adapter: Option<Box<dyn Adapter>>, output: Option<CapturedOutput>) -> Self {
        let Some(output) = output else { return Self::default() };
        let adapter = adapter.unwrap_or_else(|| Box::new(BlackBox::new(launch.silence_limit)));
        let interval = match launch.silence_limit {
            _ if adapter.wants_lines() => INTERVAL_MIN,
            Some(limit) => (limit / 4).clamp(INTERVAL_MIN, INTERVAL_MAX),
            None => INTERVAL_MAX,
        };
        Self { watched: Some(Watched { adapter, output, lines: Vec::new() }), interval, due: None }
    }

    pub(crate) const fn due(&self) -> Option<Instant> {
        self.due
    }

    /// A run is about to begin, or was adopted. Output from now on belongs to this run.
    pub(crate) fn begin(&mut self) {
        if let Some(watched) = &mut self.watched {
            watched.begin();
            self.due = Some(instant_in(self.interval));
        }
    }

    pub(crate) fn ended(&mut self) {
        self.due = None;
    }

    /// Calls the adapter. Returns its observations.
    pub(crate) fn observe(&mut self, now: Timestamp) -> Vec<EventKind> {
        self.due = Some(instant_in(self.interval));
        self.watched.as_mut().map_or_else(Vec::new, |watched| watched.observe(now))
    }
}

impl Watched {
    fn begin(&mut self) {
        self.adapter.begin();
        self.lines.clear();
        if self.adapter.wants_lines() {
            let opened = self.output.files.all().map(|(source, path)| {
                let reader = LogReader::end(path).and_then(|end| LogReader::from_position(path, end))?;
                Ok(Lines { source, path: path.to_owned(), reader, splitter: LineSplitter::default() })
            });
            self.lines = opened
                .filter_map(|lines: std::io::Result<Lines>| {
                    lines.inspect_err(|error| tracing::warn!(%error, "an output cannot be observed")).ok()
                })
                .collect();
        }
    }

    fn observe(&mut self, now: Timestamp) -> Vec<EventKind> {
        let mut seen = Vec::new();
        for lines in &mut self.lines {
            lines.hand_on(&mut *self.adapter, &self.output, &mut seen);
        }
        let output = &self.output;
        let context = AdapterContext { meter: output.meter.read(&now), now, last_lines: &|| output.last_lines() };
        seen.extend(self.adapter.tick(&context));
        let adapter = self.adapter.name();
        seen.into_iter().map(|seen| EventKind::Observed { adapter: adapter.to_owned(), detail: seen.detail }).collect()
    }
}

impl Lines {
    fn hand_on(&mut self, adapter: &mut dyn Adapter, output: &CapturedOutput, seen: &mut Vec<Observation>) {
        for _ in 0..PIECES_MAX {
            match self.reader.next_item() {
                Ok(LogItem::Bytes(bytes)) => {
                    self.splitter.push(self.source, bytes, |line| {
                        // The text is masked before it is cut, because the filter does not recognize a part of a
                        // secret.
                        let known = output.secret_filter.known().filter(|_| line.is_cut);
                        let bytes = known.as_ref().map_or(line.bytes, |known| known.without_begun(line.bytes));
                        seen.extend(adapter.line(Line { bytes, ..line }));
                    });
                }
                // Output that was removed by rotation before it was read is not observed. The removed part may end in
                // the middle of a line.
                Ok(LogItem::Gap(_)) => self.splitter = LineSplitter::default(),
                Ok(LogItem::End) => return,
                Err(error) => {
                    tracing::debug!(path = %self.path.display(), %error, "an output cannot be observed for now");
                    return;
                }
            }
        }
    }
}
