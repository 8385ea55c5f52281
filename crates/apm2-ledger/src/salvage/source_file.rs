//! The files of a damaged ledger that may contain events.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    journal::{JOURNAL_DIR, archive::ARCHIVE_DIR},
    recovery::{OTHER_LEDGER, REBUILT, SET_ASIDE},
    store::STORE_DIR,
};

/// Where events were found. An earlier kind is preferred to a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SourceKind {
    /// A sealed segment.
    Sealed,
    /// A plain segment.
    Plain,
    /// An archive, or another file in the directory of the journal, for example a segment that was renamed.
    Other,
    /// The store.
    Store,
    /// A store that was replaced by a newer one.
    OldStore,
}

impl SourceKind {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::Plain => "plain",
            Self::Other => "other",
            Self::Store => "store",
            Self::OldStore => "old_store",
        }
    }

    /// Whether it is a part of a store, and not of the journal.
    #[must_use]
    pub const fn is_store(self) -> bool {
        matches!(self, Self::Store | Self::OldStore)
    }
}

/// A file that may contain events.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SourceFile {
    pub(crate) kind: SourceKind,
    pub(crate) path: PathBuf,
    /// The name of the store's directory, if the file is a part of a store.
    pub(crate) store: Option<OsString>,
}

/// All files of the ledger in `dir` that may contain events: those of the journal first, then those of the stores. `failed` gets
/// the directories that cannot be read.
pub(crate) fn source_files(dir: &Path, failed: &mut Vec<(PathBuf, io::Error)>) -> Vec<SourceFile> {
    let mut found = Vec::new();
    for path in entries(&dir.join(JOURNAL_DIR), failed) {
        let kind = match path.extension().and_then(|extension| extension.to_str()) {
            Some("sealed") => SourceKind::Sealed,
            Some("seg") => SourceKind::Plain,
            _ => SourceKind::Other,
        };
        found.push(SourceFile { kind, path, store: None });
    }
    if dir.join(ARCHIVE_DIR).exists() {
        let archives = entries(&dir.join(ARCHIVE_DIR), failed).into_iter();
        found.extend(archives.map(|path| SourceFile { kind: SourceKind::Other, path, store: None }));
    }
    for path in entries(dir, failed) {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        let kind = match name {
            _ if name == STORE_DIR.as_bytes() => SourceKind::Store,
            _ if name.starts_with(OTHER_LEDGER.as_bytes()) => continue,
            _ if name.starts_with(SET_ASIDE.as_bytes()) || name == REBUILT.as_bytes() => SourceKind::OldStore,
            _ => continue,
        };
        let store = path.file_name().map(ToOwned::to_owned);
        add_below(&path, kind, store.as_ref(), &mut found, failed);
    }
    found.sort();
    found
}

fn add_below(
    dir: &Path,
    kind: SourceKind,
    store: Option<&OsString>,
    found: &mut Vec<SourceFile>,
    failed: &mut Vec<(PathBuf, io::Error)>,
) {
    for path in entries(dir, failed) {
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => add_below(&path, kind, store, found, failed),
            _ => found.push(SourceFile { kind, path, store: store.cloned() }),
        }
    }
}

/// The entries of a directory; none where it does not exist or is another file.
fn entries(dir: &Path, failed: &mut Vec<(PathBuf, io::Error)>) -> Vec<PathBuf> {
    let read = fs::read_dir(dir).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    read.unwrap_or_else(|error: io::Error| {
        if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
            failed.push((dir.to_owned(), error));
        }
        Vec::new()
    })
}
