//! The pipes between a process and its supervisor, and how a later supervisor finds them again.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use apm2_model::event::{identity::ProcessIdentity, kind::OutputSource};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};

use crate::{
    os::procfs::identify,
    output::{
        fd_store::StoredOutput,
        log::{files::LogFiles, follow::LogReader},
        source::{Output, Outputs},
    },
};

/// The pipes of a process that is about to be spawned.
pub(crate) struct Pipes {
    /// The read ends of the pipes, for the supervisor.
    pub(crate) outputs: Outputs,
    /// The write end for stdout of the child.
    pub(crate) stdout: OwnedFd,
    /// The write end for stderr of the child. It belongs to the same pipe as stdout when both outputs are merged.
    pub(crate) stderr: OwnedFd,
}

impl Pipes {
    /// Creates the pipes. Merged outputs share one pipe.
    ///
    /// # Errors
    /// Those of pipe(2).
    pub(crate) fn new(merged: bool) -> io::Result<Self> {
        let (ours, stdout) = pipe()?;
        if merged {
            let stderr = stdout.try_clone()?;
            return Ok(Self { outputs: Outputs(vec![Output::new(OutputSource::Stdout, ours)]), stdout, stderr });
        }
        let (our_stderr, stderr) = pipe()?;
        let outputs = vec![Output::new(OutputSource::Stdout, ours), Output::new(OutputSource::Stderr, our_stderr)];
        Ok(Self { outputs: Outputs(outputs), stdout, stderr })
    }
}

/// Creates a pipe with a non-blocking read end. Both ends are close-on-exec.
fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    let reader = OwnedFd::from(reader);
    rustix::io::ioctl_fionbio(&reader, true)?;
    Ok((reader, writer.into()))
}

impl Outputs {
    /// The output pipes of a run from a file descriptor store: two, or one for both outputs. `None` if the store has
    /// none.
    pub(crate) fn of(stored: Vec<StoredOutput>) -> Option<Self> {
        let sources = [OutputSource::Stdout, OutputSource::Stderr];
        let outputs = sources.into_iter().zip(stored);
        let outputs: Vec<_> =
            outputs.map(|(source, StoredOutput { pipe, begins_at })| Output { source, pipe, begins_at }).collect();
        (!outputs.is_empty()).then_some(Self(outputs))
    }

    /// Reopens the pipes of a running process through `/proc/<pid>/fd`; `None` if its stdout and stderr are not pipes
    /// that a supervisor created.
    pub(crate) fn of_process(identity: &ProcessIdentity) -> Option<Self> {
        let opened = [(OutputSource::Stdout, 1), (OutputSource::Stderr, 2)]
            .map(|(source, number)| open_pipe(identity, number).map(|pipe| Output::new(source, pipe)));
        let mut found: Vec<Output> = opened.into_iter().flatten().collect();
        found.dedup_by_key(|output| inode(output.pipe.as_fd()));
        (!found.is_empty()).then_some(Self(found))
    }

    /// Sets the position in the log files at which each output is going to begin.
    pub(crate) fn begin_in(&mut self, files: &LogFiles) {
        for output in &mut self.0 {
            output.begins_at = LogReader::end(files.of(output.source)).ok();
        }
    }
}

fn open_pipe(identity: &ProcessIdentity, number: u32) -> Option<OwnedFd> {
    // The supervisor opens its pipes for reading and writing in the child. A pipe that the process itself created is
    // open only for reading or only for writing.
    if !is_read_write(identity.pid, number)? {
        return None;
    }
    // The pipe is opened in non-blocking mode, because open(2) for reading otherwise waits for a writer (fifo(7)).
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let pipe = open(format!("/proc/{}/fd/{number}", identity.pid), flags, Mode::empty()).ok()?;
    let is_pipe = fstat(&pipe).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
    // The identity is checked after the pipe was opened. If it is unchanged, the pid had not been reused before.
    (is_pipe && identify(identity.pid) == Some(*identity)).then_some(pipe)
}

/// Whether a descriptor of a process is open for reading and writing (proc(5), `fdinfo`: the flags are octal).
fn is_read_write(pid: u32, number: u32) -> Option<bool> {
    let info = std::fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"))?.trim();
    let flags = OFlags::from_bits_retain(u32::from_str_radix(flags, 8).ok()?);
    Some(flags & OFlags::RWMODE == OFlags::RDWR)
}

fn inode(descriptor: BorrowedFd<'_>) -> Option<u64> {
    fstat(descriptor).ok().map(|stat| stat.st_ino)
}
