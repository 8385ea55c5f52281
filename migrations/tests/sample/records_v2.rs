//! Events that need record version 2, in the order of their golden bytes. The list is frozen like the golden bytes.

use std::time::Duration;

use apm2_core::{
    process::{
        Actor, Event, EventKind, OutputSource, ProcessId, ProcessSpec, RedactedSpec, RestartRule, RunEnd, SpawnFailure,
        SpawnStage, StreamId, Timestamp,
    },
    restart::{BackoffConfig, RestartConfig},
};
use uuid::Uuid;

/// One event of each kind.
pub(crate) fn events() -> Vec<Event> {
    let stream = StreamId { process_id: ProcessId::from_bytes([0x33; 16]), instance: 3 };
    let stamp = Timestamp { wall_ns: 1_767_225_600_000_000_000, boot_ns: 7, boot_id: Uuid::from_u128(0xb007) };
    let event = |(version, kind): (u64, EventKind)| Event {
        seq: version * 100,
        version,
        stream,
        run: 2,
        actor: Actor::Policy,
        reason: None,
        cause: Some(1),
        stamp,
        kind,
    };
    (1..).zip(kinds(stream.process_id)).map(event).collect()
}

fn kinds(id: ProcessId) -> Vec<EventKind> {
    let backoff = BackoffConfig::Linear {
        initial: Duration::from_secs(1),
        step: Duration::from_millis(250),
        max: Duration::from_secs(9),
    };
    let restart = RestartConfig { backoff, jitter_percent: 30, ..RestartConfig::default() };
    let spec = ProcessSpec::builder().id(id).name("n").command("c").instances(4).restart(restart).build();
    let message = "credential profile \"p\" is not defined".to_owned();
    let failure = SpawnFailure { stage: SpawnStage::Credentials, errno: None, message };
    vec![
        EventKind::SpecChanged { spec: RedactedSpec::new(&spec) },
        EventKind::OutputTail { stdout: vec!["last".to_owned()], stderr: vec!["why".to_owned(), "naïve".to_owned()] },
        EventKind::OutputDropped { source: OutputSource::Stderr, bytes: u64::MAX, cause: "no space left".to_owned() },
        EventKind::PreStopEnded { command: "drain".to_owned(), succeeded: false, detail: "exit status: 3".to_owned() },
        EventKind::Crashed { cause: RunEnd::SpawnFailed(failure) },
        EventKind::RestartRefused {
            rule: RestartRule::SpawnBudgetSpent { failures: 10, max_restarts: 10, window_ms: 600_000 },
        },
        EventKind::RestartRefused { rule: RestartRule::LaunchUnknown },
    ]
}
