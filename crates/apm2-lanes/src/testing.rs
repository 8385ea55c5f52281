//! Events and streams for the tests of this crate.

use std::sync::LazyLock;

use apm2_model::{
    event::{
        Event, NewEvent,
        actor::Actor,
        exit::{Evidence, Exit, ExitOutcome, RunEnd},
        identity::ProcessIdentity,
        kind::{EventKind, StartTrigger},
        stream_id::StreamId,
        timestamp::Timestamp,
    },
    signal::Signal,
    spec::{ProcessSpec, id::ProcessId, redact::spec::RedactedSpec},
    state::stream::{IllegalEvent, Stream},
};
use uuid::Uuid;

/// A time of the wall clock in nanoseconds. The boot clock is as much later than that of other times.
pub(crate) fn at_ns(wall_ns: i64) -> Timestamp {
    Timestamp { wall_ns, boot_ns: wall_ns.abs_diff(i64::MIN), boot_id: Uuid::from_u128(1) }
}

/// A time in seconds.
pub(crate) fn at(seconds: i64) -> Timestamp {
    at_ns(seconds * 1_000_000_000)
}

/// The stream with this number.
pub(crate) fn stream(number: u8) -> StreamId {
    StreamId { process_id: ProcessId::from_bytes([number; 16]), instance: 0 }
}

pub(crate) fn operator() -> Actor {
    Actor::Operator { uid: 1000, user: Some("ann".to_owned()), terminal: None }
}

/// The specification of each process. It is masked once only, because that takes time.
static SPECS: LazyLock<Vec<RedactedSpec>> = LazyLock::new(|| {
    let spec =
        |number| ProcessSpec::builder().id(stream(number).process_id).name("n").command("c").instances(1000).build();
    (0..=STREAMS_MAX).map(|number| RedactedSpec::new(&spec(number))).collect()
});

/// Largest number of a stream.
const STREAMS_MAX: u8 = 9;

pub(crate) fn registered(id: StreamId) -> EventKind {
    let spec = SPECS.iter().find(|spec| spec.id == id.process_id).unwrap();
    EventKind::Registered { spec: spec.clone() }
}

pub(crate) const fn exit(outcome: ExitOutcome) -> Exit {
    Exit { outcome, evidence: Evidence::Observed }
}

pub(crate) const fn crashed(code: i32) -> EventKind {
    EventKind::Crashed { cause: RunEnd::Exit(exit(ExitOutcome::Code(code))) }
}

pub(crate) const STOPPING: EventKind = EventKind::Stopping { signal: Signal::TERM, timeout_ms: 5000, force_kill: true };

/// The events of a start that brings a process up.
pub(crate) fn start(trigger: StartTrigger) -> [EventKind; 3] {
    let identity = ProcessIdentity { boot_id: Uuid::from_u128(1), pid: 7, start_ticks: 9, pid_namespace: None };
    [
        EventKind::StartRequested { trigger },
        EventKind::Starting { identity: Some(identity), trigger },
        EventKind::Running,
    ]
}

/// A ledger in memory: its events, and the states of their streams.
#[derive(Debug, Default)]
pub(crate) struct History {
    pub(crate) events: Vec<Event>,
    pub(crate) streams: Vec<Stream>,
}

impl History {
    /// Appends an event. It is left out if it is not legal.
    pub(crate) fn add(&mut self, id: StreamId, stamp: Timestamp, actor: Actor, kind: EventKind) {
        let found = self.streams.iter().position(|stream| stream.id == id);
        let before = found.map(|place| self.streams[place].clone());
        let run = before.as_ref().map_or(0, |stream| stream.run_of(&kind));
        let version = before.as_ref().map_or(0, |stream| stream.version) + 1;
        let draft = NewEvent { stream: id, run, actor, reason: None, cause: None, stamp, kind };
        let event = draft.numbered(self.events.len() as u64 + 1, version);
        let Ok(after) = applied(before, &event) else { return };
        match found {
            Some(place) => self.streams[place] = after,
            None => self.streams.push(after),
        }
        self.events.push(event);
    }
}

/// The state of the stream after the event.
pub(crate) fn applied(before: Option<Stream>, event: &Event) -> Result<Stream, IllegalEvent> {
    match before {
        None => Stream::begin(event),
        Some(mut stream) => stream.apply(event).map(|()| stream),
    }
}
