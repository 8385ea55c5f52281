//! The option `--merge`: whether stdout and stderr of the command are one pipe.
//!
//! The order of writes to two different pipes is unknown. If stdout and stderr of `run` are the same file, this order
//! matters, so the command gets one pipe for both outputs.

use std::io;

use nix::{
    libc,
    sys::stat::{SFlag, fstat, major, minor},
};

/// Device number of `/dev/null`.
const NULL_DEVICE: (u64, u64) = (1, 3);

/// When stdout and stderr of the command share one pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum MergeArg {
    /// When stdout and stderr of `run` are the same terminal, pipe or file.
    Auto,
    /// The outputs always share one pipe.
    Always,
    /// The outputs never share one pipe.
    Never,
}

impl MergeArg {
    /// Whether stdout and stderr of the command share one pipe.
    pub(crate) fn is_merged(self) -> bool {
        match self {
            Self::Auto => is_one_file(),
            Self::Always => true,
            Self::Never => false,
        }
    }
}

/// Whether stdout and stderr of `run` are the same terminal, pipe or file. False for `/dev/null`.
fn is_one_file() -> bool {
    let (Ok(stdout), Ok(stderr)) = (fstat(io::stdout()), fstat(io::stderr())) else { return false };
    let is_device = stdout.st_mode & SFlag::S_IFMT.bits() == SFlag::S_IFCHR.bits();
    let is_null = is_device && (major(stdout.st_rdev), minor(stdout.st_rdev)) == NULL_DEVICE;
    let is_same = |of: fn(&libc::stat) -> u64| of(&stdout) == of(&stderr);
    !is_null && is_same(|stat| stat.st_dev) && is_same(|stat| stat.st_ino)
}
