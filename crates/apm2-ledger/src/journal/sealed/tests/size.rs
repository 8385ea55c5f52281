//! How many bytes an event takes in a sealed segment. `--nocapture` prints the figures.

use std::collections::BTreeMap;

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
    spec::{ProcessSpec, id::ProcessId, redact::spec::RedactedSpec},
    state::stream::Stream,
};
use uuid::Uuid;

use super::sample::{LEDGER, bytes_of, chain_before, checked, opened};
use crate::{journal::sealed::builder::SealedBuilder, record::encode_stream};

const PROCESSES: u64 = 20;

const RESTARTS: u32 = 129;

/// Of an event in blocks; 10.4 were measured.
const BLOCK_BYTES_PER_EVENT_MAX: u64 = 12;

/// xorshift: what is random in real events does not compress here either.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

struct Supervisor {
    random: Random,
    events: Vec<Event>,
    streams: BTreeMap<StreamId, Stream>,
    now_ns: u64,
}

impl Supervisor {
    fn record(&mut self, stream: StreamId, actor: Actor, kind: EventKind) {
        self.now_ns += 50_000 + self.random.next() % 1_000_000;
        let stamp = Timestamp {
            wall_ns: 1_700_000_000_000_000_000 + i64::try_from(self.now_ns).unwrap(),
            boot_ns: 400_000_000_000 + self.now_ns,
            boot_id: Uuid::from_u128(0x8d5f_3a52_91c7_4e0b_b1d6_70f4_2c9a_e833),
        };
        let before = self.streams.get(&stream);
        let run = before.map_or(0, |before| before.run_of(&kind));
        let version = before.map_or(1, |before| before.version + 1);
        let draft = NewEvent { stream, run, actor, reason: None, cause: None, stamp, kind };
        let event = draft.numbered(self.events.len() as u64 + 1, version);
        match self.streams.get_mut(&stream) {
            Some(stream) => stream.apply(&event).unwrap(),
            None => drop(self.streams.insert(stream, Stream::begin(&event).unwrap())),
        }
        self.events.push(event);
    }

    fn run(&mut self, stream: StreamId, actor: &Actor, trigger: StartTrigger) {
        self.record(stream, actor.clone(), EventKind::StartRequested { trigger });
        let identity = Some(ProcessIdentity {
            boot_id: Uuid::from_u128(0x8d5f_3a52_91c7_4e0b_b1d6_70f4_2c9a_e833),
            pid: 1000 + u32::try_from(self.events.len()).unwrap(),
            start_ticks: self.now_ns / 10_000_000,
            pid_namespace: Some(4_026_531_836),
        });
        self.record(stream, Actor::System, EventKind::Starting { identity, trigger });
        self.record(stream, Actor::System, EventKind::Running);
    }
}

/// Processes that crash and are restarted, one after the other.
fn history() -> Supervisor {
    let random = Random(0x9e37_79b9_7f4a_7c15);
    let mut supervisor = Supervisor { random, events: Vec::new(), streams: BTreeMap::new(), now_ns: 0 };
    let operator =
        Actor::Operator { uid: 1000, user: Some("user".to_owned()), terminal: Some("/dev/pts/3".to_owned()) };
    let mut streams = Vec::new();
    for number in 0..PROCESSES {
        let halves = [supervisor.random.next().to_le_bytes(), supervisor.random.next().to_le_bytes()].concat();
        let id = ProcessId::from_bytes(halves.try_into().unwrap());
        let spec = ProcessSpec::builder().id(id).name(format!("worker-{number}")).command("/usr/bin/worker").build();
        streams.push(StreamId { process_id: id, instance: 0 });
        let kind = EventKind::Registered { spec: RedactedSpec::new(&spec) };
        supervisor.record(streams[streams.len() - 1], operator.clone(), kind);
    }
    for attempt in 0..=RESTARTS {
        for stream in &streams {
            let (actor, trigger) = match attempt {
                0 => (&operator, StartTrigger::Start),
                attempt => (&Actor::Policy, StartTrigger::Restart { attempt }),
            };
            supervisor.run(*stream, actor, trigger);
        }
        for stream in &streams {
            let exit = Exit { outcome: ExitOutcome::Code(1), evidence: Evidence::Observed };
            supervisor.record(*stream, Actor::System, EventKind::Crashed { cause: RunEnd::Exit(exit) });
            let kind = EventKind::RestartScheduled { attempt: attempt + 1, delay_ms: 1000 };
            supervisor.record(*stream, Actor::Policy, kind);
        }
    }
    supervisor
}

#[test]
fn an_event_takes_few_bytes() {
    let Supervisor { events, streams, .. } = history();
    let mut builder = SealedBuilder::new(LEDGER, 1, 1, chain_before()).unwrap();
    let mut raw = 0;
    for event in &events {
        let bytes = bytes_of(event);
        raw += bytes.len();
        builder.push(event, &bytes).unwrap();
    }
    let states = streams.iter().map(|(id, stream)| (*id, encode_stream(stream).unwrap()));
    let states_raw: usize = states.clone().map(|(_, state)| state.len()).sum();
    let bytes = builder.finish_with_states(states).unwrap();
    let segment = opened(&bytes);
    assert_eq!(checked(&segment).2, Vec::<String>::new());
    let blocks = segment.blocks().unwrap().entries();
    let (count, last) = (events.len(), blocks[blocks.len() - 1]);
    let blocks_end = last.offset + last.len as u64;
    let per_event = |bytes: f64| bytes / count as f64;
    println!(
        "{count} events of {raw} bytes ({:.1} each): {} blocks of {blocks_end} bytes ({:.1} an event), footer {} bytes with {} \
         states of {states_raw} bytes, file {} bytes ({:.1} an event)",
        per_event(raw as f64),
        blocks.len(),
        per_event(blocks_end as f64),
        bytes.len() as u64 - blocks_end,
        streams.len(),
        bytes.len(),
        per_event(bytes.len() as f64),
    );
    assert!(blocks_end <= BLOCK_BYTES_PER_EVENT_MAX * count as u64);
}
