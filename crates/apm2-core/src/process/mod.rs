//! The processes under supervision: what they are, what happens to them, and how they are run.
//!
//! A [`ProcessSpec`] says what to run. A [`ProcessRunner`] runs one instance of it, and turns all that happens into
//! [`Event`]s, which a [`Recorder`] keeps. A [`Stream`] is the fold of such events, and a [`ProcessHandle`] the part of
//! it that the world sees. Nothing changes a state but [`ProcessHandle::apply`], and [`transition`] decides.

mod builder;
mod child;
mod clock;
mod error;
mod event;
mod exit;
mod group;
mod handle;
mod history;
mod holder;
mod id;
mod identity;
mod instance;
mod leader;
mod output;
mod recorder;
mod redact;
mod request;
mod run;
pub mod runner;
mod signal;
pub mod spawner;
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
    holder::{HeldRun, OutputHolder},
    id::ProcessId,
    identity::{Observation, ProcessIdentity},
    output::OutputChunk,
    recorder::{Recorder, Unrecorded},
    redact::{REDACTED, RedactedSpec},
    request::Request,
    runner::ProcessRunner,
    signal::{NotASignal, Signal},
    spawner::{SpawnedProcess, spawn},
    spec::ProcessSpec,
    state::ProcessState,
    stream::{IllegalEvent, Intent, Stream},
    transition::{IllegalTransition, transition},
};
pub(crate) use self::{group::members, history::Origin, instance::end_event};
