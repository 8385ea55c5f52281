//! The results of changes, of a recovery and of a shutdown.

use apm2_model::event::stream_id::StreamId;

use crate::error::ProcessError;

/// The result of [`Supervisor::apply`](crate::supervisor::Supervisor::apply).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// A new process is supervised now. It is stopped.
    Created,
    /// The process with this name was changed. Its running instances were restarted with the new specification.
    Changed,
    /// The process with this name already had this specification.
    Unchanged,
}

/// The way in which credentials were replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// The `reload_signal` of the process was sent.
    Signalled,
    /// The process was restarted and got the new values at its start.
    Restarted,
}

/// The result of a recovery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The number of processes that are alive and were adopted.
    pub adopted: u32,
    /// The number of open runs that had ended or had never begun. Their ends are recorded now.
    pub closed: u32,
    /// Error texts about processes that could not be recovered.
    pub problems: Vec<String>,
}

/// The result of a shutdown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// The number of instances that were stopped.
    pub stopped: u32,
    /// The instances that could not be stopped, with the reason.
    pub problems: Vec<String>,
}

/// A process that was launched for a client.
#[derive(Debug)]
pub struct Launched {
    /// The id of the instance.
    pub id: StreamId,
    /// The number of the run.
    pub run: u64,
    /// The error of the first start, if it has failed. The process is supervised nevertheless, and its restart policy
    /// decides what follows.
    pub failure: Option<ProcessError>,
}

/// The result of [`Supervisor::bring_up`](crate::supervisor::Supervisor::bring_up).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BroughtUp {
    /// The change that was made to the specification.
    pub applied: Applied,
    /// Whether an instance was started whose specification had not been changed.
    pub has_started: bool,
    /// Whether an instance had finished, and was therefore not started.
    pub has_finished: bool,
    /// Whether an instance, an AI agent, waits for the reset of a usage limit before it is started.
    pub waits_for_limit: bool,
    /// A text about an instance that has failed immediately after its start; `None` if all instances run.
    pub ended_at_once: Option<String>,
}
