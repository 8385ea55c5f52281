//! The record types of version 1. The order of the fields and the numbers of the variants are the format.
//!
//! Paths are bytes, times are nanoseconds, durations are milliseconds, and IDs are 16 bytes. The meaning of each event
//! is described in `docs/lifecycle.md`.

#![expect(missing_docs, reason = "a frozen record is its names and types; docs/format.md has the words")]

use std::{collections::BTreeMap, num::NonZeroU32};

use super::{
    RECORD_VERSION,
    cursor::{Cursor, Decode, Malformed},
};

/// Defines a struct that is decoded field by field, in order.
macro_rules! record {
    ($name:ident { $($field:ident: $type:ty),+ $(,)? }) => {
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name { $(pub $field: $type),+ }

        impl Decode for $name {
            fn decode(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
                Ok(Self { $($field: Decode::decode(from)?),+ })
            }
        }
    };
}

/// Defines an enum that is decoded from the number of a variant and the fields of that variant.
macro_rules! choice {
    ($name:ident { $($number:literal $variant:ident $({ $($field:ident: $type:ty),+ $(,)? })?),+ $(,)? }) => {
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum $name { $($variant $({ $($field: $type),+ })?),+ }

        impl Decode for $name {
            fn decode(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
                match u32::decode(from)? {
                    $($number => Ok(Self::$variant $({ $($field: Decode::decode(from)?),+ })?),)+
                    _ => Err(Malformed(concat!("no such ", stringify!($name)))),
                }
            }
        }
    };
}

record!(Event {
    process_id: Id,
    instance: u32,
    version: u64,
    run: u64,
    cause: Option<u64>,
    stamp: Timestamp,
    actor: Actor,
    reason: Option<String>,
    kind: Kind,
});

record!(Timestamp { wall_ns: i64, boot_ns: u64, boot_id: Id });

choice!(Actor {
    0 Operator { uid: u32, user: Option<String>, terminal: Option<String> },
    1 Policy,
    2 Health,
    3 Recovery,
    4 System,
});

choice!(Kind {
    0 Registered { spec: Spec },
    1 SpecChanged { spec: Spec },
    2 Unregistered,
    3 StartRequested { trigger: Trigger },
    4 Starting { identity: Option<Identity>, trigger: Trigger },
    5 Running,
    6 Unhealthy { failures: u32 },
    7 Stopping { signal: Signal, timeout_ms: u64, force_kill: bool },
    8 Stopped { exit: Exit },
    9 Crashed { cause: RunEnd },
    10 Terminated { exit: Exit },
    11 SignalSent { signal: Signal, target: SignalTarget },
    12 SignalFailed { signal: Signal, errno: i32 },
    13 GroupSurvived { pids: Vec<u32> },
    14 RestartScheduled { attempt: u32, delay_ms: u64 },
    15 RestartRefused { rule: RestartRule },
    16 BudgetReset,
    17 HealthChanged { healthy: bool, detail: String },
    18 Adopted { identity: Identity },
    19 OutputLeaked { source: OutputSource },
    20 Sampled { cpu_centipercent: u32, memory_bytes: u64 },
    21 CredentialRotated { profile: String, variables: Vec<String> },
    22 Observed { adapter: String, detail: String },
    23 SupervisorStarted { pid: u32, version: String },
    24 SupervisorStopped,
    25 Checkpointed { size: u64, chain: [u8; 32] },
    26 StoreRebuilt { cause: String, set_aside: Option<String> },
    27 TailCut { segment: u64, offset: u64 },
});

choice!(Trigger { 0 Start, 1 Restart { attempt: u32 } });
choice!(SignalTarget { 0 Process, 1 Group });
choice!(OutputSource { 0 Stdout, 1 Stderr });
choice!(SpawnStage { 0 WorkingDirectory, 1 Fork, 2 Exec });
choice!(Evidence { 0 Observed, 1 Recovered, 2 Unknown });

record!(Identity { boot_id: Id, pid: u32, start_ticks: u64 });

record!(Exit { outcome: Outcome, evidence: Evidence });

choice!(Outcome { 0 Code { code: i32 }, 1 Signal { signal: Signal, core_dumped: bool }, 2 Unknown });

choice!(RunEnd {
    0 Exit { exit: Exit },
    1 SpawnFailed { stage: SpawnStage, errno: Option<i32>, message: String },
    2 NeverConfirmed,
});

choice!(RestartRule {
    0 PolicyNever,
    1 Succeeded,
    2 BudgetSpent { restarts: u32, max_restarts: u32, window_ms: u64 },
    3 StopRequested,
});

record!(Spec {
    id: Id,
    name: NonEmpty,
    command: NonEmpty,
    args: Vec<String>,
    cwd: Option<Vec<u8>>,
    env_names: Vec<String>,
    instances: NonZeroU32,
    restart: Restart,
    health: Option<Health>,
    log: Log,
    shutdown: Shutdown,
    credentials: Option<Credentials>,
});

record!(Restart { policy: Policy, max_restarts: u32, restart_window_ms: u64, min_uptime_ms: u64, backoff: Backoff });

choice!(Policy { 0 Never, 1 OnFailure, 2 Always });

choice!(Backoff {
    0 Fixed { delay_ms: u64 },
    1 Linear { initial_ms: u64, step_ms: u64, max_ms: u64 },
    2 Exponential { initial_ms: u64, factor: u32, max_ms: u64 },
});

record!(Health {
    check: Check,
    interval_ms: u64,
    timeout_ms: u64,
    initial_delay_ms: u64,
    grace_period_ms: u64,
    failure_threshold: u32,
    success_threshold: u32,
});

choice!(Check {
    0 Http { url: String, expected_status: u16 },
    1 Tcp { address: String },
    2 Script { command: String, args: Vec<String> },
    3 Liveness,
});

record!(Log {
    stdout: Option<Vec<u8>>,
    stderr: Option<Vec<u8>>,
    merge: bool,
    timestamps: bool,
    rotate_bytes: u64,
    rotate_age_ms: u64,
    compress: bool,
    total_bytes_max: u64,
});

record!(Shutdown { signal: Signal, timeout_ms: u64, pre_stop: Vec<Vec<String>>, force_kill: bool });

record!(Credentials { profile: String, variables: BTreeMap<String, String>, reload_signal: Option<Signal> });

/// A 16-byte ID, recorded with its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id(pub [u8; 16]);

impl Decode for Id {
    fn decode(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let bytes = Vec::<u8>::decode(from)?;
        bytes.try_into().map(Self).map_err(|_| Malformed("an id that is not 16 bytes"))
    }
}

/// A signal number from 1 to 64.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(pub u8);

impl Decode for Signal {
    fn decode(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        match u8::decode(from)? {
            number @ 1..=64 => Ok(Self(number)),
            _ => Err(Malformed("no such signal")),
        }
    }
}

/// A text that must not be empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NonEmpty(pub String);

impl Decode for NonEmpty {
    fn decode(from: &mut Cursor<'_>) -> Result<Self, Malformed> {
        let text = String::decode(from)?;
        if text.is_empty() { Err(Malformed("an empty name or command")) } else { Ok(Self(text)) }
    }
}

/// Decodes an event from all of `bytes`: a version byte and the record.
///
/// # Errors
/// When the bytes are not an event of version 1.
pub fn decode_event(bytes: &[u8]) -> Result<Event, Malformed> {
    match bytes.split_first() {
        Some((&RECORD_VERSION, rest)) => {
            let mut cursor = Cursor::new(rest);
            let event = Event::decode(&mut cursor)?;
            if cursor.is_at_end() { Ok(event) } else { Err(Malformed("bytes after the record")) }
        }
        Some(_) => Err(Malformed("a record of another version")),
        None => Err(Malformed("an empty record")),
    }
}
