//! The features of the kernel and of `/proc` that the program uses.

use std::{fs, path::Path};

use apm2_core::process::proc_is_of_our_namespace;
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use crate::doctor::facts::nearest::nearest;

/// The facts about the kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct KernelFacts {
    /// The release, such as `6.18.4`.
    pub(crate) release: String,
    /// The error of pidfd_open(2); `None` if it works.
    pub(crate) pidfd_error: Option<String>,
    /// Whether the file system of the ledger has birth times (statx(2)).
    pub(crate) has_birth_time: bool,
    pub(crate) is_proc_mounted: bool,
    pub(crate) is_proc_of_our_namespace: bool,
    /// The mount option `hidepid` of `/proc` that hides processes of other users (proc(5)).
    pub(crate) hidepid: Option<String>,
    pub(crate) is_root: bool,
}

impl KernelFacts {
    pub(crate) fn look(dir: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        Self {
            release: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            pidfd_error: pidfd_open(getpid(), PidfdFlags::empty()).err().map(|errno| errno.to_string()),
            has_birth_time: fs::metadata(nearest(dir)).and_then(|metadata| metadata.created()).is_ok(),
            is_proc_mounted: Path::new("/proc/self/stat").exists(),
            is_proc_of_our_namespace: proc_is_of_our_namespace(),
            hidepid: parse_hidepid(&read("/proc/self/mountinfo")),
            is_root: nix::unistd::geteuid().is_root(),
        }
    }
}

/// The value of `hidepid` of the last mount on `/proc` (proc_pid_mountinfo(5)); `None` if it hides nothing.
fn parse_hidepid(mountinfo: &str) -> Option<String> {
    let mut mounts = mountinfo.lines().filter(|line| line.split(' ').nth(4) == Some("/proc"));
    let options = mounts.next_back()?.rsplit(' ').next()?;
    let value = options.split(',').find_map(|option| option.strip_prefix("hidepid="))?;
    (!["0", "off"].contains(&value)).then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidepid_is_an_option_of_the_last_mount() {
        let line = |option: &str| format!("22 1 0:21 / /proc rw,nosuid - proc proc rw{option}\n");
        assert_eq!(parse_hidepid(&line(",hidepid=invisible")), Some("invisible".to_owned()));
        assert_eq!(parse_hidepid(&(line(",hidepid=2") + &line(""))), None);
        assert_eq!(parse_hidepid(&line(",hidepid=off")), None);
        assert_eq!(parse_hidepid(""), None);
    }
}
