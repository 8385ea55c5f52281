//! What processes are launched with, in files of their own beside the ledger: `launch/<process id>.json`.
//!
//! They hold values of environments, and so are no part of the record: nobody but the owner may read them, no event is
//! made of them, and each goes when its process is taken out of supervision.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use apm2_core::{
    process::ProcessId,
    supervisor::{Launch, LaunchStore},
};

/// The directory of the files, in the ledger's.
const DIR: &str = "launch";

/// The size of a file.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Launches in files.
#[derive(Debug)]
pub(crate) struct LaunchFiles(PathBuf);

impl LaunchFiles {
    /// Those of the ledger in `ledger`.
    pub(crate) fn new(ledger: &Path) -> Self {
        Self(ledger.join(DIR))
    }

    fn path(&self, process: ProcessId) -> PathBuf {
        self.0.join(format!("{process}.json"))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.0)?.sync_all()
    }
}

impl LaunchStore for LaunchFiles {
    fn save(&self, launch: &Launch) -> io::Result<()> {
        // Several are saved at once: one that is there already is as good.
        DirBuilder::new().recursive(true).mode(0o700).create(&self.0)?;
        let path = self.path(launch.spec.id);
        let new = path.with_extension("new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec(launch)?)?;
        file.sync_all()?;
        fs::rename(new, path)?;
        self.sync()
    }

    fn remove(&self, process: ProcessId) -> io::Result<()> {
        match fs::remove_file(self.path(process)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| self.sync()),
        }
    }

    fn load_all(&self) -> io::Result<Vec<Launch>> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut launches = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match read(&path) {
                Ok(launch) => launches.push(launch),
                Err(error) => tracing::error!(path = %path.display(), %error, "a launch cannot be read"),
            }
        }
        Ok(launches)
    }
}

fn read(path: &Path) -> io::Result<Launch> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    // Not quoted: a syntax error may stand beside a secret.
    serde_json::from_slice(&bytes).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not a launch"))
}
