//! A specification with everything else that a start needs, secrets included. Never recorded: the record has the redacted
//! specification.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::spec::{ProcessSpec, config::credentials::CredentialSource, id::ProcessId};

/// A specification with what it needs from outside to be started.
///
/// `Debug` shows no value. Serialization does: it is the form in which a launch is handed to a supervisor, and kept for
/// the supervisor that comes after it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchSpec {
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

impl LaunchSpec {
    /// Whether a process launched as `other` need not be changed for this one. `base_env` and `umask` make no difference: they
    /// come from the terminal of the client, and asking again from another terminal is not a change.
    pub fn is_as(&self, other: &Self) -> bool {
        let bare = |launch: &Self| Self { base_env: None, umask: None, ..launch.clone() };
        bare(self) == bare(other)
    }

    /// `spec`, with nothing from outside but the allowed part of the supervisor's environment.
    #[must_use]
    pub const fn new(spec: ProcessSpec) -> Self {
        Self { spec, base_env: None, umask: None, credential_source: None, silence_limit: None, group: None }
    }
}

impl fmt::Debug for LaunchSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LaunchSpec").field("spec", &self.spec).field("group", &self.group).finish_non_exhaustive()
    }
}

/// The launch with this process id.
#[must_use]
pub fn with_id(mut launch: LaunchSpec, id: ProcessId) -> LaunchSpec {
    launch.spec.id = id;
    launch
}

/// The launch with this number of instances.
#[must_use]
pub fn with_instances(launch: &LaunchSpec, instances: u32) -> LaunchSpec {
    let spec = ProcessSpec { instances, ..launch.spec.clone() };
    LaunchSpec { spec, ..launch.clone() }
}
