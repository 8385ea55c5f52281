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
/// The file cannot be opened, or is of another kind.
pub(crate) fn open_stdin(path: &Path) -> io::Result<OwnedFd> {
    // The file is opened in non-blocking mode first, because opening a named pipe otherwise waits for a writer
    // (fifo(7)).
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = open(path, OFlags::RDONLY | flags, Mode::empty())?;
    let file = match FileType::from_raw_mode(fstat(&file)?.st_mode) {
        FileType::RegularFile | FileType::CharacterDevice => file,
        // The file is reopened through its descriptor, because another file may have the path by now.
        FileType::Fifo => open(format!("/proc/self/fd/{}", file.as_raw_fd()), OFlags::RDWR | flags, Mode::empty())?,
        FileType::Directory => return Err(Errno::ISDIR.into()),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a file nor a named pipe")),
    };
    ioctl_fionbio(&file, false)?;
    Ok(file)
}
