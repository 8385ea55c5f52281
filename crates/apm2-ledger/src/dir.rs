//! The ledger's directory: who may have it, and that nobody else has it open.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg, OFlag},
    unistd::geteuid,
};

use crate::{error::OpenError, limits::RETRY_INTERVAL};

const OWNER_FILE: &str = "owner";
const PRIVATE_DIR: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;
const OTHERS: u32 = 0o077;
/// A pid has at most this many digits and a line end.
const OWNER_LEN_MAX: u64 = 16;

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
    let named: std::path::PathBuf = dir.components().collect();
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

/// Makes the directory `path` with access for nobody else, if it is missing.
pub(crate) fn make_private(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(PRIVATE_DIR).create(path)
}

/// The ledger's lock: on its directory, which cannot be removed from under a ledger as a file in it can. Taken before
/// anything is touched; gone with this value, or with the process.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not read")] Flock<File>);

impl Lock {
    /// Takes the lock, waiting for at most `wait`.
    pub(crate) fn take(dir: &Path, wait: Duration) -> Result<Self, OpenError> {
        let began = Instant::now();
        let mut file = File::open(dir).map_err(OpenError::io(dir))?;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(held) => {
                    // Only a hint for whoever is refused.
                    if let Err(error) = note_owner(dir) {
                        tracing::debug!(%error, "nobody is told who owns the ledger");
                    }
                    return Ok(Self(held));
                }
                Err((returned, Errno::EWOULDBLOCK)) if began.elapsed() < wait => {
                    file = returned;
                    thread::sleep(RETRY_INTERVAL);
                }
                Err((_, Errno::EWOULDBLOCK)) => {
                    return Err(OpenError::Locked { path: dir.to_owned(), owner: owner(dir) });
                }
                Err((_, errno)) => return Err(OpenError::io(dir)(errno.into())),
            }
        }
    }
}

fn note_owner(dir: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(PRIVATE_FILE)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(dir.join(OWNER_FILE))?;
    writeln!(file, "{}", std::process::id())
}

fn owner(dir: &Path) -> Option<u32> {
    let mut text = String::new();
    File::open(dir.join(OWNER_FILE)).ok()?.take(OWNER_LEN_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
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
