//! The error type of the commands: kind, message, hint and exit code.

use std::{fmt::Write as _, io};

use apm2_core::process::ProcessError;
use apm2_ledger::{AppendError, FindError, ImportError, MigrateError, OpenError, ReadError, StagedDirError};
use apm2_model::{causes::causes, id_query::UnclearId};

use crate::render::escape::escape;

/// Prefix of each line that this program prints on standard error.
pub(crate) const PREFIX: &str = "apm2-ledger: ";

/// The exit codes of the command line. They are a contract and do not change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorKind {
    /// The reader of standard output has closed the pipe. This is no error; no message is printed.
    ReaderGone,
    /// The command failed for a reason that no other exit code describes.
    Failed,
    /// The command line is wrong.
    Usage,
    /// No process has this name or id.
    NoSuchProcess,
    /// The ledger is damaged or inconsistent.
    Integrity,
    /// The ledger cannot be used: it is locked, poisoned (a write failed), of a newer format, or access is denied.
    Unusable,
}

impl ErrorKind {
    const fn exit_code(self) -> i32 {
        match self {
            Self::ReaderGone => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NoSuchProcess => 3,
            Self::Integrity => 4,
            Self::Unusable => 5,
        }
    }
}

/// The error of a command: kind, message and hint.
#[derive(Debug)]
pub(crate) struct CliError {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
}

impl CliError {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None }
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// Adds a hint: a line about what the user can do next.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The error with a hint, if `cause` is that no thread can be created (EAGAIN, pthread_create(3)).
    pub(crate) fn of_limit(self, cause: &io::Error) -> Self {
        match cause.kind() {
            io::ErrorKind::WouldBlock => {
                self.with_hint("the limit on processes and threads may be too low: see `ulimit -u`")
            }
            _ => self,
        }
    }

    /// Keeps the message of this error, and takes the kind and the hint from `cause`.
    pub(crate) fn because_of(self, cause: Self) -> Self {
        Self { kind: cause.kind, hint: cause.hint, ..self }
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }

    pub(crate) const fn exit_code(&self) -> i32 {
        self.kind.exit_code()
    }

    /// The lines that are printed on standard error; empty for a closed pipe.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        if self.kind != ErrorKind::ReaderGone {
            // Messages are escaped, because they quote recorded or typed text.
            let _ = writeln!(text, "{PREFIX}{}", escape(&self.message));
            if let Some(hint) = &self.hint {
                let _ = writeln!(text, "{PREFIX}hint: {}", escape(hint));
            }
        }
        text
    }
}

/// An error while writing to standard output.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::new(ErrorKind::ReaderGone, ""),
            _ => Self::failed(format!("cannot write the output: {error}")),
        }
    }
}

impl From<OpenError> for CliError {
    fn from(error: OpenError) -> Self {
        let kind = if error.is_integrity() { ErrorKind::Integrity } else { ErrorKind::Unusable };
        let converted = Self::new(kind, causes(&error));
        match error {
            OpenError::Missing { .. } => {
                converted.with_hint("`apm2-ledger run -- COMMAND` creates one; --ledger DIR names another")
            }
            OpenError::Locked { .. } => converted
                .with_hint("another program has it open, and only one writes at a time; it can be read meanwhile"),
            OpenError::Newer { .. } => {
                converted.with_hint("use the version of apm2-ledger that wrote it, or a newer one")
            }
            OpenError::Backup { .. } => converted.with_hint(
                "`apm2-ledger --ledger DIR restore` makes a ledger of it in another directory; it can be read as it is",
            ),
            OpenError::Moved { .. } => converted.with_hint("try again with the path of the ledger that you mean"),
            OpenError::Diverged { .. } => converted.with_hint(
                "nothing was changed; keep a copy of the directory. If journal/ is correct, move sled/ out of it",
            ),
            OpenError::Damaged(_) | OpenError::JournalShort { .. } | OpenError::JournalGone { .. } => converted
                .with_hint("`apm2-ledger verify` says which events are concerned; keep a copy of the directory"),
            OpenError::Io { source, .. } => converted.of_limit(&source),
            OpenError::OtherLedger { .. } | OpenError::Unsafe { .. } | OpenError::Store(_) => converted,
        }
    }
}

impl From<ImportError> for CliError {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Directory(error) => error.into(),
            ImportError::Open(error) => error.into(),
            error => Self::failed(causes(&error)).with_hint("nothing was imported"),
        }
    }
}

impl From<StagedDirError> for CliError {
    fn from(error: StagedDirError) -> Self {
        match error {
            StagedDirError::Open(error) => error.into(),
            StagedDirError::Exists { .. } => {
                Self::failed(causes(&error)).with_hint("nothing is overwritten; name a directory that does not exist")
            }
            error => Self::failed(causes(&error)),
        }
    }
}

impl From<MigrateError> for CliError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Open(error) => error.into(),
            error if error.is_integrity() => Self::new(ErrorKind::Integrity, causes(&error))
                .with_hint("`apm2-ledger verify` says which events are concerned; keep a copy of the directory"),
            error => Self::new(ErrorKind::Unusable, causes(&error)),
        }
    }
}

impl From<ReadError> for CliError {
    fn from(error: ReadError) -> Self {
        if error.is_integrity() {
            Self::new(ErrorKind::Integrity, causes(&error))
                .with_hint("`apm2-ledger verify` says which events are concerned; keep a copy of the directory")
        } else if matches!(error, ReadError::ArchiveMissing { .. }) {
            Self::new(ErrorKind::Integrity, causes(&error))
                .with_hint("the other events can be read; move the archive back to read those, too")
        } else {
            Self::new(ErrorKind::Unusable, causes(&error))
        }
    }
}

impl From<FindError> for CliError {
    fn from(error: FindError) -> Self {
        let message = error.to_string();
        match error {
            FindError::Unclear(UnclearId::Unknown(_)) => {
                Self::new(ErrorKind::NoSuchProcess, message).with_hint("`apm2-ledger list --all` shows all processes")
            }
            FindError::Unclear(UnclearId::Ambiguous { candidates, .. }) => {
                Self::usage(message).with_hint(format!("it matches {}; give more of the id", candidates.join(", ")))
            }
            FindError::Unclear(UnclearId::OneInstance { name, .. }) => {
                Self::usage(message).with_hint(format!("name the process: {name}"))
            }
            FindError::Read(error) => error.into(),
        }
    }
}

impl From<AppendError> for CliError {
    fn from(error: AppendError) -> Self {
        let message = causes(&error);
        match error {
            AppendError::Poisoned(_) | AppendError::DiskLow { .. } | AppendError::Closed => {
                Self::new(ErrorKind::Unusable, message)
            }
            AppendError::History(error) => (*error).into(),
            AppendError::Conflict { .. }
            | AppendError::Illegal { .. }
            | AppendError::Invariant(_)
            | AppendError::Shape(_)
            | AppendError::Retained { .. }
            | AppendError::Record(_) => Self::failed(message),
        }
    }
}

impl From<ProcessError> for CliError {
    /// If the I/O error contains an error of the ledger, the error of the ledger decides the kind.
    fn from(error: ProcessError) -> Self {
        match error {
            ProcessError::Io(error) => match error.downcast::<AppendError>() {
                Ok(error) => error.into(),
                Err(error) => Self::failed(causes(&error)),
            },
            error => Self::failed(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_why_and_what_next() {
        let error = CliError::usage("no such \x1b[31mthing").with_hint("try another");
        assert_eq!(error.text(), "apm2-ledger: no such \\x1b[31mthing\napm2-ledger: hint: try another\n");
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error() {
        let error = CliError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((error.exit_code(), error.text()), (0, String::new()));
    }

    #[test]
    fn an_unusable_ledger_and_a_broken_one_have_different_exit_codes() {
        let locked = CliError::from(OpenError::Locked { path: "/l".into(), owner: Some(7) });
        assert_eq!(locked.exit_code(), 5);
        let broken = CliError::from(ReadError::Gap { seq: 7 });
        assert_eq!(broken.exit_code(), 4);
        assert!(broken.text().contains("event 7"), "{}", broken.text());
    }

    #[test]
    fn the_ledgers_error_is_found_inside_the_processs() {
        let poisoned = io::Error::other(AppendError::Poisoned("fdatasync: EIO".into()));
        assert_eq!(CliError::from(ProcessError::Io(poisoned)).exit_code(), 5);
        assert_eq!(CliError::from(ProcessError::Io(io::Error::other("x"))).exit_code(), 1);
    }
}
