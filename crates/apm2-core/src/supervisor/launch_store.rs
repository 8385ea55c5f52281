//! The interface of a store of launch specifications for the next supervisor.

use std::io;

use apm2_model::spec::{id::ProcessId, launch::LaunchSpec};

/// Stores launch specifications for the next supervisor.
///
/// Calls block for as long as a disk takes to sync.
pub trait LaunchStore: Send + Sync {
    /// Checks as far as possible that `launch` can be saved, for instance by writing it to a temporary file. The earlier one
    /// stays.
    ///
    /// # Errors
    /// When it could not be saved.
    fn prepare(&self, _launch: &LaunchSpec) -> io::Result<()> {
        Ok(())
    }

    /// Saves `launch` in place of an earlier one of the same process. Durable when this returns.
    ///
    /// # Errors
    /// When it is not saved.
    fn save(&self, launch: &LaunchSpec) -> io::Result<()>;

    /// Forgets the launch of `process`, if there is one.
    ///
    /// # Errors
    /// When it may still be there.
    fn remove(&self, process: ProcessId) -> io::Result<()>;

    /// All saved launch specifications.
    ///
    /// # Errors
    /// When nothing can be read at all.
    fn load_all(&self) -> io::Result<StoredLaunches>;
}

/// The content of a launch store.
#[derive(Debug, Default)]
pub struct StoredLaunches {
    /// Launch specifications that can be used.
    pub launches: Vec<LaunchSpec>,
    /// Entries that this program cannot read, and does not change.
    pub unreadable: Vec<UnreadableLaunch>,
}

/// A saved launch specification of an unknown version, or a damaged one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableLaunch {
    /// The process that it belongs to.
    pub process: ProcessId,
    /// What is wrong with it, as a text without any part of its content.
    pub why: String,
}

/// Stores nothing: for a supervisor without a successor.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLaunchStore;

impl LaunchStore for NoLaunchStore {
    fn save(&self, _launch: &LaunchSpec) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _process: ProcessId) -> io::Result<()> {
        Ok(())
    }

    fn load_all(&self) -> io::Result<StoredLaunches> {
        Ok(StoredLaunches::default())
    }
}
