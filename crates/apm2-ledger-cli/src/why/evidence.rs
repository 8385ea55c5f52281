//! Reads the events from which the causes are derived: the last ones of the stream, back to the start that no policy
//! requested, and the starts and stops of the supervisors around them.

use std::{collections::HashMap, ops::ControlFlow};

use apm2_lanes::{fold::LanesFold, grid::Grid, lane_state::is_down, segment::LANE_KINDS};
use apm2_ledger::{EventQuery, EventsQuestion, KindSet, ReadLedger as _};
use apm2_model::{
    event::{
        Event,
        exit::RunEnd,
        kind::{EventKind, StartTrigger},
        stream_id::StreamId,
        timestamp::Timestamp,
    },
    spec::ProcessSpec,
    state::stream::Stream,
};

use crate::source::{LedgerSource, ReadFailure};

/// Largest number of events of the stream that are read. Bounds the time of an answer.
pub(crate) const EVENTS_MAX: u64 = 512;

/// Largest number of changes of the supervisor that are looked up.
const SUPERVISOR_CHANGES_MAX: usize = 4;

/// Largest number of changes of the specification whose predecessor is read.
const SPEC_CHANGES_MAX: usize = 2;

/// Number of events before the start of a supervisor among which the last one of the supervisor before is searched. The
/// events between were recorded by the opening of the ledger.
const WATCHED_EVENTS_MAX: u64 = 16;

/// The kinds of events at the beginning of a run.
const START_KINDS: [&str; 3] = ["start_requested", "starting", "running"];

/// What the ledger says about one instance, as far as it was read.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// The state of the instance.
    pub(crate) stream: Stream,
    /// The events of the instance, oldest first.
    pub(crate) events: Vec<Event>,
    /// Whether events after the start of the latest run were left out.
    pub(crate) has_gap: bool,
    /// The changes of the supervisor.
    pub(crate) changes: Vec<SupervisorChange>,
    /// The specifications before the latest changes, by the sequence number of the change.
    pub(crate) specs_before: HashMap<u64, ProcessSpec>,
    /// When the outage began, if the instance is down. It may have had failed starts since.
    pub(crate) down_since: Option<Timestamp>,
}

/// The start of a supervisor, and what is recorded before it.
#[derive(Debug, Clone)]
pub(crate) struct SupervisorChange {
    /// The event `supervisor_started`.
    pub(crate) started: Event,
    /// The event of the supervisors before it: the stop of the one before, or its start.
    pub(crate) before: Option<Event>,
    /// The time of the last event that the supervisor before recorded.
    pub(crate) watched_until: Option<Timestamp>,
}

impl Evidence {
    /// Reads what is recorded of the stream `id` up to event `upto`; `None` if the stream has no events by then.
    pub(crate) fn read(source: &LedgerSource, id: StreamId, upto: u64) -> Result<Option<Self>, ReadFailure> {
        let Some(stream) = source.state_at(id, upto)? else { return Ok(None) };
        let mut reading = Reading::default();
        reading.read_back(source, id, upto, EVENTS_MAX)?;
        if reading.starts == 0 && reading.is_full() {
            reading.skip_to_the_start(source, &stream)?;
        }
        let Reading { mut events, has_gap, .. } = reading;
        events.reverse();
        let changes = supervisor_changes(source, &events)?;
        let specs_before = specs_before(source, &events)?;
        let down_since = down_since(source, &stream, upto)?;
        Ok(Some(Self { stream, has_gap, events, changes, specs_before, down_since }))
    }

    /// The start of the supervisor that recorded the event `seq` of a recovery.
    pub(crate) fn change_before(&self, seq: u64) -> Option<&SupervisorChange> {
        self.changes.iter().filter(|change| change.started.seq < seq).max_by_key(|change| change.started.seq)
    }
}

/// The events that were read so far, newest first.
#[derive(Debug, Default)]
struct Reading {
    events: Vec<Event>,
    /// The number of start requests among them.
    starts: u64,
    /// Whether a start that no policy requested was read.
    has_root: bool,
    /// Whether the run before that start was read, too, or there is none.
    is_complete: bool,
    /// Whether events between the start of the latest run and the others were left out.
    has_gap: bool,
}

impl Reading {
    fn is_full(&self) -> bool {
        !self.is_complete && self.events.len() as u64 >= EVENTS_MAX
    }

    fn read_back(&mut self, source: &LedgerSource, id: StreamId, upto: u64, max: u64) -> Result<(), ReadFailure> {
        let question = EventsQuestion::last(EventQuery::stream(id), (1, upto), max);
        source.events(&question, &mut |event| self.note(event))?;
        Ok(())
    }

    fn note(&mut self, event: Event) -> ControlFlow<()> {
        let trigger = match event.kind {
            EventKind::StartRequested { trigger } => Some(trigger),
            _ => None,
        };
        self.starts += u64::from(trigger.is_some());
        // The events of the run before the first start can contain a change of the specification, or a stop.
        self.is_complete = event.version == 1 || (self.has_root && trigger.is_some());
        self.has_root |= matches!(trigger, Some(StartTrigger::Start | StartTrigger::Boot));
        self.events.push(event);
        if self.is_complete { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Reads the start of a run that has more events than are read one by one, by its time, and then what is before it.
    fn skip_to_the_start(&mut self, source: &LedgerSource, stream: &Stream) -> Result<(), ReadFailure> {
        let (Some(asked_at), Some(oldest)) = (stream.asked_at, self.events.last()) else { return Ok(()) };
        let until = stream.run_started.map_or(asked_at.wall_ns, |started| started.wall_ns.max(asked_at.wall_ns));
        let query = EventQuery {
            kinds: Some(KindSet::named(START_KINDS)),
            wall_ns: Some((asked_at.wall_ns, until)),
            ..EventQuery::stream(stream.id)
        };
        let seqs = (1, oldest.seq.saturating_sub(1));
        let run = stream.run;
        self.has_gap = true;
        source.events(&EventsQuestion::last(query, seqs, START_KINDS.len() as u64), &mut |event| {
            if event.run == run { self.note(event) } else { ControlFlow::Break(()) }
        })?;
        match self.events.last() {
            Some(first) if self.starts > 0 && !self.is_complete => {
                let upto = first.seq.saturating_sub(1);
                self.read_back(source, stream.id, upto, EVENTS_MAX)
            }
            _ => Ok(()),
        }
    }
}

/// The beginning of the outage in which the instance is, as its lane has it; `None` if it is not down.
fn down_since(source: &LedgerSource, stream: &Stream, upto: u64) -> Result<Option<Timestamp>, ReadFailure> {
    if !is_down(stream) {
        return Ok(None);
    }
    let of_kinds = |kinds: &[&'static str]| EventQuery {
        kinds: Some(KindSet::named(kinds.iter().copied())),
        ..EventQuery::stream(stream.id)
    };
    let running = source.events_in_order(&EventsQuestion::last(of_kinds(&["running"]), (1, upto), 1))?.pop();
    let (before, first) = match running {
        Some(running) => (source.state_at(stream.id, running.seq)?, running.seq.saturating_add(1)),
        None => (None, 1),
    };
    let question = EventsQuestion { max: EVENTS_MAX, ..EventsQuestion::all(of_kinds(&LANE_KINDS), (first, upto)) };
    let events = source.events_in_order(&question)?;
    let Some(begin) = events.first().map(|event| event.stamp) else { return Ok(None) };
    let mut fold = LanesFold::new(Grid::new(begin, begin, 1));
    before.iter().for_each(|before| fold.begin(before));
    let is_whole = (events.len() as u64) < EVENTS_MAX && events.iter().all(|event| fold.apply(event).is_ok());
    let lanes = fold.finish();
    let outage = lanes.lane(stream.id).and_then(|lane| lane.outages.open);
    Ok(outage.filter(|_| is_whole).map(|outage| outage.from))
}

/// The specifications before the latest changes.
fn specs_before(source: &LedgerSource, events: &[Event]) -> Result<HashMap<u64, ProcessSpec>, ReadFailure> {
    let is_change = |event: &&Event| matches!(event.kind, EventKind::SpecChanged { .. });
    let mut specs = HashMap::new();
    for event in events.iter().rev().filter(is_change).take(SPEC_CHANGES_MAX) {
        let before = source.state_at(event.stream, event.seq.saturating_sub(1))?;
        specs.extend(before.map(|before| (event.seq, before.handle.spec)));
    }
    Ok(specs)
}

/// The changes of the supervisor to which these events refer, the newest ones.
fn supervisor_changes(source: &LedgerSource, events: &[Event]) -> Result<Vec<SupervisorChange>, ReadFailure> {
    let mut changes: Vec<SupervisorChange> = Vec::new();
    let of_recovery = events.iter().rev().filter(|event| {
        matches!(
            event.kind,
            EventKind::Adopted { .. }
                | EventKind::EndUnobserved { .. }
                | EventKind::StartRequested { trigger: StartTrigger::Boot }
                | EventKind::Crashed { cause: RunEnd::NeverConfirmed }
        )
    });
    for event in of_recovery.take(SUPERVISOR_CHANGES_MAX) {
        // The events are visited newest first, so this one belongs to the same change.
        if changes.last().is_some_and(|change| change.started.seq < event.seq) {
            continue;
        }
        changes.extend(supervisor_change(source, event.seq)?);
    }
    Ok(changes)
}

/// The latest start of a supervisor before event `seq`.
fn supervisor_change(source: &LedgerSource, seq: u64) -> Result<Option<SupervisorChange>, ReadFailure> {
    let query = EventQuery::stream(StreamId::SYSTEM);
    let (mut started, mut before) = (None, None);
    source.events(&EventsQuestion::last(query, (1, seq.saturating_sub(1)), u64::MAX), &mut |event| {
        match event.kind {
            EventKind::SupervisorStarted { .. } if started.is_none() => started = Some(event),
            EventKind::SupervisorStarted { .. } | EventKind::SupervisorStopped => before = Some(event),
            _ => {}
        }
        if before.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let Some(started) = started else { return Ok(None) };
    let seqs = (1, started.seq.saturating_sub(1));
    let mut watched_until = None;
    source.events(&EventsQuestion::last(EventQuery::default(), seqs, WATCHED_EVENTS_MAX), &mut |event| {
        if is_of_supervisor(&event.kind) {
            watched_until = Some(event.stamp);
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok(Some(SupervisorChange { started, before, watched_until }))
}

/// Whether a supervisor recorded an event of this kind. The other kinds are recorded by the opening of the ledger.
const fn is_of_supervisor(kind: &EventKind) -> bool {
    !kind.is_system() || matches!(kind, EventKind::SupervisorStarted { .. } | EventKind::SupervisorStopped)
}
