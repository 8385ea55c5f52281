//! The results of changes, of a recovery and of a shutdown.

use apm2_model::event::stream_id::StreamId;

use crate::error::ProcessError;

/// The result of [`Supervisor::apply`](crate::supervisor::Supervisor::apply).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// A new process is supervised now, and is stopped.
    Created,
    /// The process with this name was changed; instances that ran were restarted with the new specification.
    Changed,
    /// The process with this name has this specification already.
    Unchanged,
}

/// How credentials were replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// By the process's `reload_signal`.
    Signalled,
    /// By a restart, at which the process gets the new values.
    Restarted,
}

/// The result of a recovery.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Processes that are alive and were adopted.
    pub adopted: u32,
    /// Runs that had ended, or had never begun, and are closed on record now.
    pub closed: u32,
    /// What could not be recovered, as texts.
    pub problems: Vec<String>,
}

/// The result of a shutdown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Instances that were stopped.
    pub stopped: u32,
    /// Instances that could not be stopped, with the reason.
    pub problems: Vec<String>,
}

/// A process that was launched for a client.
#[derive(Debug)]
pub struct Launched {
    /// The instance.
    pub id: StreamId,
    /// Its run.
    pub run: u64,
    /// Why the first start has failed, if it has. The process is supervised all the same, and its restart policy decides what
    /// follows.
    pub failure: Option<ProcessError>,
}

/// The result of [`Supervisor::bring_up`](crate::supervisor::Supervisor::bring_up).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BroughtUp {
    /// What was done to the specification.
    pub applied: Applied,
    /// Whether an instance was started that had not been changed.
    pub has_started: bool,
    /// Whether an instance has finished, and so was not started.
    pub has_finished: bool,
    /// Which instance has failed right after its start, and how, as a text.
    pub ended_at_once: Option<String>,
}
