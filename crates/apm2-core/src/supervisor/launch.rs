//! Everything that a process is launched with, secrets included. Never recorded: what is on record is the redacted
//! specification.

use std::{collections::BTreeMap, fmt, io, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    credentials::CredentialSource,
    process::{ProcessError, ProcessId, ProcessSpec},
};

/// A specification with what it needs from outside to be started.
///
/// `Debug` shows no value. Serialization does: it is the form in which a launch is handed to a supervisor, and kept for
/// the supervisor that comes after it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Launch {
    /// What to run.
    pub spec: ProcessSpec,
    /// The environment that the child's begins with; `None` for the allowed part of the supervisor's own.
    #[serde(default)]
    pub base_env: Option<BTreeMap<String, String>>,
    /// The mask of the files that it makes (umask(2)); `None` for the supervisor's own.
    #[serde(default)]
    pub umask: Option<u32>,
    /// Where the values of `spec.credentials` come from. Default: nowhere.
    #[serde(default)]
    pub credential_source: Option<CredentialSource>,
    /// Silence on both outputs for longer than this is recorded. Default: no limit.
    #[serde(default, with = "crate::duration::option")]
    pub silence_limit: Option<Duration>,
    /// What it belongs to, such as the path of its ecosystem file. Default: nothing.
    #[serde(default)]
    pub group: Option<String>,
}

impl Launch {
    /// Whether a process launched as `other` need not be touched for this one. What merely comes along from the terminal of
    /// whoever asks (`base_env`, `umask`) makes no difference: asking again from elsewhere is not a change.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        let bare = |launch: &Self| Self { base_env: None, umask: None, ..launch.clone() };
        bare(self) == bare(other)
    }

    /// The error of an order that would have to start a process of which only the record is left, which has no values.
    pub(super) fn unknown(&self) -> ProcessError {
        let name = &self.spec.name;
        ProcessError::InvalidState(format!("{name}: the values it was launched with are not known; `up` gives them"))
    }

    /// `spec`, with nothing from outside but the allowed part of the supervisor's environment.
    #[must_use]
    pub const fn new(spec: ProcessSpec) -> Self {
        Self { spec, base_env: None, umask: None, credential_source: None, silence_limit: None, group: None }
    }
}

impl fmt::Debug for Launch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Launch").field("spec", &self.spec).field("group", &self.group).finish_non_exhaustive()
    }
}

/// Keeps launches for the supervisor that comes after this one.
///
/// Calls block for as long as a disk takes to sync.
pub trait LaunchStore: Send + Sync {
    /// Makes sure, as far as that is possible, that `launch` can be kept: there is room for it. The earlier one stays.
    ///
    /// # Errors
    /// When it could not be kept.
    fn prepare(&self, _launch: &Launch) -> io::Result<()> {
        Ok(())
    }

    /// Keeps `launch`, in the place of an earlier one of the same process. Durable when this returns.
    ///
    /// # Errors
    /// When it is not kept.
    fn save(&self, launch: &Launch) -> io::Result<()>;

    /// Forgets the launch of `process`, if there is one.
    ///
    /// # Errors
    /// When it may still be there.
    fn remove(&self, process: ProcessId) -> io::Result<()>;

    /// All launches that are kept.
    ///
    /// # Errors
    /// When nothing can be read at all.
    fn load_all(&self) -> io::Result<KeptLaunches>;
}

/// What a store of launches has.
#[derive(Debug, Default)]
pub struct KeptLaunches {
    /// Those that can be used.
    pub launches: Vec<Launch>,
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
pub struct Unkept;

impl LaunchStore for Unkept {
    fn save(&self, _launch: &Launch) -> io::Result<()> {
        Ok(())
    }

    fn remove(&self, _process: ProcessId) -> io::Result<()> {
        Ok(())
    }

    fn load_all(&self) -> io::Result<KeptLaunches> {
        Ok(KeptLaunches::default())
    }
}
