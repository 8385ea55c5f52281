//! Sockets in the ledger's directory, however long its path is.

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

/// The socket of the daemon, in the ledger's directory.
pub const DAEMON_SOCKET: &str = "daemon.sock";

/// The socket of the keeper.
pub(crate) const FD_STORE_SOCKET: &str = "keeper.sock";

/// Pause after accept(2) has failed, for want of a file descriptor for instance: the connection stays pending, and poll(2)
/// would return for it at once.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is added to the name of a socket until it listens.
const NEW: &str = ".new";

/// A path to `name` in `dir` that fits into a socket address (107 bytes, unix(7)), as long as the directory is open.
pub(crate) fn short(dir: &File, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_raw_fd()))
}

/// Connects to the socket `name` in `dir`; `None` when nobody listens there.
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

/// Whether a socket is not there, or nothing listens on it.
pub(crate) fn is_unanswered(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Where a socket's file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SocketLocation {
    /// Where clients look for it.
    Own,
    /// Nowhere: it was removed.
    Missing,
    /// Another file has its name.
    Taken,
    /// The directory itself was removed.
    NoDirectory,
}

/// What may become of a file that has the name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnExisting {
    /// It goes. Only the owner of the ledger may ask for that: it is then its own or of a process that is gone.
    Replace,
    /// It stays, and nothing is done.
    Keep,
}

/// The file by which clients find a listening socket: its directory, its name, and which file it is.
#[derive(Debug)]
pub(crate) struct SocketFile {
    dir: File,
    name: &'static str,
    /// Device and inode.
    file: Option<(u64, u64)>,
}

impl SocketFile {
    /// The file that has this name in `dir` now.
    ///
    /// # Errors
    /// When the directory cannot be opened.
    pub(crate) fn present(dir: &Path, name: &'static str) -> io::Result<Self> {
        Ok(Self::present_in(File::open(dir)?, name))
    }

    /// The same in a directory that is open.
    pub(crate) fn present_in(dir: File, name: &'static str) -> Self {
        let file = fs::symlink_metadata(short(&dir, name)).ok().map(|metadata| (metadata.dev(), metadata.ino()));
        Self { dir, name, file }
    }

    /// Its path, as long as this is there, whatever becomes of the directory's name.
    pub(crate) fn path(&self) -> PathBuf {
        short(&self.dir, self.name)
    }

    /// Where it is by now.
    pub(crate) fn location(&self) -> SocketLocation {
        if self.dir.metadata().is_ok_and(|metadata| metadata.nlink() == 0) {
            return SocketLocation::NoDirectory;
        }
        match fs::symlink_metadata(short(&self.dir, self.name)) {
            Ok(metadata) if Some((metadata.dev(), metadata.ino())) == self.file => SocketLocation::Own,
            Ok(_) => SocketLocation::Taken,
            Err(error) if error.kind() == io::ErrorKind::NotFound => SocketLocation::Missing,
            // Not known: then nothing is done about it.
            Err(_) => SocketLocation::Own,
        }
    }

    /// Makes a socket with `bind`, which also listens on it, and gives it the name. At no moment can it be found and not be
    /// connected to.
    ///
    /// # Errors
    /// Those of `bind`, and of rename(2).
    pub(crate) fn make<L>(
        &mut self,
        on_existing: OnExisting,
        bind: impl FnOnce(PathBuf) -> io::Result<L>,
    ) -> io::Result<L> {
        // A keeper that restores its socket is not to take the one that its daemon makes for another one.
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

/// Listens on the socket `name` in `dir`, in the place of one that nobody listens on any more. Only the owner of the
/// ledger may call it.
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
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing half-made is left");
        fs::remove_dir_all(dir.path()).unwrap();
        assert_eq!(file.location(), SocketLocation::NoDirectory);
    }
}
