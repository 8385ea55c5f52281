//! The socket files in the ledger directory.

use std::{
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileTypeExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use apm2_daemon::{DAEMON_SOCKET, FD_STORE_SOCKET};
use nix::unistd::geteuid;

/// The file with the name of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SocketFileFacts {
    Missing,
    Socket { uid: u32 },
    Directory,
    Other,
}

/// The facts about the sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SocketFacts {
    pub(crate) uid: u32,
    /// The path of the daemon's socket.
    pub(crate) path: PathBuf,
    /// Length of the longer socket path, in bytes.
    pub(crate) path_bytes: usize,
    /// Whether the sockets can be reached through `/proc/self/fd`, whatever the length of their path.
    pub(crate) has_proc: bool,
    pub(crate) daemon: SocketFileFacts,
    pub(crate) fd_store: SocketFileFacts,
}

impl SocketFacts {
    pub(crate) fn look(dir: &Path) -> Self {
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        let paths = [DAEMON_SOCKET, FD_STORE_SOCKET].map(|name| dir.join(name));
        let bytes = paths.iter().map(|path| path.as_os_str().as_bytes().len()).max();
        let [daemon, fd_store] = paths.each_ref().map(|path| file(path));
        let [path, _] = paths;
        Self {
            uid: geteuid().as_raw(),
            path,
            path_bytes: bytes.unwrap_or(0),
            has_proc: Path::new("/proc/self/fd").is_dir(),
            daemon,
            fd_store,
        }
    }
}

fn file(path: &Path) -> SocketFileFacts {
    let Ok(metadata) = fs::symlink_metadata(path) else { return SocketFileFacts::Missing };
    match metadata.file_type() {
        kind if kind.is_socket() => SocketFileFacts::Socket { uid: metadata.uid() },
        kind if kind.is_dir() => SocketFileFacts::Directory,
        _ => SocketFileFacts::Other,
    }
}
