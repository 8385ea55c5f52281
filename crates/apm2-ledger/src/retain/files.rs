//! The files beside the journal that belong to processes that are gone: their logs, and what is left of their launch files.

use std::{
    collections::HashSet,
    fs, io,
    ops::ControlFlow,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use apm2_model::{spec::id::ProcessId, state::stream::Stream};

use crate::{
    dir::{LAUNCH_DIR, LOGS_DIR, LedgerDir},
    disk_usage::allocated_bytes,
    error::ReadError,
    file::sync_dir,
    read::reader::Reader,
};

/// A directory with logs, or a launch file, of a process that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessFile {
    /// Its path in the directory of the ledger, such as `logs/worker-0`.
    pub path: String,
    /// Its allocated size, in bytes.
    pub bytes: u64,
}

/// The processes that are gone, and their names.
#[derive(Debug, Default)]
pub(crate) struct GoneProcesses {
    ids: HashSet<ProcessId>,
    names: HashSet<String>,
}

impl GoneProcesses {
    pub(crate) fn add(&mut self, stream: &Stream) {
        if self.ids.insert(stream.id.process_id) {
            self.names.insert(stream.handle.spec.name.clone());
        }
    }

    /// Their files, in the order of the paths. Logs belong to a name: they stay if another process has it, and if they were
    /// written at the time `before_ns` or later.
    pub(crate) fn files(mut self, reader: &Reader, before_ns: i64) -> Result<Vec<ProcessFile>, ReadError> {
        if self.ids.is_empty() {
            return Ok(Vec::new());
        }
        reader.each_stream(|stream| {
            if !self.ids.contains(&stream.id.process_id) {
                self.names.remove(&stream.handle.spec.name);
            }
            ControlFlow::Continue(())
        })?;
        let dir = reader.dir();
        let failed = |source| ReadError::Io { path: dir.named().to_owned(), source };
        let is_log =
            |name: &str, path: &Path| Ok(self.is_named(name) && is_dir(path) && last_write_ns(path)? < before_ns);
        let mut found = listed(dir, LOGS_DIR, is_log).map_err(failed)?;
        found.extend(listed(dir, LAUNCH_DIR, |name, _| Ok(self.is_launch(name))).map_err(failed)?);
        found.sort_by(|one, other| one.path.cmp(&other.path));
        Ok(found)
    }

    /// Whether `name` is that of a log directory of one of the processes: `<name>-<instance>`.
    fn is_named(&self, name: &str) -> bool {
        name.rsplit_once('-')
            .is_some_and(|(name, instance)| instance.parse::<u32>().is_ok() && self.names.contains(name))
    }

    /// Whether `name` is that of a launch file of one of the processes: `<id>.<extension>`.
    fn is_launch(&self, name: &str) -> bool {
        name.split('.').next().and_then(|id| id.parse().ok()).is_some_and(|id| self.ids.contains(&id))
    }
}

/// Removes the files, and makes that durable. Returns those that were removed; the others are logged and stay.
pub(crate) fn remove(dir: &LedgerDir, files: Vec<ProcessFile>) -> io::Result<Vec<ProcessFile>> {
    let is_removed = |file: &ProcessFile| match remove_one(&dir.at().join(&file.path)) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(path = %file.path, %error, "a file of a process that is gone cannot be removed");
            false
        }
    };
    let removed: Vec<ProcessFile> = files.into_iter().filter(is_removed).collect();
    for parent in [LOGS_DIR, LAUNCH_DIR] {
        if removed.iter().any(|file| Path::new(&file.path).starts_with(parent)) {
            sync_dir(&dir.at().join(parent))?;
        }
    }
    Ok(removed)
}

/// Removes a file, or a directory without directories.
fn remove_one(path: &Path) -> io::Result<()> {
    if !is_dir(path) {
        return fs::remove_file(path);
    }
    for file in files_in(path)? {
        fs::remove_file(file)?;
    }
    fs::remove_dir(path)
}

fn is_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir())
}

/// The time of the last write to a file in the directory, in nanoseconds since 1970; `i64::MIN` without files.
fn last_write_ns(path: &Path) -> io::Result<i64> {
    files_in(path)?.into_iter().try_fold(i64::MIN, |latest, file| {
        let metadata = fs::symlink_metadata(file)?;
        Ok(latest.max(metadata.mtime().saturating_mul(1_000_000_000).saturating_add(metadata.mtime_nsec())))
    })
}

fn files_in(path: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect()
}

/// The entries of the directory `parent` that `is_chosen` accepts, by name and path.
fn listed(
    dir: &LedgerDir,
    parent: &str,
    is_chosen: impl Fn(&str, &Path) -> io::Result<bool>,
) -> io::Result<Vec<ProcessFile>> {
    let entries = match fs::read_dir(dir.at().join(parent)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if is_chosen(&name, &entry.path())? {
            found.push(ProcessFile { path: format!("{parent}/{name}"), bytes: allocated_bytes(&entry.path())? });
        }
    }
    Ok(found)
}
