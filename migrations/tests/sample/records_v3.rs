//! Events that need record version 3, in the order of their golden bytes. The list is frozen like the golden bytes.

use apm2_core::{
    health::{HealthCheck, HealthCheckConfig},
    process::{
        Actor, Event, EventKind, ProcessId, ProcessIdentity, ProcessSpec, ProcessSpecBuilder, RedactedSpec, RunEnd,
        SpawnFailure, SpawnStage, StartTrigger, StreamId, Timestamp,
    },
    restart::{OnBoot, RestartConfig},
    shutdown::ShutdownConfig,
};
use uuid::Uuid;

const STAMP: Timestamp =
    Timestamp { wall_ns: 1_767_225_600_000_000_000, boot_ns: 7, boot_id: Uuid::from_u128(0xb007_0000_0003) };

/// One event of each kind.
pub(crate) fn events() -> Vec<Event> {
    let stream = StreamId { process_id: ProcessId::from_bytes([0x44; 16]), instance: 1 };
    let event = |(version, kind): (u64, EventKind)| Event {
        seq: version * 100,
        version,
        stream,
        run: 3,
        actor: Actor::System,
        reason: None,
        cause: Some(1),
        stamp: STAMP,
        kind,
    };
    (1..).zip(kinds(stream.process_id)).map(event).collect()
}

fn kinds(id: ProcessId) -> Vec<EventKind> {
    let identity =
        ProcessIdentity { boot_id: STAMP.boot_id, pid: 4242, start_ticks: 99, pid_namespace: Some(4_026_531_836) };
    let failure =
        SpawnFailure { stage: SpawnStage::Stdin, errno: Some(2), message: "stdin p: No such file".to_owned() };
    let later = Timestamp { boot_ns: 9, wall_ns: STAMP.wall_ns + 2, ..STAMP };
    let spec = |builder: ProcessSpecBuilder| RedactedSpec::new(&builder.id(id).build());
    vec![
        EventKind::Registered { spec: spec(probed(HealthCheck::Unix { path: "/run/n.sock".into() })) },
        EventKind::SpecChanged { spec: spec(everything()) },
        EventKind::StartRequested { trigger: StartTrigger::Boot },
        EventKind::Starting { identity: Some(identity), trigger: StartTrigger::Boot },
        EventKind::Adopted { identity },
        EventKind::Sampled { cpu_centipercent: 1234, memory_bytes: 5 << 30, processes: Some(17) },
        EventKind::OrphansEnded { processes: 3 },
        EventKind::Crashed { cause: RunEnd::SpawnFailed(failure) },
        EventKind::EndUnobserved { not_before: STAMP, not_after: later },
    ]
}

fn probed(check: HealthCheck) -> ProcessSpecBuilder {
    let health = HealthCheckConfig { check, ..HealthCheckConfig::default() };
    ProcessSpec::builder().name("n").command("c").instances(2).health(health)
}

fn everything() -> ProcessSpecBuilder {
    let check = HealthCheck::Http { url: "http://127.0.0.1:1/h".to_owned(), expected_status: vec![200, 204].into() };
    let health = HealthCheckConfig {
        check,
        env: [("PROBE".to_owned(), "value".to_owned())].into(),
        ..HealthCheckConfig::default()
    };
    probed(HealthCheck::Liveness)
        .health(health)
        .restart(RestartConfig { on_boot: OnBoot::Stay, ..RestartConfig::default() })
        .shutdown(ShutdownConfig { end_orphans: false, ..ShutdownConfig::default() })
        .stdin("/in/prompt.md")
}
