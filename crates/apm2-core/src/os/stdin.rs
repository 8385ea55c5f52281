//! Opens the file for the standard input of a process.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{FileType, Mode, OFlags, fstat, open},
    io::{Errno, ioctl_fionbio},
};

/// Opens the file at `path`: a regular file at its beginning, a character device, or a named pipe.
///
/// A named pipe is opened for reading and writing, so that open(2) does not wait for a writer, and the process sees no
/// end-of-file when the last writer closes it.
///
/// # Errors
/// When it cannot be opened, or is another kind of file.
pub(crate) fn open_stdin(path: &Path) -> io::Result<OwnedFd> {
    // Non-blocking until it is open: opening a named pipe waits for a writer otherwise (fifo(7)).
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(path, OFlags::RDONLY | flags, Mode::empty())?;
    let file = match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile | FileType::CharacterDevice => file,
        // Reopened through the descriptor: another file may have the path by now.
        FileType::Fifo => open(format!("/proc/self/fd/{}", file.as_raw_fd()), OFlags::RDWR | flags, Mode::empty())?,
        FileType::Directory => return Err(Errno::ISDIR.into()),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a file nor a named pipe")),
    };
    ioctl_fionbio(&file, false)?;
    Ok(file)
}
