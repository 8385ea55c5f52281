//! Process groups and markers, as `/proc` shows them. Signals are sent elsewhere.

use std::{fmt, io};

use crate::process::{StreamId, identity::Stat};

/// A process that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Member {
    /// Its pid.
    pub(crate) pid: u32,
    /// Whether it is stopped, and so cannot act on a signal.
    pub(crate) stopped: bool,
}

/// The members of the process group that have not ended. A zombie has.
///
/// # Errors
/// When `/proc` cannot be read: the group is then not known to be empty.
pub(crate) fn members(group: u32) -> io::Result<Vec<Member>> {
    let mut members = Vec::new();
    for pid in pids()? {
        // A process that ends while it is looked at is gone, and nothing else may pass for that.
        let Some(text) = read_unless_gone(&format!("/proc/{pid}/stat"))? else { continue };
        let Some(stat) = Stat::parse(&text) else { continue };
        if stat.group == group && !stat.has_ended() {
            members.push(Member { pid, stopped: stat.state == b'T' });
        }
    }
    Ok(members)
}

fn pids() -> io::Result<impl Iterator<Item = u32>> {
    let entries = std::fs::read_dir("/proc")?.collect::<io::Result<Vec<_>>>()?;
    Ok(entries.into_iter().filter_map(|entry| entry.file_name().to_str()?.parse().ok()))
}

fn read_unless_gone(path: &str) -> io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The environment variable by which the processes of a run are known, whatever became of their supervisor.
pub(crate) const MARKER_VARIABLE: &str = "APM2_RUN";

/// The value of [`MARKER_VARIABLE`] for one run: `<process id>/<instance>/<run>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker {
    /// Whose run.
    pub(crate) stream: StreamId,
    /// Which of its runs.
    pub(crate) run: u64,
}

impl Marker {
    /// Whether the process was started with this marker in its environment. Not when that may not be read.
    pub(crate) fn is_carried_by(&self, pid: u32) -> bool {
        let variable = format!("{MARKER_VARIABLE}={self}");
        std::fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|environ| environ.split(|byte| *byte == 0).any(|entry| entry == variable.as_bytes()))
    }

    /// A process that carries the marker, if there is one.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) fn holder(&self) -> io::Result<Option<u32>> {
        Ok(pids()?.find(|pid| self.is_carried_by(*pid)))
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.stream.process_id, self.stream.instance, self.run)
    }
}
