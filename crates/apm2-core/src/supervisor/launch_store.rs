//! The interface of a store of launch specifications for the next supervisor.

use std::io;

use apm2_model::spec::{id::ProcessId, launch::LaunchSpec};

/// Stores launch specifications for the next supervisor.
///
/// Each call blocks until the disk has synced.
pub trait LaunchStore: Send + Sync {
    /// Checks as far as possible that `launch` can be saved, for instance by writing it to a temporary file. An earlier
    /// launch specification of the process stays saved.
    ///
    /// # Errors
    /// `launch` could not be saved.
    fn prepare(&self, _launch: &LaunchSpec) -> io::Result<()> {
        Ok(())
    }

    /// Saves `launch`, in place of an earlier launch specification of the same process. It is durable when this call
    /// returns.
    ///
    /// # Errors
    /// `launch` is not saved.
    fn save(&self, launch: &LaunchSpec) -> io::Result<()>;

    /// Removes the saved launch specification of `process`, if there is one.
    ///
    /// # Errors
    /// The launch specification may still be saved.
    fn remove(&self, process: ProcessId) -> io::Result<()>;

    /// All saved launch specifications.
    ///
    /// # Errors
    /// The store cannot be read at all. A single unreadable entry is not an error.
    fn load_all(&self) -> io::Result<StoredLaunches>;
}

/// The entries of a launch store.
#[derive(Debug, Default)]
pub struct StoredLaunches {
    /// The launch specifications that this program can read.
    pub launches: Vec<LaunchSpec>,
    /// The entries that this program cannot read. It does not change them.
    pub unreadable: Vec<UnreadableLaunch>,
}

/// A saved launch specification that cannot be read: its version is unknown, or it is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableLaunch {
    /// The process to which the launch specification belongs.
    pub process: ProcessId,
    /// Why the launch specification cannot be read. The text contains no part of its content.
    pub why: String,
}

/// A launch store that stores nothing. For a supervisor that no other supervisor will follow.
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
