//! The file that a process is given as its standard input at each start.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{FileType, Mode, OFlags, fstat, open},
    io::{Errno, ioctl_fionbio},
};

/// Opens the file at `path`: a regular one from its beginning, a character device, or a named pipe.
///
/// A named pipe is opened for writing, too: reading from it waits for whoever comes to write, and has no end when they go.
/// Nothing here waits for them.
///
/// # Errors
/// When it cannot be opened, or is something else.
pub(crate) fn open_stdin(path: &Path) -> io::Result<OwnedFd> {
    // Not blocking for now: opening a named pipe waits for a writer otherwise (fifo(7)).
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(path, OFlags::RDONLY | flags, Mode::empty())?;
    let file = match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile | FileType::CharacterDevice => file,
        // The one that was looked at, whatever has its name by now.
        FileType::Fifo => open(format!("/proc/self/fd/{}", file.as_raw_fd()), OFlags::RDWR | flags, Mode::empty())?,
        FileType::Directory => return Err(Errno::ISDIR.into()),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a file nor a named pipe")),
    };
    ioctl_fionbio(&file, false)?;
    Ok(file)
}
