//! The directory of the ledger and its journal.

use std::{
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use apm2_ledger::{Events, OpenError, Reader, migration_plan};
use apm2_model::causes::causes;
use chrono::{DateTime, Utc};
use nix::unistd::{AccessFlags, access, geteuid};

use crate::doctor::facts::{disk::FileSystemFacts, nearest::nearest};

/// The path of the ledger directory, as lstat(2) shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DirFacts {
    Missing {
        /// Whether this user may write to its nearest ancestor that exists.
        is_creatable: bool,
    },
    /// It cannot be examined.
    Unreadable(String),
    Symlink,
    NotADirectory,
    Directory {
        uid: u32,
        mode: u32,
    },
}

/// The journal, as far as it was read: its head, its first and its last event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JournalFacts {
    pub(crate) events: u64,
    /// The first damage that was found at the ends of the journal.
    pub(crate) damage: Option<String>,
    /// The events that are known to be missing at the end.
    pub(crate) missing: Option<(u64, u64)>,
    pub(crate) last: Option<DateTime<Utc>>,
    pub(crate) format: Result<FormatFacts, String>,
}

/// What a migration would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FormatFacts {
    /// The oldest format of a segment.
    pub(crate) oldest: u32,
    pub(crate) is_migration_needed: bool,
    pub(crate) bytes_before: u64,
    pub(crate) bytes_after: u64,
}

/// The facts about the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LedgerFacts {
    pub(crate) dir: PathBuf,
    /// The user of this process.
    pub(crate) uid: u32,
    pub(crate) found: DirFacts,
    pub(crate) file_system: Option<FileSystemFacts>,
    /// `None` if there is no ledger.
    pub(crate) journal: Option<Result<JournalFacts, String>>,
    /// Number and bytes of the stores that were set aside.
    pub(crate) set_aside: (u64, u64),
}

impl LedgerFacts {
    pub(crate) fn look(dir: &Path) -> Self {
        let dir: PathBuf = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()).components().collect();
        Self {
            uid: geteuid().as_raw(),
            found: find(&dir),
            file_system: FileSystemFacts::look(&dir),
            journal: journal(&dir),
            set_aside: set_aside(&dir),
            dir,
        }
    }

    /// The time of the last event; `None` if it cannot be read.
    pub(crate) fn last_event(&self) -> Option<DateTime<Utc>> {
        self.journal.as_ref()?.as_ref().ok()?.last
    }
}

fn find(dir: &Path) -> DirFacts {
    match fs::symlink_metadata(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            DirFacts::Missing { is_creatable: access(nearest(dir), AccessFlags::W_OK | AccessFlags::X_OK).is_ok() }
        }
        Err(error) => DirFacts::Unreadable(error.to_string()),
        Ok(metadata) if metadata.is_symlink() => DirFacts::Symlink,
        Ok(metadata) if !metadata.is_dir() => DirFacts::NotADirectory,
        Ok(metadata) => DirFacts::Directory { uid: metadata.uid(), mode: metadata.mode() & 0o7777 },
    }
}

fn journal(dir: &Path) -> Option<Result<JournalFacts, String>> {
    let reader = match Reader::open(dir) {
        Err(OpenError::Missing { .. }) => return None,
        // The check of the directory reports this.
        Err(OpenError::Unsafe { .. }) => return None,
        Err(error) => return Some(Err(causes(&error).to_string())),
        Ok(reader) => reader,
    };
    let events = reader.head().map_or(0, |head| head.size);
    let first = read(reader.events(1, 1));
    // Damage after the last event is reported by a reading that goes on after it.
    let last = read(reader.events(events.max(1), u64::MAX));
    let format = migration_plan(dir).map_err(|error| causes(&error).to_string()).map(|plan| FormatFacts {
        oldest: plan.format,
        is_migration_needed: plan.is_needed(),
        bytes_before: plan.bytes_before,
        bytes_after: plan.bytes_after,
    });
    let damage = [&first, &last].into_iter().find_map(|read| read.as_ref().err().cloned());
    let last = last.ok().flatten();
    Some(Ok(JournalFacts { events, damage, missing: reader.missing(), last, format }))
}

/// The time of the last of these events.
fn read(mut events: Events) -> Result<Option<DateTime<Utc>>, String> {
    events.try_fold(None, |_, event| Ok(Some(event.map_err(|error| causes(&error).to_string())?.stamp.wall())))
}

fn set_aside(dir: &Path) -> (u64, u64) {
    let stores = apm2_ledger::disk_usage(dir).map(|usage| usage.set_aside).unwrap_or_default();
    (u64::try_from(stores.len()).unwrap_or(u64::MAX), stores.iter().map(|(_, bytes)| bytes).sum())
}
