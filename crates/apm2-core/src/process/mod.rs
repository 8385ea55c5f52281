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
mod exec_failure;
mod exit;
mod gate;
mod group;
mod handle;
pub(crate) mod helper;
mod history;
mod holder;
mod id;
pub mod id_query;
mod identity;
mod inherited;
mod instance;
mod leader;
mod output;
mod pipes;
mod readers;
mod recorder;
mod redact;
mod request;
mod run;
pub mod runner;
mod series;
mod signal;
pub mod spawner;
mod spec;
mod state;
mod stdin;
mod stream;
mod transition;
mod usage;

pub use self::{
    builder::{ProcessSpecBuilder, SpecError},
    child::{detach, has_ended, lower_descriptor_limit, raise_descriptor_limit},
    clock::{Clock, Stamp, SystemClock, boot_id},
    error::ProcessError,
    event::{Actor, Draft, Event, EventKind, OutputSource, RestartRule, SignalTarget, StartTrigger, StreamId},
    exit::{Evidence, Exit, ExitOutcome, RunEnd, SpawnFailure, SpawnStage},
    group::{LedgerPlace, RUN_VARIABLE},
    handle::ProcessHandle,
    holder::{HeldOutput, HeldRun, RunHolder},
    id::ProcessId,
    identity::{Observation, ProcessIdentity, pid_namespace, proc_is_of_our_namespace},
    inherited::reset_inherited,
    output::OutputChunk,
    recorder::{Recorder, Unrecorded},
    redact::{REDACTED, RedactedSpec},
    request::Request,
    runner::ProcessRunner,
    series::Series,
    signal::{NotASignal, Signal},
    spawner::{SpawnedProcess, allowed_variables, current_umask, spawn},
    spec::ProcessSpec,
    state::ProcessState,
    stream::{FollowUp, IllegalEvent, Intent, StopUnderWay, Stream},
    transition::{IllegalTransition, transition},
};
pub(crate) use self::{
    group::Marker,
    history::{History, Origin},
    instance::end_event,
    output::{FileLogs, OutputNotice},
    redact::{Known, redact_text},
    run::Answer,
    runner::{Given, Rest, Resumed, STOP_DRAIN_MAX, StreamView},
    usage::{Usage, usage},
};
