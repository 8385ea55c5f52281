//! Keeps the directory of the ledger within the limit of its settings: removes the oldest archives, and the oldest logs of
//! instances that are not supervised.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use apm2_core::log::{LogsDir, UnusedLogs};
use apm2_ledger::{ArchiveFile, LedgerDir, allocated_bytes, archive_files, disk_usage, remove_archive};

/// What can be removed.
enum Removable {
    Archive(ArchiveFile),
    Logs {
        name: String,
        /// Allocated size, in bytes.
        bytes: u64,
        logs: UnusedLogs,
    },
}

/// How much of a ledger was removed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Freed {
    /// The archives and logs, by name, with their bytes.
    pub(crate) removed: Vec<(String, u64)>,
    /// Bytes by which the ledger is still too large.
    pub(crate) excess: u64,
}

impl Removable {
    fn of_logs(dir: &LedgerDir, logs: UnusedLogs) -> io::Result<Self> {
        let path = logs.path().strip_prefix(dir.at()).unwrap_or(logs.path());
        Ok(Self::Logs { name: path.display().to_string(), bytes: allocated_bytes(logs.path())?, logs })
    }

    fn name(&self) -> String {
        match self {
            Self::Archive(archive) => format!("archive/{}", archive.name),
            Self::Logs { name, .. } => name.clone(),
        }
    }

    const fn bytes(&self) -> u64 {
        match self {
            Self::Archive(archive) => archive.bytes,
            Self::Logs { bytes, .. } => *bytes,
        }
    }

    /// The time of the last event or line.
    fn ended(&self) -> SystemTime {
        match self {
            Self::Archive(archive) => {
                UNIX_EPOCH + Duration::from_nanos(u64::try_from(archive.last_wall_ns).unwrap_or(0))
            }
            Self::Logs { logs, .. } => logs.written(),
        }
    }

    fn remove(self, dir: &LedgerDir, is_used: &dyn Fn(&str, u32) -> bool) -> io::Result<bool> {
        match self {
            Self::Archive(archive) => remove_archive(dir, &archive).map(|()| true),
            Self::Logs { logs, .. } => Ok(logs.remove(is_used).is_some()),
        }
    }
}

/// Removes the oldest archives and logs until the ledger has at most `max_bytes`. Events in the journal are never removed.
/// `is_used` returns whether an instance is supervised, by name and number.
///
/// # Errors
/// The files cannot be listed. A file that cannot be removed is logged and skipped.
pub(crate) fn free(
    dir: &Arc<LedgerDir>,
    logs: &LogsDir,
    max_bytes: u64,
    is_used: &dyn Fn(&str, u32) -> bool,
) -> io::Result<Freed> {
    let mut total = disk_usage(dir.at())?.total();
    let mut freed = Freed { removed: Vec::new(), excess: total.saturating_sub(max_bytes) };
    if freed.excess == 0 {
        return Ok(freed);
    }
    let archives = archive_files(dir).map_err(io::Error::other)?.into_iter().map(Removable::Archive);
    let logs = logs.unused(is_used)?.into_iter().map(|logs| Removable::of_logs(dir, logs));
    let mut found = archives.map(Ok).chain(logs).collect::<io::Result<Vec<_>>>()?;
    found.sort_by_key(Removable::ended);
    for one in found {
        if total <= max_bytes {
            break;
        }
        let (name, bytes) = (one.name(), one.bytes());
        match one.remove(dir, is_used) {
            Ok(true) => {
                total = total.saturating_sub(bytes);
                freed.removed.push((name, bytes));
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(%name, %error, "it cannot be removed, though the ledger is too large"),
        }
    }
    freed.excess = total.saturating_sub(max_bytes);
    Ok(freed)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn the_oldest_logs_go_until_the_limit_is_met_and_what_is_used_stays() {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o700)).unwrap();
        for (number, name) in ["b-0", "used-0", "a-0", "c-0"].into_iter().enumerate() {
            let path = root.path().join("logs").join(name).join("stdout.log");
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, [b'x'; 8192]).unwrap();
            let written = UNIX_EPOCH + Duration::from_secs(u64::try_from(number).unwrap());
            for path in [path.as_path(), path.parent().unwrap()] {
                fs::File::open(path).unwrap().set_modified(written).unwrap();
            }
        }
        let dir = Arc::new(LedgerDir::open(root.path()).unwrap());
        let logs = LogsDir::new(dir.at().join("logs"));
        let is_used = |name: &str, _: u32| name == "used";
        let total = disk_usage(root.path()).unwrap().total();
        assert_eq!(free(&dir, &logs, total, &is_used).unwrap(), Freed::default());
        let freed = free(&dir, &logs, total - 1, &is_used).unwrap();
        assert_eq!((freed.removed.len(), freed.removed[0].0.as_str(), freed.excess), (1, "logs/b-0", 0));
        let freed = free(&dir, &logs, 1, &is_used).unwrap();
        let names: Vec<&str> = freed.removed.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["logs/a-0", "logs/c-0"]);
        assert!(freed.excess >= 8192 && root.path().join("logs/used-0/stdout.log").exists());
    }
}
