//! A specification together with all other data that a start needs, including secrets. A launch is never recorded:
//! events hold the redacted specification.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::spec::{ProcessSpec, config::credentials::CredentialSource, id::ProcessId};

/// A specification with the data from its client that a start needs.
///
/// `Debug` shows no value. Serialization writes all values. The launch files and the calls of `apm2-daemon` have their
/// own serialized form, which does not depend on the serde attributes in this file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaunchSpec {
    /// The process specification.
    pub spec: ProcessSpec,
    /// The environment to which the variables of the specification are added. `None` for the inherited part of the
    /// supervisor's own environment.
    #[serde(default)]
    pub base_env: Option<BTreeMap<String, String>>,
    /// The file mode creation mask (umask(2)); `None` for the mask of the supervisor.
    #[serde(default)]
    pub umask: Option<u32>,
    /// Where the values of `spec.credentials` come from. Default: no source.
    #[serde(default)]
    pub credential_source: Option<CredentialSource>,
    /// The time without output after which an event records the silence. Default: no limit.
    #[serde(default, with = "crate::duration::option")]
    pub silence_limit: Option<Duration>,
    /// The group of the process, such as the path of its ecosystem file. Default: none.
    #[serde(default)]
    pub group: Option<String>,
}

impl LaunchSpec {
    /// Whether a process that was launched as `other` needs no change to match this launch. `base_env` and `umask` are
    /// not compared: they come from the terminal of the client, and a repeated request from another terminal must not
    /// count as a change.
    pub fn is_as(&self, other: &Self) -> bool {
        let bare = |launch: &Self| Self { base_env: None, umask: None, ..launch.clone() };
        bare(self) == bare(other)
    }

    /// A launch of `spec` with the inherited part of the supervisor's environment, and without other data.
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

/// The same launch with the process id `id`.
#[must_use]
pub fn with_id(mut launch: LaunchSpec, id: ProcessId) -> LaunchSpec {
    launch.spec.id = id;
    launch
}

/// The same launch with `instances` instances.
#[must_use]
pub fn with_instances(launch: &LaunchSpec, instances: u32) -> LaunchSpec {
    let spec = ProcessSpec { instances, ..launch.spec.clone() };
    LaunchSpec { spec, ..launch.clone() }
}
