//! The interface of a store of launch specifications for the next supervisor.

use std::io;

use apm2_model::spec::{id::ProcessId, launch::LaunchSpec};

/// Keeps launches for the supervisor that comes after this one.
///
/// Calls block for as long as a disk takes to sync.
pub trait LaunchStore: Send + Sync {
    /// Makes sure, as far as that is possible, that `launch` can be kept: there is room for it. The earlier one stays.
    ///
    /// # Errors
    /// When it could not be kept.
    fn prepare(&self, _launch: &LaunchSpec) -> io::Result<()> {
        Ok(())
    }

    /// Keeps `launch`, in the place of an earlier one of the same process. Durable when this returns.
    ///
    /// # Errors
    /// When it is not kept.
    fn save(&self, launch: &LaunchSpec) -> io::Result<()>;

    /// Forgets the launch of `process`, if there is one.
    ///
    /// # Errors
    /// When it may still be there.
    fn remove(&self, process: ProcessId) -> io::Result<()>;

    /// All launches that are kept.
    ///
    /// # Errors
    /// When nothing can be read at all.
    fn load_all(&self) -> io::Result<StoredLaunches>;
}

/// What a store of launches has.
#[derive(Debug, Default)]
pub struct StoredLaunches {
    /// Those that can be used.
    pub launches: Vec<LaunchSpec>,
    /// Those that this program cannot read, and leaves as they are.
    pub unreadable: Vec<UnreadableLaunch>,
}

/// A launch that is kept in a form which this program does not know, or is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableLaunch {
    /// Whose it is.
    pub process: ProcessId,
    /// What is wrong with it, in words. Holds no part of the launch.
    pub why: String,
}

/// Keeps nothing: for supervisors that nobody comes after.
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
