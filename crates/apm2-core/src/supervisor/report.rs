//! What the supervisor answers: the results of changes, of a recovery and of a shutdown.

use apm2_model::event::stream_id::StreamId;

use crate::error::ProcessError;

/// What became of a launch that was applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It is supervised now, and stopped.
    Created,
    /// It replaced what was supervised under its name; what ran runs again, as the new one.
    Changed,
    /// It is what is supervised already.
    Unchanged,
}

/// How credentials were replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// The process was told by its signal.
    Signalled,
    /// It was started anew, which is what gives it new values.
    Restarted,
}

/// What was found at the beginning.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Processes that are alive and were taken over.
    pub adopted: u32,
    /// Runs that had ended, or had never begun, and are closed now.
    pub closed: u32,
    /// What could not be put in order, in words.
    pub problems: Vec<String>,
}

/// How the end of everything went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Instances that were stopped.
    pub stopped: u32,
    /// Those that could not be, with the reason.
    pub problems: Vec<String>,
}

/// What was launched.
#[derive(Debug)]
pub struct Launched {
    /// The instance.
    pub id: StreamId,
    /// Its run.
    pub run: u64,
    /// Why no process came to be, if none did. It is supervised all the same, and its policy has the next word.
    pub failure: Option<ProcessError>,
}

/// What became of a launch that is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BroughtUp {
    /// What was changed.
    pub applied: Applied,
    /// Whether an instance was started that had not been changed.
    pub has_started: bool,
    /// Whether an instance has finished, and so was not started.
    pub has_finished: bool,
    /// What ended with a failure right after its start, in words.
    pub ended_at_once: Option<String>,
}
