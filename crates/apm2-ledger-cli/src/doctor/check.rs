//! One check: its name, its result, and what mends it.

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckStatus {
    Ok,
    /// Works, but may surprise the user or fail later.
    Note,
    /// Something does not work, or will fail.
    Problem,
}

impl CheckStatus {
    /// The name of the status in output.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Problem => "problem",
        }
    }
}

/// One check of an installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Check {
    /// The name of the check, which programs compare. Names are not changed.
    pub(crate) name: &'static str,
    pub(crate) status: CheckStatus,
    /// The result in one sentence.
    pub(crate) message: String,
    /// A command or a setting that mends it.
    pub(crate) remedy: Option<String>,
}

impl Check {
    pub(crate) fn ok(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, status: CheckStatus::Ok, message: message.into(), remedy: None }
    }

    pub(crate) fn note(name: &'static str, message: impl Into<String>) -> Self {
        Self { name, status: CheckStatus::Note, message: message.into(), remedy: None }
    }

    pub(crate) fn problem(name: &'static str, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, status: CheckStatus::Problem, message: message.into(), remedy: Some(remedy.into()) }
    }

    /// Adds a command or a setting that mends it.
    pub(crate) fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}
