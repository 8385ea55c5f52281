//! Removes the logs of instances that are no longer supervised, by age and by the total size of all logs.
//!
//! The logs of a supervised instance have limits of their own. After the instance is unregistered, its logs stay for
//! some time, so that its end can be investigated. This module removes them later. Logs in use are not removed: a
//! writer locks its log file, and before each removal the instance is looked up again among the supervised ones.

use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rustix::fs::{Mode, OFlags, open};

use crate::output::log::files::LogsDir;

/// Default limit on the total size of all log files in the ledger's directory, in bytes.
pub const LOGS_BYTES_MAX: u64 = 1 << 30;

/// Default limit on the age of the logs of instances that are no longer supervised.
pub const LOGS_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The limits on all logs of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Limit on the total size of all logs, in bytes. The logs of supervised instances count, but are not removed.
    pub bytes_max: u64,
    /// Limit on the time since the last write, for logs of instances that are not supervised.
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
    /// The name of the instance's directory: `<name>-<instance>`.
    pub instance: String,
    /// Size of the removed files, in bytes.
    pub bytes: u64,
}

/// The logs of an instance that is not supervised.
#[derive(Debug)]
pub struct UnusedLogs(InstanceLogs);

impl UnusedLogs {
    /// The directory of the logs.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// The time of the last write to the logs.
    #[must_use]
    pub const fn written(&self) -> SystemTime {
        self.0.written
    }

    /// Removes the logs. `None` when they stay: a writer uses them, the instance is supervised now, or they cannot be removed,
    /// which is logged.
    pub fn remove(self, is_used: &dyn Fn(&str, u32) -> bool) -> Option<RemovedLogs> {
        self.0.remove(is_used)
    }
}

/// The log directory of an instance.
#[derive(Debug)]
struct InstanceLogs {
    path: PathBuf,
    name: String,
    instance: u32,
    files: Vec<PathBuf>,
    bytes: u64,
    /// Time of the last write to the logs.
    written: SystemTime,
}

impl LogsDir {
    /// Removes logs that are too old, and then the oldest ones until the total size is within its limit. `is_used`
    /// returns whether an instance is supervised, by name and number.
    ///
    /// # Errors
    /// The logs cannot be listed. A directory that cannot be removed is logged and skipped.
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

    /// Removes the logs of all instances that are not supervised; with `name`, only the logs of instances of the
    /// process `name`.
    ///
    /// # Errors
    /// The logs cannot be listed. A directory that cannot be removed is logged and skipped.
    pub fn purge(&self, name: Option<&str>, is_used: &dyn Fn(&str, u32) -> bool) -> io::Result<Vec<RemovedLogs>> {
        let found = self.found()?.into_iter().filter(|logs| name.is_none_or(|name| logs.name == name));
        Ok(found.filter_map(|logs| logs.remove(is_used)).collect())
    }

    /// The logs of all instances that are not supervised, by `is_used` as for [`sweep`](Self::sweep).
    ///
    /// # Errors
    /// The logs cannot be listed.
    pub fn unused(&self, is_used: &dyn Fn(&str, u32) -> bool) -> io::Result<Vec<UnusedLogs>> {
        let found = self.found()?.into_iter().filter(|logs| !is_used(&logs.name, logs.instance));
        Ok(found.map(UnusedLogs).collect())
    }

    /// The log directories of all instances. Other entries are ignored.
    fn found(&self) -> io::Result<Vec<InstanceLogs>> {
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

/// Reads the log directory of an instance; `None` when the directory does not exist or is not readable.
fn look(path: PathBuf, name: &str, instance: u32) -> Option<InstanceLogs> {
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
    Some(InstanceLogs { path, name: name.to_owned(), instance, files, bytes, written })
}

impl InstanceLogs {
    /// Removes the log files and their directory, unless a writer uses them.
    fn remove(self, is_used: &dyn Fn(&str, u32) -> bool) -> Option<RemovedLogs> {
        // All files are locked until all are removed, so that no writer can open one of them in the meantime.
        let locks: Option<Vec<File>> = self.files.iter().map(|path| lock(path)).collect();
        let locks = locks?;
        if is_used(&self.name, self.instance) {
            return None;
        }
        let removed = self.files.iter().try_for_each(fs::remove_file).and_then(|()| fs::remove_dir(&self.path));
        drop(locks);
        if let Err(error) = removed {
            tracing::warn!(path = %self.path.display(), %error, "expired logs cannot be removed");
            return None;
        }
        Some(RemovedLogs { instance: format!("{}-{}", self.name, self.instance), bytes: self.bytes })
    }
}

/// Locks a log file as a writer does; `None` when a writer has it open.
fn lock(path: &Path) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(open(path, flags, Mode::empty()).ok()?);
    match file.try_lock() {
        Err(TryLockError::WouldBlock) => None,
        // Any other error means that the file system does not support locks.
        Ok(()) | Err(TryLockError::Error(_)) => Some(file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::log::files::open_for_writing;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + DAY * 20_000
    }

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    /// Writes a log of 100 bytes with a modification time `days` days before `now`.
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
    fn old_logs_are_removed_and_used_logs_stay() {
        let (dir, now) = (tempfile::tempdir().unwrap(), now());
        for (instance, days) in [("old-0", 40), ("old-1", 20), ("used-0", 50), ("a-b-0", 60), ("new-0", 0)] {
            write(dir.path(), instance, days, now);
        }
        // Entries in the log directory that are not directories of instances.
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
    fn the_oldest_logs_are_removed_first_until_the_total_is_within_its_limit() {
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
    fn a_log_with_a_writer_stays_under_any_name() {
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
