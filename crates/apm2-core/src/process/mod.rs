//! The processes under supervision: what they are, what happens to them, and how they are run.
//!
//! A [`ProcessSpec`] says what to run. A [`ProcessRunner`] runs one instance of it, and turns all that happens into
//! [`Event`]s, which a [`Recorder`] keeps. A [`Stream`] is the fold of such events, and a [`ProcessHandle`] the part of
//! it that the world sees. Nothing changes a state but [`ProcessHandle::apply`], and [`transition`] decides.

mod builder;
mod clock;
mod error;
mod event;
mod exit;
mod handle;
mod id;
mod identity;
mod recorder;
mod redact;
mod signal;
mod spec;
mod state;
mod stream;
mod transition;

pub use self::{
    builder::{ProcessSpecBuilder, SpecError},
    clock::{Clock, Stamp, SystemClock, boot_id},
    error::ProcessError,
    event::{Actor, Draft, Event, EventKind, OutputSource, RestartRule, SignalTarget, StartTrigger, StreamId},
    exit::{Evidence, Exit, ExitOutcome, RunEnd, SpawnFailure, SpawnStage},
    handle::ProcessHandle,
    id::ProcessId,
    identity::{Observation, ProcessIdentity},
    recorder::{Recorder, Unrecorded},
    redact::{REDACTED, RedactedSpec},
    signal::{NotASignal, Signal},
    spec::ProcessSpec,
    state::ProcessState,
    stream::{IllegalEvent, Intent, Stream},
    transition::{IllegalTransition, transition},
};
