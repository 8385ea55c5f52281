//! How long the logs of what is not supervised any more are kept, and how much there may be of all logs together.
//!
//! Each instance has a limit of its own while it is supervised. Its directory stays when it is not, since its end may be what
//! somebody wants to read; this is what removes it. Nothing is removed that is in use: a log file is locked by whoever writes
//! to it, and what is supervised is asked for again before each directory.

use std::{
    fs, io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::{
    fs::{FlockOperation, Mode, OFlags, flock, open},
    io::Errno,
};

use crate::output::log::files::LogsDir;

/// All log files in the ledger's directory together, in bytes, unless another limit is set.
pub const LOGS_BYTES_MAX: u64 = 1 << 30;

/// How long the logs of what is not supervised any more are kept, unless another limit is set.
pub const LOGS_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The limits on the logs of a ledger as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// On all logs together, in bytes. What is supervised counts, and is not touched.
    pub bytes_max: u64,
    /// On the time since something was last written, of what is not supervised.
    pub age_max: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self { bytes_max: LOGS_BYTES_MAX, age_max: LOGS_AGE_MAX }
    }
}

/// The logs of an instance that were removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedLogs {
    /// The instance, as its directory is called: `<name>-<instance>`.
    pub instance: String,
    /// How much they were, in bytes.
    pub bytes: u64,
}

/// The logs of an instance that are there.
struct Found {
    path: PathBuf,
    name: String,
    instance: u32,
    files: Vec<PathBuf>,
    bytes: u64,
    /// When something was last written.
    written: SystemTime,
}

impl LogsDir {
    /// Removes logs that are older than they may be, and then the oldest until all together are within their limit.
    /// `is_used` tells what is supervised, by name and instance.
    ///
    /// # Errors
    /// When the logs cannot be listed. What cannot be removed stays.
    pub fn sweep(
        &self,
        retention: Retention,
        now: SystemTime,
        is_used: &dyn Fn(&str, u32) -> bool,
    ) -> io::Result<Vec<RemovedLogs>> {
        let mut found = self.found()?;
        let mut total = found.iter().fold(0_u64, |total, logs| total.saturating_add(logs.bytes));
        found.sort_by_key(|logs| logs.written);
        let mut removed = Vec::new();
        for logs in found {
            let age = now.duration_since(logs.written).unwrap_or_default();
            if age <= retention.age_max && total <= retention.bytes_max {
                continue;
            }
            if let Some(gone) = logs.remove(is_used) {
                total = total.saturating_sub(gone.bytes);
                removed.push(gone);
            }
        }
        Ok(removed)
    }

    /// Removes the logs of what has this name, or of everything without one, but for what is used.
    ///
    /// # Errors
    /// When the logs cannot be listed. What cannot be removed stays.
    pub fn purge(&self, name: Option<&str>, is_used: &dyn Fn(&str, u32) -> bool) -> io::Result<Vec<RemovedLogs>> {
        let found = self.found()?.into_iter().filter(|logs| name.is_none_or(|name| logs.name == name));
        Ok(found.filter_map(|logs| logs.remove(is_used)).collect())
    }

    /// The directories of instances. Whatever else is there is none of ours.
    fn found(&self) -> io::Result<Vec<Found>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut found = Vec::new();
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name().into_string().unwrap_or_default();
            let Some((name, instance)) = name.rsplit_once('-') else { continue };
            let Ok(instance) = instance.parse() else { continue };
            if entry.file_type()?.is_dir()
                && let Some(logs) = look(entry.path(), name, instance)
            {
                found.push(logs);
            }
        }
        Ok(found)
    }
}

/// What is in the directory of an instance; `None` when it is gone, or is not ours to read.
fn look(path: PathBuf, name: &str, instance: u32) -> Option<Found> {
    let mut written = fs::metadata(&path).and_then(|metadata| metadata.modified()).ok()?;
    let (mut files, mut bytes) = (Vec::new(), 0_u64);
    for entry in fs::read_dir(&path).ok()? {
        let entry = entry.ok()?;
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_file() {
            bytes = bytes.saturating_add(metadata.len());
            written = metadata.modified().map_or(written, |modified| modified.max(written));
            files.push(entry.path());
        }
    }
    Some(Found { path, name: name.to_owned(), instance, files, bytes, written })
}

impl Found {
    /// Removes the files and their directory, unless they are used.
    fn remove(self, is_used: &dyn Fn(&str, u32) -> bool) -> Option<RemovedLogs> {
        // Held until all are removed: nobody begins to write meanwhile.
        let locks: Option<Vec<OwnedFd>> = self.files.iter().map(|path| lock(path)).collect();
        let locks = locks?;
        if is_used(&self.name, self.instance) {
            return None;
        }
        let removed = self.files.iter().try_for_each(fs::remove_file).and_then(|()| fs::remove_dir(&self.path));
        drop(locks);
        if let Err(error) = removed {
            tracing::warn!(path = %self.path.display(), %error, "logs that are not needed any more cannot be removed");
            return None;
        }
        Some(RemovedLogs { instance: format!("{}-{}", self.name, self.instance), bytes: self.bytes })
    }
}

/// Locks a log file as a writer does; `None` when somebody writes to it.
fn lock(path: &Path) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = open(path, flags, Mode::empty()).ok()?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => None,
        // A file system without locks locks nothing.
        Ok(()) | Err(_) => Some(file),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;
    use crate::output::log::files::open_for_writing;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * 20_000
    }

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// Logs of 100 bytes that were written so many days ago.
    fn write(dir: &Path, instance: &str, days: u32, now: SystemTime) -> PathBuf {
        let path = dir.join(instance).join("stdout.log");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, [b'x'; 100]).unwrap();
        for path in [path.as_path(), path.parent().unwrap()] {
            File::open(path).unwrap().set_modified(now - DAY * days).unwrap();
        }
        path
    }

    fn names(removed: Vec<RemovedLogs>) -> Vec<String> {
        removed.into_iter().map(|logs| logs.instance).collect()
    }

    #[test]
    fn what_is_old_goes_and_what_is_used_stays() {
        let (dir, now) = (tempfile::tempdir().unwrap(), now());
        for (instance, days) in [("old-0", 40), ("old-1", 20), ("used-0", 50), ("a-b-0", 60), ("new-0", 0)] {
            write(dir.path(), instance, days, now);
        }
        // None of ours.
        write(dir.path(), "notes", 90, now);
        fs::write(dir.path().join("file-0"), "").unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("link-0")).unwrap();
        let logs = LogsDir::new(dir.path());
        let is_used = |name: &str, instance: u32| (name, instance) == ("used", 0);
        let removed = logs.sweep(Retention::default(), now, &is_used).unwrap();
        assert_eq!(names(removed), ["a-b-0", "old-0"]);
        assert!(!dir.path().join("old-0").exists() && dir.path().join("used-0/stdout.log").exists());
        assert!(dir.path().join("notes").exists() && dir.path().join("link-0").exists());
    }

    #[test]
    fn all_together_are_within_their_limit_and_the_oldest_go_first() {
        let (dir, now) = (tempfile::tempdir().unwrap(), now());
        for (instance, days) in [("a-0", 3), ("b-0", 2), ("c-0", 1), ("used-0", 9)] {
            write(dir.path(), instance, days, now);
        }
        let logs = LogsDir::new(dir.path());
        let is_used = |name: &str, _: u32| name == "used";
        let limit = |bytes_max| Retention { bytes_max, ..Retention::default() };
        assert_eq!(logs.sweep(limit(400), now, &is_used).unwrap(), []);
        assert_eq!(names(logs.sweep(limit(399), now, &is_used).unwrap()), ["a-0"]);
        assert_eq!(names(logs.sweep(limit(0), now, &is_used).unwrap()), ["b-0", "c-0"]);
        assert!(dir.path().join("used-0/stdout.log").exists());
    }

    #[test]
    fn what_is_written_to_stays_whatever_it_is_called() {
        let (dir, now) = (tempfile::tempdir().unwrap(), now());
        let path = write(dir.path(), "a-0", 90, now);
        let writer = open_for_writing(&path).unwrap();
        let logs = LogsDir::new(dir.path());
        let is_used = |_: &str, _: u32| false;
        assert_eq!(logs.sweep(Retention::default(), now, &is_used).unwrap(), []);
        assert_eq!(logs.purge(None, &is_used).unwrap(), []);
        drop(writer);
        assert_eq!(logs.purge(Some("b"), &is_used).unwrap(), []);
        let removed = RemovedLogs { instance: "a-0".to_owned(), bytes: 100 };
        assert_eq!(logs.purge(Some("a"), &is_used).unwrap(), [removed]);
        assert_eq!(LogsDir::new(dir.path().join("none")).purge(None, &is_used).unwrap(), []);
    }
}
