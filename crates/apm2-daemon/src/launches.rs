//! The launch files beside the ledger, one for each supervised process: `launch/<process id>.json`.
//!
//! Launch files contain values of environment variables, and are therefore not part of the ledger. Only the owner may
//! read them, no event contains these values, and a launch file is removed when its process is unregistered.

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use apm2_core::supervisor::{LaunchStore, StoredLaunches, UnreadableLaunch};
use apm2_ledger::{LedgerDir, file};
use apm2_model::spec::{id::ProcessId, launch::LaunchSpec};

use crate::{launch_file, shared_sync::SharedSync};

/// The name of the directory of launch files in the ledger directory.
const DIR: &str = "launch";

/// The extension of a temporary launch file, which is renamed over the current launch file after it is written.
const NEW: &str = "new";

/// The extension of a launch file that this program could not read. The file is kept when it is replaced, because the
/// newer version of the program that wrote it may be used again.
const SET_ASIDE: &str = "set-aside";

/// The launch files of a ledger.
#[derive(Debug)]
pub(crate) struct LaunchFiles {
    ledger: Arc<LedgerDir>,
    path: PathBuf,
    dir_sync: SharedSync,
}

impl LaunchFiles {
    /// The launch files of the ledger in the directory `ledger`.
    pub(crate) fn new(ledger: &Arc<LedgerDir>) -> Self {
        Self { ledger: Arc::clone(ledger), path: ledger.at().join(DIR), dir_sync: SharedSync::default() }
    }

    fn path(&self, process: ProcessId) -> PathBuf {
        self.path.join(format!("{process}.json"))
    }

    /// Writes `launch` to a temporary file and returns its path. A failed attempt leaves no file behind.
    fn write_new(&self, launch: &LaunchSpec) -> io::Result<PathBuf> {
        let bytes = launch_file::encode(launch)?;
        self.ledger.check_place()?;
        let new = self.path(launch.spec.id).with_extension(NEW);
        let written = || {
            let mut file = self.create(&new)?;
            file.write_all(&bytes)?;
            file.sync_all()
        };
        match written() {
            Ok(()) => Ok(new),
            Err(error) => {
                // The incomplete file is removed, because it may contain secrets.
                let _ = fs::remove_file(&new);
                Err(error)
            }
        }
    }

    /// Creates the file `new`, and the directory if it is missing.
    fn create(&self, new: &Path) -> io::Result<File> {
        match file::create(new) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make()?;
                file::create(new)
            }
            created => created,
        }
    }

    /// Makes the renames and removals in the directory durable.
    fn sync(&self) -> io::Result<()> {
        self.dir_sync.sync(|| File::open(&self.path)?.sync_all())
    }

    /// Creates the directory, and syncs its parent directory. Without the sync, a crash could remove
    /// the directory with the files in it.
    fn make(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Ok(()) => File::open(self.ledger.at())?.sync_all(),
            // Launches are saved concurrently, so another thread may have created the directory.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Removes set-aside launch files that are older than `age_max`.
    ///
    /// # Errors
    /// The files cannot be listed or removed.
    pub(crate) fn sweep(&self, now: SystemTime, age_max: Duration) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut swept = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != SET_ASIDE) {
                continue;
            }
            // The age is computed from ctime, which is the time of the rename and not of the last write.
            let changed = fs::symlink_metadata(&path).ok().and_then(|metadata| u64::try_from(metadata.ctime()).ok());
            let age = changed.and_then(|secs| now.duration_since(UNIX_EPOCH + Duration::from_secs(secs)).ok());
            if age.is_some_and(|age| age > age_max) && removed(&path)? {
                swept.push(path);
            }
        }
        Ok(swept)
    }

    /// Sets aside a launch file that this program cannot read, before the file is replaced. Overwrites an older file
    /// that was set aside.
    fn set_aside(&self, path: &Path) -> io::Result<()> {
        match read(path) {
            Ok(_) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => tracing::warn!(path = %self.ledger.shown(path).display(), %error, "a launch is set aside"),
        }
        let aside = path.with_extension(SET_ASIDE);
        removed(&aside)?;
        fs::hard_link(path, aside)
    }
}

/// The ids of the processes that have a launch file. The daemon of the ledger in `ledger` supervises these processes,
/// or the next daemon will. `None` if no daemon has ever written a launch file.
///
/// # Errors
/// The directory cannot be read.
pub fn launched(ledger: &Path) -> io::Result<Option<HashSet<ProcessId>>> {
    let entries = match fs::read_dir(ledger.join(DIR)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    let mut launched = HashSet::new();
    for entry in entries {
        let name = entry?.file_name();
        let id: Option<ProcessId> = name.to_str().and_then(|name| name.strip_suffix(".json")?.parse().ok());
        launched.extend(id);
    }
    Ok(Some(launched))
}

impl LaunchStore for LaunchFiles {
    fn prepare(&self, launch: &LaunchSpec) -> io::Result<()> {
        self.write_new(launch).map(drop)
    }

    fn save(&self, launch: &LaunchSpec) -> io::Result<()> {
        let path = self.path(launch.spec.id);
        let new = self.write_new(launch)?;
        self.set_aside(&path)?;
        fs::rename(new, path)?;
        self.sync()
    }

    fn remove(&self, process: ProcessId) -> io::Result<()> {
        let path = self.path(process);
        // A temporary file that was not renamed may also contain secrets, so it is removed.
        let was_prepared = removed(&path.with_extension(NEW))?;
        if removed(&path.with_extension(SET_ASIDE))? | removed(&path)? | was_prepared { self.sync() } else { Ok(()) }
    }

    fn load_all(&self) -> io::Result<StoredLaunches> {
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(StoredLaunches::default()),
            entries => entries?,
        };
        let mut kept = StoredLaunches::default();
        for entry in entries {
            let path = entry?.path();
            // The temporary file was left by a daemon that was killed while writing. No other daemon is writing now.
            if path.extension().is_some_and(|extension| extension == NEW) {
                if let Err(error) = removed(&path) {
                    tracing::warn!(path = %path.display(), %error, "could not remove an incomplete launch file");
                }
                continue;
            }
            let Some(process) = process_of(&path) else { continue };
            match read(&path) {
                // If a launch file was copied to the name of another process, it would start the wrong process. It is
                // therefore refused.
                Ok(launch) if launch.spec.id != process => {
                    let why = format!(
                        "{}: it is the launch of process {}",
                        self.ledger.shown(&path).display(),
                        launch.spec.id
                    );
                    kept.unreadable.push(UnreadableLaunch { process, why });
                }
                Ok(launch) => kept.launches.push(launch),
                Err(error) => {
                    let why = format!("{}: {error}", self.ledger.shown(&path).display());
                    kept.unreadable.push(UnreadableLaunch { process, why });
                }
            }
        }
        Ok(kept)
    }
}

/// The process id in the name of a launch file.
fn process_of(path: &Path) -> Option<ProcessId> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".json")?.parse().ok()
}

/// Removes a file. Returns whether it existed.
fn removed(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn read(path: &Path) -> io::Result<LaunchSpec> {
    let mut bytes = Vec::new();
    file::open(path)?.take(launch_file::BYTES_MAX.saturating_add(1)).read_to_end(&mut bytes)?;
    launch_file::decode(&bytes).map_err(|why| io::Error::new(io::ErrorKind::InvalidData, why))
}
