//! The directory of a ledger: the check of its owner and permissions, and access through an open descriptor, which
//! stays valid when the directory is renamed.

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
    journal::{JOURNAL_DIR, archive::ARCHIVE_DIR},
};

/// The directory of launch files, which a daemon writes.
pub(crate) const LAUNCH_DIR: &str = "launch";

/// The directory of the logs of processes, which a daemon writes.
pub(crate) const LOGS_DIR: &str = "logs";

/// The file that describes the backup in a directory. A directory that has it is a backup, and not opened for appending.
pub(crate) const BACKUP_FILE: &str = "backup";

const PRIVATE_DIR: u32 = 0o700;

/// The permission bits of the group and of others (inode(7)).
const OTHERS: u32 = 0o077;

/// Checks that `dir` is a directory that belongs to this user and that no other user may access, as the directory of a
/// ledger must be. An empty directory that others may access counts as missing.
///
/// # Errors
/// [`OpenError::Missing`] when the directory does not exist, [`OpenError::Unsafe`] when the check fails.
pub fn check_private(dir: &Path) -> Result<(), OpenError> {
    prepare(dir, false)
}

/// Checks that `dir` is a directory that belongs to this user and that no other user may access. If `create` is set,
/// creates a missing directory, and sets the mode of an empty one to 0700.
pub(crate) fn prepare(dir: &Path, create: bool) -> Result<(), OpenError> {
    // The components leave out a trailing slash, with which lstat(2) would follow a symbolic link.
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
    // Other users cannot have prepared files in an empty directory, so it is safe to use it once its mode is 0700.
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

/// The names of the files and non-empty directories in `dir` that belong to a ledger, without the journal. The list is
/// empty if the directory never held a ledger.
pub(crate) fn ledger_files(dir: &Path) -> Vec<&'static str> {
    let exists = |name: &str| {
        let path = dir.join(name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => fs::read_dir(&path).is_ok_and(|mut entries| entries.next().is_some()),
            Ok(_) => true,
            Err(_) => false,
        }
    };
    ["sled", "clean", "extent", "pending", ARCHIVE_DIR, LAUNCH_DIR, LOGS_DIR]
        .into_iter()
        .filter(|name| exists(name))
        .collect()
}

/// The error for a directory without a journal segment: [`OpenError::Damaged`] if the directory holds other files of a
/// ledger, [`OpenError::Missing`] if it does not.
pub(crate) fn without_journal(dir: &LedgerDir) -> OpenError {
    let remaining = ledger_files(dir.at());
    if remaining.is_empty() {
        return OpenError::Missing { path: dir.named().to_owned() };
    }
    let what = format!("every segment is missing; other files of a ledger are left: {}", remaining.join(", "));
    Damage { first_seq: 1, last_seq: 1, segment: 1, offset: 0, what }.into()
}

/// Creates the directory `path` with mode 0700, if it is missing.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE_DIR).create(path)
}

/// Whether the path of an open ledger's directory still names that directory, and whether the journal in it is the
/// same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The path names the same directory with the same journal, or an error other than ENOENT and ENOTDIR prevents the
    /// check.
    Same,
    /// The directory was renamed: the path names another directory, or does not exist.
    Moved,
    /// The directory was removed.
    Removed,
    /// The journal's directory, or the segment that is being written, was removed or replaced by another.
    Exchanged,
}

/// An open directory of a ledger. Files are accessed through the open descriptor, so they are those of this directory
/// even after the directory is renamed.
#[derive(Debug)]
pub struct LedgerDir {
    file: File,
    /// The path of the directory for system calls: `/proc/self/fd/<descriptor>`, or `named` without a mounted proc(5).
    at: PathBuf,
    /// The absolute path that the directory was opened by, for messages.
    named: PathBuf,
    device: u64,
    inode: u64,
    /// The journal and the segment that this process writes; `None` until it writes one.
    watched: Mutex<Option<WatchedJournal>>,
}

/// Device and inode of a file.
type FileId = (u64, u64);

/// The identities (device and inode) of the journal's directory and of the segment that is being written, to detect
/// that either was replaced.
#[derive(Debug)]
pub(crate) struct WatchedJournal {
    dir: FileId,
    /// The path of the segment that is being written.
    segment: PathBuf,
    file: FileId,
}

impl WatchedJournal {
    /// Takes the identities of the directory `journal` and of `file`, which is open at the path `segment`.
    pub(crate) fn new(journal: &Path, segment: PathBuf, file: &File) -> io::Result<Self> {
        Ok(Self { dir: file_id(&fs::symlink_metadata(journal)?), segment, file: file_id(&file.metadata()?) })
    }
}

fn file_id(metadata: &fs::Metadata) -> FileId {
    (metadata.dev(), metadata.ino())
}

/// Whether `path` names the file with the identity `id`. Also true when an error other than ENOENT and ENOTDIR prevents
/// the check.
fn still_names(path: &Path, id: FileId) -> bool {
    match fs::symlink_metadata(path) {
        Ok(found) => file_id(&found) == id,
        Err(error) => !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory),
    }
}

/// The absolute path of a directory, without a trailing slash, with which lstat(2) and open(2) would follow a symbolic
/// link.
fn named(dir: &Path) -> PathBuf {
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()).components().collect()
}

impl LedgerDir {
    /// Opens the directory `dir`, and checks that it belongs to this user and that no other user may access it.
    ///
    /// # Errors
    /// When the directory does not exist, cannot be opened, or fails the check.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let opened = OpenOptions::new().read(true).custom_flags(flags.bits()).open(named(dir));
        Self::of(opened.map_err(OpenError::io(dir))?, dir)
    }

    /// Takes over `file`, an open directory whose path is `dir`, after the same checks as [`open`](Self::open).
    pub(crate) fn of(file: File, dir: &Path) -> Result<Self, OpenError> {
        let named = named(dir);
        let metadata = file.metadata().map_err(OpenError::io(dir))?;
        check(dir, &metadata, false)?;
        let (device, inode) = (metadata.dev(), metadata.ino());
        let through_descriptor = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
        let is_same = |found: fs::Metadata| (found.dev(), found.ino()) == (device, inode);
        // Without a mounted proc(5) the directory can only be accessed by its path.
        let at = if fs::metadata(&through_descriptor).is_ok_and(is_same) { through_descriptor } else { named.clone() };
        Ok(Self { file, at, named, device, inode, watched: Mutex::new(None) })
    }

    /// Duplicates the file descriptor of the directory. The duplicate shares the lock of the ledger, since flock(2)
    /// locks the open file description.
    ///
    /// # Errors
    /// The errors of fcntl(2) `F_DUPFD_CLOEXEC`.
    pub fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }

    pub(crate) const fn file(&self) -> &File {
        &self.file
    }

    /// A path that leads to this directory even after the directory is renamed. Valid only in this process.
    #[must_use]
    pub fn at(&self) -> &Path {
        &self.at
    }

    /// The absolute path that the directory was opened by, for messages. It may name another directory by now.
    #[must_use]
    pub fn named(&self) -> &Path {
        &self.named
    }

    /// Converts a path below [`at`](Self::at) to the same path below [`named`](Self::named), for messages.
    #[must_use]
    pub fn shown(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.at).map_or_else(|_| path.to_owned(), |below| self.named.join(below))
    }

    /// Replaces paths below [`at`](Self::at) in `text` by paths below [`named`](Self::named), for messages.
    #[must_use]
    pub fn shown_text(&self, text: &str) -> String {
        let (at, named) = (format!("{}/", self.at.display()), format!("{}/", self.named.display()));
        text.replace(&at, &named)
    }

    /// Adds the path of the file to the text of an I/O error.
    pub(crate) fn naming(&self, path: &Path, error: &io::Error) -> io::Error {
        io::Error::new(error.kind(), format!("{}: {error}", self.shown(path).display()))
    }

    /// Checks whether the path of the directory still names it, and whether the journal in it is the one that is being
    /// written. Makes four system calls (stat(2)).
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

    /// Sets the journal and the segment that [`place`](Self::place) compares with. `change` returns them, and may
    /// replace files: no check runs meanwhile.
    pub(crate) fn rewatch(&self, change: impl FnOnce() -> io::Result<WatchedJournal>) -> io::Result<()> {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        *watched = Some(change()?);
        Ok(())
    }

    /// Returns an error with the reason if [`place`](Self::place) is not [`Place::Same`].
    ///
    /// # Errors
    /// When the directory was moved or removed, or the journal was removed or replaced.
    pub fn check_place(&self) -> io::Result<()> {
        let named = self.named.display();
        let why = match self.place() {
            Place::Same => return Ok(()),
            Place::Moved => {
                format!("the ledger's directory was moved: {named} is another directory now, or does not exist")
            }
            Place::Removed => "the ledger's directory was removed".to_owned(),
            Place::Exchanged => format!(
                "the ledger's journal was removed or exchanged: in {named}, {JOURNAL_DIR} or the segment that is being \
                 written is another file now, or does not exist"
            ),
        };
        Err(io::Error::new(io::ErrorKind::NotFound, why))
    }
}

/// Makes the entries of the directory `dir` durable, and its own entry in its parent directory (fsync(2) of both).
pub(crate) fn sync_name(dir: &Path) -> io::Result<()> {
    let dir = fs::canonicalize(dir)?;
    File::open(&dir)?.sync_all()?;
    match dir.parent().map(File::open) {
        // Without read permission on the parent this process created nothing in it, so there is nothing to sync.
        Some(Err(error)) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        Some(parent) => parent?.sync_all(),
        None => Ok(()),
    }
}

/// Makes the entries of a new directory durable, and the entries of all its ancestors, which may have been created with
/// it.
pub(crate) fn sync_names(dir: &Path) -> io::Result<()> {
    for ancestor in fs::canonicalize(dir)?.ancestors() {
        match File::open(ancestor).and_then(|opened| opened.sync_all()) {
            // Without read permission on an ancestor this process created nothing in it, so there is nothing to sync.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            synced => synced?,
        }
    }
    Ok(())
}

impl LedgerDir {
    /// Replaces a path below [`at`](Self::at) in the error by the path below [`named`](Self::named).
    pub(crate) fn as_named(&self, error: OpenError) -> OpenError {
        match error {
            OpenError::Io { path, source } => OpenError::Io { path: self.shown(&path), source },
            other => other,
        }
    }
}
