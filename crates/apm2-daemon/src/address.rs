//! Unix sockets in the ledger directory. The path of this directory may be longer than a socket address allows
//! (unix(7)).

use std::{
    fs::{self, File},
    io,
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::MetadataExt as _,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{RenameFlags, renameat_with};

/// The name of the daemon's socket in the ledger directory.
pub const DAEMON_SOCKET: &str = "daemon.sock";

/// The name of the file descriptor store's socket in the ledger directory.
pub const FD_STORE_SOCKET: &str = "keeper.sock";

/// Pause after accept(2) has failed, for instance because no file descriptor is free. The connection stays pending, and
/// poll(2) would return for it immediately.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Suffix of the name of a socket file until the socket listens.
const NEW: &str = ".new";

/// A path to `name` in `dir` that fits into a socket address (107 bytes, unix(7)). The path is valid while `dir` is
/// open.
pub(crate) fn short(dir: &File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
}

/// Connects to the socket `name` in `dir`; `None` when no process listens on it.
pub(crate) fn connect(dir: &Path, name: &str) -> io::Result<Option<UnixStream>> {
    let opened = match File::open(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match UnixStream::connect(short(&opened, name)) {
        Ok(stream) => Ok(Some(stream)),
        Err(error) if is_unanswered(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the socket file is missing, or no process listens on it.
pub(crate) fn is_unanswered(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// The state of a socket file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SocketLocation {
    /// The socket file is at its path.
    Own,
    /// The socket file was removed.
    Missing,
    /// Another file has replaced the socket file.
    Taken,
    /// The ledger directory with the socket file was removed.
    NoDirectory,
}

/// What happens to an existing file with the name of the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnExisting {
    /// The existing file is replaced. Allowed only for the process that holds the lock of the ledger: the file is then
    /// its own, or was left by a process that has ended.
    Replace,
    /// The existing file is kept, and the operation fails with EEXIST.
    Keep,
}

/// The file of a listening socket: its directory, its name, and the identity of the file.
#[derive(Debug)]
pub(crate) struct SocketFile {
    dir: File,
    name: &'static str,
    /// Device and inode of the file; `None` if the file does not exist.
    file: Option<(u64, u64)>,
}

impl SocketFile {
    /// The existing socket file with this name in `dir`, if there is one.
    ///
    /// # Errors
    /// The directory cannot be opened.
    pub(crate) fn present(dir: &Path, name: &'static str) -> io::Result<Self> {
        Ok(Self::present_in(File::open(dir)?, name))
    }

    /// Like [`Self::present`], for a directory that is already open.
    pub(crate) fn present_in(dir: File, name: &'static str) -> Self {
        let file = fs::symlink_metadata(short(&dir, name)).ok().map(|metadata| (metadata.dev(), metadata.ino()));
        Self { dir, name, file }
    }

    /// The path of the socket file through the open directory. It is valid while this value exists, even if the
    /// directory is renamed.
    pub(crate) fn path(&self) -> PathBuf {
        short(&self.dir, self.name)
    }

    /// Checks whether the file is still at its path.
    pub(crate) fn location(&self) -> SocketLocation {
        if self.dir.metadata().is_ok_and(|metadata| metadata.nlink() == 0) {
            return SocketLocation::NoDirectory;
        }
        match fs::symlink_metadata(short(&self.dir, self.name)) {
            Ok(metadata) if Some((metadata.dev(), metadata.ino())) == self.file => SocketLocation::Own,
            Ok(_) => SocketLocation::Taken,
            Err(error) if error.kind() == io::ErrorKind::NotFound => SocketLocation::Missing,
            // The state of the file is unknown, so the file counts as present.
            Err(_) => SocketLocation::Own,
        }
    }

    /// Creates a socket with `bind`, which must also listen on it, and then renames it to its name: a client that finds the file
    /// can always connect.
    ///
    /// # Errors
    /// Those of `bind`, and of rename(2).
    pub(crate) fn make<L>(
        &mut self,
        on_existing: OnExisting,
        bind: impl FnOnce(PathBuf) -> io::Result<L>,
    ) -> io::Result<L> {
        // Each process uses its own temporary name. A file descriptor store that restores its socket then does not
        // overwrite the file of a starting daemon.
        let new = match on_existing {
            OnExisting::Replace => format!("{}{NEW}", self.name),
            OnExisting::Keep => format!("{}{NEW}.{}", self.name, std::process::id()),
        };
        let path = short(&self.dir, &new);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = bind(path.clone())?;
        let file = fs::symlink_metadata(&path)?;
        let flags = match on_existing {
            OnExisting::Replace => RenameFlags::empty(),
            OnExisting::Keep => RenameFlags::NOREPLACE,
        };
        if let Err(errno) = renameat_with(&self.dir, new.as_str(), &self.dir, self.name, flags) {
            let _ = fs::remove_file(&path);
            return Err(errno.into());
        }
        self.file = Some((file.dev(), file.ino()));
        Ok(listener)
    }
}

/// Listens on the socket `name` in `dir`, and replaces a file that a process has left there. Only for the process that
/// holds the lock of the ledger.
pub(crate) fn listen(dir: &Path, name: &'static str) -> io::Result<(UnixListener, SocketFile)> {
    let mut file = SocketFile::present(dir, name)?;
    let listener = file.make(OnExisting::Replace, UnixListener::bind)?;
    Ok((listener, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_that_was_removed_is_noticed_and_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let (_first, mut file) = listen(dir.path(), DAEMON_SOCKET).unwrap();
        let path = dir.path().join(DAEMON_SOCKET);
        assert_eq!(file.location(), SocketLocation::Own);
        fs::remove_file(&path).unwrap();
        assert_eq!(file.location(), SocketLocation::Missing);
        let _second = file.make(OnExisting::Keep, UnixListener::bind).unwrap();
        assert_eq!(file.location(), SocketLocation::Own);
        assert!(connect(dir.path(), DAEMON_SOCKET).unwrap().is_some());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        assert_eq!(file.location(), SocketLocation::Taken);
        assert!(file.make(OnExisting::Keep, UnixListener::bind).is_err());
        let _third = file.make(OnExisting::Replace, UnixListener::bind).unwrap();
        assert_eq!(file.location(), SocketLocation::Own);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no temporary file is left");
        fs::remove_dir_all(dir.path()).unwrap();
        assert_eq!(file.location(), SocketLocation::NoDirectory);
    }
}
