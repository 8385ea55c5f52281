//! Our standard input, where it is one that the command is to read.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use nix::{
    sys::stat::{SFlag, fstat},
    unistd::dup2_stdin,
};

/// Takes our standard input, if it is a pipe, a socket in the place of one, or a file: `None` for a terminal, `/dev/null` and
/// other devices.
///
/// It is not ours any more then: whoever writes into a pipe is to notice when the command has ended.
///
/// # Errors
/// When no descriptor is left.
pub(crate) fn take() -> io::Result<Option<OwnedFd>> {
    let kind = fstat(io::stdin())?.st_mode & SFlag::S_IFMT.bits();
    if ![SFlag::S_IFIFO, SFlag::S_IFSOCK, SFlag::S_IFREG].iter().any(|taken| taken.bits() == kind) {
        return Ok(None);
    }
    let taken = io::stdin().as_fd().try_clone_to_owned()?;
    dup2_stdin(File::open("/dev/null")?)?;
    Ok(Some(taken))
}
