//! The settings of the log files of a process.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

/// The path of a log target whose output is dropped (`/dev/null`).
pub const NOWHERE: &str = "/dev/null";

/// The word in a configuration file that stands for [`NOWHERE`], so that no log is written.
const NONE: &str = "none";

/// Whether this target is [`NOWHERE`], so that output to it is dropped.
pub fn is_nowhere(path: &Path) -> bool {
    path == Path::new(NOWHERE)
}

/// Files for the output of a process, and their limits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// File for stdout, or [`NOWHERE`]. Default: a file in the log directory of the supervisor, if it has one.
    pub stdout: Option<PathBuf>,
    /// File for stderr, or [`NOWHERE`]. Default: a file in the log directory of the supervisor, if it has one.
    pub stderr: Option<PathBuf>,
    /// Whether both outputs use one pipe, so that their lines stay in the order in which they were written. Default:
    /// false.
    pub merge: bool,
    /// Whether each line begins with a timestamp. Default: false.
    pub timestamps: bool,
    /// Size at which a log file is rotated, in bytes. Default: 10 MiB.
    pub rotate_bytes: u64,
    /// Age at which a log file is rotated. Default: 24 h.
    #[serde(with = "crate::duration")]
    pub rotate_age: Duration,
    /// Whether rotated log files are compressed. Default: false.
    pub compress: bool,
    /// Limit on the total size of all log files of one process, in bytes. Default: 100 MiB.
    pub total_bytes_max: u64,
}

impl LogConfig {
    /// Whether both outputs use one pipe: either `merge` is set, or both outputs have the same file.
    #[must_use]
    pub fn is_merged(&self) -> bool {
        self.merge || (self.stdout.is_some() && self.stdout == self.stderr)
    }

    /// The configured log files, without [`NOWHERE`].
    pub fn named(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.stdout, &self.stderr].into_iter().flatten().filter(|path| !is_nowhere(path))
    }

    /// These settings with resolved paths: the word `none` becomes [`NOWHERE`], and other relative paths are joined to
    /// `dir`.
    #[must_use]
    pub fn placed_in(mut self, dir: &Path) -> Self {
        for target in [&mut self.stdout, &mut self.stderr].into_iter().flatten() {
            *target = match target.as_os_str() {
                word if word == NONE => NOWHERE.into(),
                // An empty path stays empty. Joined to `dir`, it would be the directory itself.
                word if word.is_empty() => continue,
                _ => dir.join(&target),
            };
        }
        self
    }

    /// Refuses a log file whose path has no file name.
    ///
    /// # Errors
    /// The refused setting, with the reason.
    pub fn validate(&self) -> Result<(), String> {
        match [("stdout", &self.stdout), ("stderr", &self.stderr)].into_iter().find(|(_, target)| is_no_file(target)) {
            Some((output, Some(path))) if path.as_os_str().is_empty() => {
                Err(format!("log.{output} is empty: leave it out, or write \"{NONE}\" to keep nothing"))
            }
            Some((output, _)) => Err(format!("log.{output} names no file")),
            None => Ok(()),
        }
    }
}

/// Whether a configured log file has a path without a file name.
fn is_no_file(target: &Option<PathBuf>) -> bool {
    target.as_ref().is_some_and(|path| path.file_name().is_none())
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            stdout: None,
            stderr: None,
            merge: false,
            timestamps: false,
            rotate_bytes: 10 << 20,
            rotate_age: Duration::from_secs(24 * 60 * 60),
            compress: false,
            total_bytes_max: 100 << 20,
        }
    }
}
