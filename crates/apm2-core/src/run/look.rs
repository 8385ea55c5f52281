//! The processes of a run that were found before a step.

use std::io;

use crate::os::group::Member;

/// What was found. What was not searched for is searched for in the step that needs it.
#[derive(Debug, Default)]
pub(super) struct Look {
    /// The processes in the process group and in the session.
    pub(super) members: Option<io::Result<Vec<Member>>>,
    /// The processes that left both; searched for only if there are no members.
    pub(super) strays: Option<io::Result<Vec<Member>>>,
}
