//! Sockets in the ledger's directory, however long its path is.

use std::{
    fs::File,
    io,
    os::{
        fd::AsRawFd as _,
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
};

/// The socket of the daemon.
pub(crate) const DAEMON_SOCKET: &str = "daemon.sock";

/// The socket of the keeper.
pub(crate) const KEEPER_SOCKET: &str = "keeper.sock";

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
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Listens on the socket `name` in `dir`, in the place of one that nobody listens on any more. Only the owner of the
/// ledger may call it: what it removes is then its own or a dead one's.
pub(crate) fn listen(dir: &Path, name: &str) -> io::Result<UnixListener> {
    let opened = File::open(dir)?;
    let path = short(&opened, name);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    UnixListener::bind(path)
}
