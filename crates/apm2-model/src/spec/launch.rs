//! A specification with all other data that a start needs, including secrets. Never recorded: records hold the redacted
//! specification.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::spec::{ProcessSpec, config::credentials::CredentialSource, id::ProcessId};

/// A specification with the data from its client that a start needs.
///
/// `Debug` shows no value. Serialization does. The launch files and the calls of `apm2-daemon` have a form of their own, which does not
/// depend on the serde attributes here.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchSpec {
    /// The specification.
    pub spec: ProcessSpec,
    /// The base of the child's environment; `None` for the allowed part of the supervisor's own.
    #[serde(default)]
    pub base_env: Option<BTreeMap<String, String>>,
    /// The file mode creation mask (umask(2)); `None` for the supervisor's own.
    #[serde(default)]
    pub umask: Option<u32>,
    /// Where the values of `spec.credentials` come from. Default: no source.
    #[serde(default)]
    pub credential_source: Option<CredentialSource>,
    /// Silence on both outputs for longer than this is recorded. Default: no limit.
    #[serde(default, with = "crate::duration::option")]
    pub silence_limit: Option<Duration>,
    /// The group that it belongs to, such as the path of its ecosystem file. Default: none.
    #[serde(default)]
    pub group: Option<String>,
}

impl LaunchSpec {
    /// Whether a process that was launched as `other` is already launched as this one. `base_env` and `umask` are not compared: they come
    /// from the terminal of the client, and the same request from another terminal is not a change.
    pub fn is_as(&self, other: &Self) -> bool {
        let bare = |launch: &Self| Self { base_env: None, umask: None, ..launch.clone() };
        bare(self) == bare(other)
    }

    /// A launch of `spec` with the allowed part of the supervisor's environment, and without other data.
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
