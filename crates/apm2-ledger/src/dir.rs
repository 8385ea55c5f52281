//! The ledger's directory: which one may be it, and a way to it that stays right when it is renamed.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    },
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use nix::{fcntl::OFlag, unistd::geteuid};

use crate::{
    error::{Damage, OpenError},
    journal::JOURNAL_DIR,
};

const PRIVATE_DIR: u32 = 0o700;

const OTHERS: u32 = 0o077;

/// Makes sure that `dir` is a directory of ours, closed to others, as a ledger's has to be. An empty one counts as missing.
///
/// # Errors
/// When it is not, or is missing.
pub fn check_private(dir: &Path) -> Result<(), OpenError> {
    prepare(dir, false)
}

/// Makes sure that `dir` is a directory of ours, closed to others. Makes it when `create` and it is missing.
pub(crate) fn prepare(dir: &Path, create: bool) -> Result<(), OpenError> {
    // A slash at the end would make the link itself invisible.
    let named: PathBuf = dir.components().collect();
    match fs::symlink_metadata(named) {
        Err(error) if error.kind() == io::ErrorKind::NotFound && create => {
            DirBuilder::new().recursive(true).mode(PRIVATE_DIR).create(dir).map_err(OpenError::io(dir))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(OpenError::Missing { path: dir.to_owned() }),
        Err(error) => Err(OpenError::io(dir)(error)),
        Ok(metadata) => check(dir, &metadata, create),
    }
}

fn check(dir: &Path, metadata: &fs::Metadata, create: bool) -> Result<(), OpenError> {
    let refuse = |why| Err(OpenError::Unsafe { path: dir.to_owned(), why });
    if metadata.is_symlink() {
        return refuse("it is a symbolic link; name the directory it leads to");
    }
    if !metadata.is_dir() {
        return refuse("it is not a directory");
    }
    if metadata.uid() != geteuid().as_raw() {
        return refuse("it belongs to another user");
    }
    if metadata.mode() & OTHERS == 0 {
        return Ok(());
    }
    // An empty directory holds nothing that others could have prepared: it is taken over, and closed.
    let is_empty = fs::read_dir(dir).map_err(OpenError::io(dir))?.next().is_none();
    if is_empty && create {
        return fs::set_permissions(dir, fs::Permissions::from_mode(PRIVATE_DIR)).map_err(OpenError::io(dir));
    }
    if is_empty {
        Err(OpenError::Missing { path: dir.to_owned() })
    } else {
        refuse("others may enter it; chmod 0700 it")
    }
}

/// What is left of a ledger in its directory beside its journal, by name. None in one that was never begun.
pub(crate) fn traces(dir: &Path) -> Vec<&'static str> {
    let is_there = |name: &str| {
        let path = dir.join(name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some()),
            Ok(_) => true,
            Err(_) => false,
        }
    };
    ["sled", "clean", "extent", "pending", "launch", "logs"].into_iter().filter(|name| is_there(name)).collect()
}

/// The error of a directory without a segment: damage where something is left of a ledger, else there is none.
pub(crate) fn without_journal(dir: &LedgerDir) -> OpenError {
    let left = traces(dir.at());
    if left.is_empty() {
        return OpenError::Missing { path: dir.named().to_owned() };
    }
    let what = format!("every segment is missing, and of the ledger there is {}", left.join(", "));
    Damage { first_seq: 1, last_seq: 1, segment: 1, offset: 0, what }.into()
}

/// Creates the directory `path` with mode 0700, if it is missing.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE_DIR).create(path)
}

/// Whether the path of an open directory still names that directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It does, or it cannot be known now.
    Same,
    /// The directory was renamed: the path names another one, or none.
    Moved,
    /// The directory was removed.
    Removed,
    /// The journal in it, or the segment that is written, was removed or exchanged for another.
    Exchanged,
}

/// A ledger's directory, open. What is done below it is done in this very directory, however its path is renamed.
#[derive(Debug)]
pub struct LedgerDir {
    file: File,
    /// How it is reached.
    at: PathBuf,
    /// The path as the user gave it, for messages.
    named: PathBuf,
    device: u64,
    inode: u64,
    /// What is written in it, once something is.
    watched: Mutex<Option<WatchedJournal>>,
}

/// Device and inode of a file.
type FileId = (u64, u64);

/// The journal that is written: what its names have to stand for.
#[derive(Debug)]
pub(crate) struct WatchedJournal {
    dir: FileId,
    /// The name of the segment that is written.
    segment: PathBuf,
    file: FileId,
}

impl WatchedJournal {
    /// Of the journal in the directory `journal`, whose segment at `segment` is open as `file`.
    pub(crate) fn new(journal: &Path, segment: PathBuf, file: &File) -> io::Result<Self> {
        Ok(Self { dir: file_id(&fs::symlink_metadata(journal)?), segment, file: file_id(&file.metadata()?) })
    }
}

fn file_id(metadata: &fs::Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

/// Whether a path stands for this file, or that cannot be known now.
fn still_names(path: &Path, id: FileId) -> bool {
    match fs::symlink_metadata(path) {
        Ok(found) => file_id(&found) == id,
        Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    }
}

/// The absolute path of a directory, without a slash at the end, which would make a link itself invisible.
fn named(dir: &Path) -> PathBuf {
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()).components().collect()
}

impl LedgerDir {
    /// Opens the directory that `dir` names, if it is ours and closed to others.
    ///
    /// # Errors
    /// When it is not, or is missing.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let opened = OpenOptions::new().read(true).custom_flags(flags.bits()).open(named(dir));
        Self::of(opened.map_err(OpenError::io(dir))?, dir)
    }

    /// The directory that `file` is open on, which was opened by the name `dir`.
    pub(crate) fn of(file: File, dir: &Path) -> Result<Self, OpenError> {
        let named = named(dir);
        let metadata = file.metadata().map_err(OpenError::io(dir))?;
        check(dir, &metadata, false)?;
        let (device, inode) = (metadata.dev(), metadata.ino());
        let through_descriptor = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let is_same = |found: fs::Metadata| (found.dev(), found.ino()) == (device, inode);
        // Without a /proc there is the path alone.
        let at = if fs::metadata(&through_descriptor).is_ok_and(is_same) { through_descriptor } else { named.clone() };
        Ok(Self { file, at, named, device, inode, watched: Mutex::new(None) })
    }

    /// One more descriptor of the same open directory, with the lock that it has (flock(2)).
    ///
    /// # Errors
    /// Those of fcntl(2).
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }

    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// A path to the directory that stays right when it is renamed. Of this process alone.
    #[must_use]
    pub fn at(&self) -> &Path {
        &self.at
    }

    /// The path that it was opened by.
    #[must_use]
    pub fn named(&self) -> &Path {
        &self.named
    }

    /// A path below [`at`](Self::at) as others know it.
    #[must_use]
    pub fn shown(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.at).map_or_else(|_| path.to_owned(), |below| self.named.join(below))
    }

    /// A text with the paths in it as others know them.
    #[must_use]
    pub fn shown_text(&self, text: &str) -> String {
        let (at, named) = (format!("{}/", self.at.display()), format!("{}/", self.named.display()));
        text.replace(&at, &named)
    }

    /// The same error, with the file that it is about.
    pub(crate) fn naming(&self, path: &Path, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.shown(path).display()))
    }

    /// Whether its path still names it, and the names in it the journal that is written. Costs four calls of stat(2).
    #[must_use]
    pub fn place(&self) -> Place {
        if self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0) {
            return Place::Removed;
        }
        match fs::symlink_metadata(&self.named) {
            Ok(found) if file_id(&found) == (self.device, self.inode) => self.journal_place(),
            Ok(_) => Place::Moved,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Place::Moved
            }
            Err(_) => Place::Same,
        }
    }

    fn journal_place(&self) -> Place {
        let watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = watched.as_ref().is_none_or(|journal| {
            still_names(&self.at.join(JOURNAL_DIR), journal.dir) && still_names(&journal.segment, journal.file)
        });
        if is_same { Place::Same } else { Place::Exchanged }
    }

    /// Sets what the journal's names have to stand for from now on; `change` may exchange a file.
    pub(crate) fn rewatch(&self, change: impl FnOnce() -> io::Result<WatchedJournal>) -> io::Result<()> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        *watched = Some(change()?);
        Ok(())
    }

    /// The same, as an error that says what happened.
    ///
    /// # Errors
    /// When the path does not name it any more.
    pub fn check_place(&self) -> io::Result<()> {
        let named = self.named.display();
        let why = match self.place() {
            Place::Same => return Ok(()),
            Place::Moved => format!("the ledger's directory was moved: {named} is another directory now, or none"),
            Place::Removed => "the ledger's directory was removed".to_owned(),
            Place::Exchanged => format!(
                "the ledger's journal was removed or exchanged: in {named}, {JOURNAL_DIR} or the segment that is written is \
                 another one now, or none"
            ),
        };
        Err(io::Error::new(io::ErrorKind::NotFound, why))
    }
}

/// Makes the name of a directory and what is in it durable.
pub(crate) fn sync_name(dir: &Path) -> io::Result<()> {
    let dir = fs::canonicalize(dir)?;
    File::open(&dir)?.sync_all()?;
    match dir.parent().map(File::open) {
        // What may not be read was not made by us.
        Some(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Some(parent) => parent?.sync_all(),
        None => Ok(()),
    }
}

/// The same for a new directory, and for all that may have been made above it.
pub(crate) fn sync_names(dir: &Path) -> io::Result<()> {
    for ancestor in fs::canonicalize(dir)?.ancestors() {
        match File::open(ancestor).and_then(|opened| opened.sync_all()) {
            // What may not be read was not made by us.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
    }
    Ok(())
}

impl LedgerDir {
    /// The error with the path in it as the caller named the directory.
    pub(crate) fn as_named(&self, error: OpenError) -> OpenError {
        match error {
            OpenError::Io { path, source } => OpenError::Io { path: self.shown(&path), source },
            other => other,
        }
    }
}
