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

const LOCK_FILE: &str = "lock";
const PRIVATE_DIR: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;
const OTHERS: u32 = 0o077;
/// A pid has at most this many digits and a line end.
const OWNER_LEN_MAX: u64 = 16;

/// Makes sure that `dir` is a directory of ours, closed to others. Makes it when `create` and it is missing.
pub(crate) fn prepare(dir: &Path, create: bool) -> Result<(), OpenError> {
    match fs::symlink_metadata(dir) {
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

/// The ledger's lock. Taken before anything is touched; gone with this value, or with the process.
#[derive(Debug)]
pub(crate) struct Lock(#[expect(dead_code, reason = "held, not read")] Flock<File>);

impl Lock {
    /// Takes the lock, waiting for at most `wait`.
    pub(crate) fn take(dir: &Path, wait: Duration) -> Result<Self, OpenError> {
        let path = dir.join(LOCK_FILE);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(PRIVATE_FILE)
            .custom_flags(OFlag::O_NOFOLLOW.bits())
            .open(&path)
            .map_err(OpenError::io(&path))?;
        let began = Instant::now();
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(mut held) => {
                    // Only a hint for whoever is refused.
                    if let Err(error) = note_owner(&mut held) {
                        tracing::debug!(%error, "the lock file does not say who owns it");
                    }
                    return Ok(Self(held));
                }
                Err((returned, Errno::EWOULDBLOCK)) if began.elapsed() < wait => {
                    file = returned;
                    thread::sleep(RETRY_INTERVAL);
                }
                Err((returned, Errno::EWOULDBLOCK)) => {
                    return Err(OpenError::Locked { path: dir.to_owned(), owner: owner(returned) });
                }
                Err((_, errno)) => return Err(OpenError::io(&path)(errno.into())),
            }
        }
    }
}

fn note_owner(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

fn owner(file: File) -> Option<u32> {
    let mut text = String::new();
    file.take(OWNER_LEN_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
