//! Passes the standard input of `run` to the command if it is a pipe or a file.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use nix::{
    sys::stat::{SFlag, fstat},
    unistd::dup2_stdin,
};

/// Takes the standard input of `run` if it is a pipe, a socket, or a file; `None` for a terminal, `/dev/null` and other
/// devices.
///
/// The descriptor of `run` itself is closed, because the writer of a pipe must get SIGPIPE when the command has ended.
///
/// # Errors
/// No file descriptor is available.
pub(crate) fn take() -> io::Result<Option<OwnedFd>> {
    let kind = fstat(io::stdin())?.st_mode & SFlag::S_IFMT.bits();
    if ![SFlag::S_IFIFO, SFlag::S_IFSOCK, SFlag::S_IFREG].iter().any(|taken| taken.bits() == kind) {
        return Ok(None);
    }
    let taken = io::stdin().as_fd().try_clone_to_owned()?;
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(Some(taken))
}
