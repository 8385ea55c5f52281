//! Passes the output of an instance to its adapter, and returns what the adapter observes.
//!
//! The actor of the instance calls it while the process runs. The task of a run calls it once more after the process has ended,
//! if the adapter is to hear the end.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use apm2_model::{
    event::{
        agent::report::{AgentReport, OutputPosition},
        kind::{EventKind, OutputSource},
        timestamp::Timestamp,
    },
    spec::launch::LaunchSpec,
    state::agent::AgentState,
};

use crate::{
    adapter::{Adapter, AdapterContext, BlackBox, Line, LineSplitter, Observation, ObservedEnd, agent::AgentAdapter},
    output::log::{
        captured::CapturedOutput,
        follow::{Advanced, LogPosition, LogReader},
    },
};

/// Shortest interval between two calls of an adapter.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// Interval between two calls of an adapter that does not set its own interval.
const INTERVAL_MAX: Duration = Duration::from_secs(60);

/// Largest number of pieces of one output that are passed to an adapter in one step. Further output waits for the next step.
const PIECES_MAX: usize = 64;

/// Largest number of steps in which the rest of the output of an ended run is read.
const END_STEPS_MAX: usize = 4096;

/// The observer of an instance, which its actor and the task of its run share.
#[derive(Clone)]
pub(crate) struct SharedObserver(Arc<Mutex<Observer>>);

/// What one call of an adapter has given.
struct Observed {
    /// The events to record.
    kinds: Vec<EventKind>,
    /// Whether more output can be read at once.
    has_more: bool,
}

struct Observer {
    adapter: Box<dyn Adapter>,
    output: CapturedOutput,
    lines: Vec<Lines>,
    /// The end of the last line of the standard output that was passed to the adapter.
    read_to: OutputPosition,
}

/// One output, which is read line by line.
struct Lines {
    source: OutputSource,
    path: PathBuf,
    reader: LogReader,
    splitter: LineSplitter,
}

impl SharedObserver {
    /// Observes an instance whose output is captured in files. The observer is `adapter`; if there is none, [`AgentAdapter`] for an
    /// agent and [`BlackBox`] for any other program. `None` if no output is captured.
    pub(crate) fn new(
        launch: &LaunchSpec,
        adapter: Option<Box<dyn Adapter>>,
        output: Option<CapturedOutput>,
    ) -> Option<Self> {
        let adapter = adapter.unwrap_or_else(|| match &launch.spec.agent {
            Some(config) => Box::new(AgentAdapter::new(config, &launch.spec.command)),
            None => Box::new(BlackBox::new(launch.silence_limit)),
        });
        let observer = Observer { adapter, output: output?, lines: Vec::new(), read_to: OutputPosition::default() };
        Some(Self(Arc::new(Mutex::new(observer))))
    }

    /// The interval between two calls.
    pub(crate) fn interval(&self, launch: &LaunchSpec) -> Duration {
        match launch.silence_limit {
            _ if self.lock().adapter.wants_lines() => INTERVAL_MIN,
            Some(limit) => (limit / 4).clamp(INTERVAL_MIN, INTERVAL_MAX),
            None => INTERVAL_MAX,
        }
    }

    /// Whether the end of a run waits until the adapter has got all its lines.
    pub(crate) fn hears_end(&self) -> bool {
        self.lock().adapter.hears_end()
    }

    /// A run is about to begin. Output from now on belongs to it. Returns the position from which its output is read.
    pub(crate) fn begin(&self, recorded: Option<&AgentState>) -> OutputPosition {
        self.lock().begin(recorded, None)
    }

    /// A run of an earlier supervisor is taken over. Its output is read from where the record says that the earlier supervisor had
    /// read it; from now on if the record does not say it.
    pub(crate) fn adopt(&self, recorded: Option<&AgentState>) {
        self.lock().begin(recorded, Some(recorded.map(|agent| agent.read_to)));
    }

    /// Passes new output to the adapter, and what it has observed to `record`. Returns whether more output can be read at once.
    ///
    /// The observer is locked meanwhile, so that events are recorded in the order of the lines.
    pub(crate) fn observe(&self, now: Timestamp, record: impl FnOnce(Vec<EventKind>)) -> bool {
        let mut observer = self.lock();
        let Observed { kinds, has_more } = observer.observe(now);
        if !kinds.is_empty() {
            record(kinds);
        }
        has_more
    }

    /// Passes the rest of the output of an ended run to the adapter, and what it has observed to `record`, with its account of the
    /// end.
    pub(crate) fn end(&self, end: &ObservedEnd, now: Timestamp, record: impl FnOnce(Vec<EventKind>)) {
        let mut observer = self.lock();
        let kinds = observer.end(end, now);
        if !kinds.is_empty() {
            record(kinds);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Observer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer {
    /// Begins with a run: at the ends of its outputs, or for an adopted run at the recorded position of the standard output.
    fn begin(&mut self, recorded: Option<&AgentState>, adopted: Option<Option<OutputPosition>>) -> OutputPosition {
        self.adapter.begin(recorded, adopted.is_some());
        self.lines.clear();
        if !self.adapter.wants_lines() {
            return OutputPosition::default();
        }
        let from = adopted.flatten();
        let opened = self.output.files.all().map(|(source, path)| {
            let position = match from {
                Some(OutputPosition { generation, offset }) if source == OutputSource::Stdout => {
                    LogPosition { generation, offset }
                }
                _ => LogReader::end(path)?,
            };
            let reader = LogReader::from_position(path, position)?;
            Ok(Lines { source, path: path.to_owned(), reader, splitter: LineSplitter::default() })
        });
        self.lines = opened
            .filter_map(|lines: std::io::Result<Lines>| {
                lines.inspect_err(|error| tracing::warn!(%error, "an output cannot be observed")).ok()
            })
            .collect();
        let stdout = self.lines.iter().find(|lines| lines.source == OutputSource::Stdout);
        self.read_to = stdout.map_or_else(OutputPosition::default, |lines| position_of(lines.reader.position()));
        self.read_to
    }

    fn observe(&mut self, now: Timestamp) -> Observed {
        let (mut kinds, has_more) = self.read(now);
        let output = &self.output;
        let context = AdapterContext { meter: output.meter.read(&now), now, last_lines: &|| output.last_lines() };
        let seen = self.adapter.tick(&context);
        kinds.extend(self.events(seen));
        Observed { kinds, has_more }
    }

    fn end(&mut self, end: &ObservedEnd, now: Timestamp) -> Vec<EventKind> {
        let mut kinds = Vec::new();
        for _ in 0..END_STEPS_MAX {
            let (more, has_more) = self.read(now);
            kinds.extend(more);
            if !has_more {
                break;
            }
        }
        // A last line without a line end.
        for index in 0..self.lines.len() {
            let Some(lines) = self.lines.get_mut(index) else { break };
            let (source, mut splitter) = (lines.source, std::mem::take(&mut lines.splitter));
            let adapter = &mut self.adapter;
            let mut seen = Vec::new();
            if splitter.has_begun() {
                splitter.push(source, b"\n", |line, _| seen.extend(adapter.line(line, now)));
            }
            kinds.extend(self.events(seen));
        }
        let seen = self.adapter.end(end, now);
        kinds.extend(self.events(seen));
        // Their buffers are not needed until the next run.
        self.lines = Vec::new();
        kinds
    }

    /// Passes new lines to the adapter. Returns the events, and whether more output can be read at once.
    fn read(&mut self, now: Timestamp) -> (Vec<EventKind>, bool) {
        let (mut kinds, mut has_more) = (Vec::new(), false);
        let mut read_to = self.read_to;
        let name = self.adapter.name();
        for lines in &mut self.lines {
            has_more |= lines.hand_on(&mut *self.adapter, &self.output, now, &mut read_to, &mut |seen, read_to| {
                kinds.push(event(name, seen, read_to));
            });
        }
        self.read_to = read_to;
        (kinds, has_more)
    }

    fn events(&self, seen: Vec<Observation>) -> Vec<EventKind> {
        seen.into_iter().map(|seen| event(self.adapter.name(), seen, self.read_to)).collect()
    }
}

const fn position_of(position: LogPosition) -> OutputPosition {
    OutputPosition { generation: position.generation, offset: position.offset }
}

fn event(adapter: &str, seen: Observation, read_to: OutputPosition) -> EventKind {
    match seen {
        Observation::Text(detail) => EventKind::Observed { adapter: adapter.to_owned(), detail },
        Observation::Agent { agent, event } => {
            EventKind::Agent { report: Box::new(AgentReport { agent, event, read_to }) }
        }
    }
}

impl Lines {
    /// Passes new lines to the adapter, and each of its observations to `seen`, with the end of the line in `read_to`. Returns
    /// whether more output can be read at once.
    fn hand_on(
        &mut self,
        adapter: &mut dyn Adapter,
        output: &CapturedOutput,
        now: Timestamp,
        read_to: &mut OutputPosition,
        seen: &mut dyn FnMut(Observation, OutputPosition),
    ) -> bool {
        for _ in 0..PIECES_MAX {
            match self.reader.advance() {
                Ok(Advanced::Bytes(count)) => self.pass(count, adapter, output, now, read_to, seen),
                // Output that was removed by rotation before it was read is not observed. The removed part may end in
                // the middle of a line.
                Ok(Advanced::Gap(_)) => self.splitter = LineSplitter::default(),
                Ok(Advanced::End) => return false,
                Err(error) => {
                    tracing::debug!(path = %self.path.display(), %error, "an output cannot be observed for now");
                    return false;
                }
            }
        }
        true
    }

    /// Passes the lines that end in the first `count` bytes of the piece that was read last.
    fn pass(
        &mut self,
        count: usize,
        adapter: &mut dyn Adapter,
        output: &CapturedOutput,
        now: Timestamp,
        read_to: &mut OutputPosition,
        seen: &mut dyn FnMut(Observation, OutputPosition),
    ) {
        let after = self.reader.position();
        let began = after.offset.saturating_sub(count as u64);
        let source = self.source;
        self.splitter.push(source, self.reader.piece(count), |line, used| {
            if source == OutputSource::Stdout {
                let offset = began.saturating_add(used as u64);
                *read_to = OutputPosition { generation: after.generation, offset };
            }
            // The text is masked before it is cut, because the filter does not recognize a part of a secret.
            let known = output.secret_filter.known().filter(|_| line.is_cut);
            let bytes = known.as_ref().map_or(line.bytes, |known| known.without_begun(line.bytes));
            for observation in adapter.line(Line { bytes, ..line }, now) {
                seen(observation, *read_to);
            }
        });
    }
}
