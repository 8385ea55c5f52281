//! Paths of the golden files, and copies of the golden ledger that a test can open.

use std::{
    fs::{self, DirBuilder, Permissions},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use tempfile::TempDir;

pub(crate) fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name)
}

/// Copies a golden ledger to a directory with mode 0700. A ledger needs this mode, but Git does not store it.
pub(crate) fn copy_of(name: &str) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::set_permissions(copy.path(), Permissions::from_mode(0o700)).unwrap();
    let journal = copy.path().join("journal");
    DirBuilder::new().mode(0o700).create(&journal).unwrap();
    for entry in fs::read_dir(path(name).join("journal")).unwrap() {
        let from = entry.unwrap().path();
        let to = journal.join(from.file_name().unwrap());
        fs::write(&to, fs::read(&from).unwrap()).unwrap();
        fs::set_permissions(&to, Permissions::from_mode(0o600)).unwrap();
    }
    copy
}

/// The plain segment files of a ledger, in order.
pub(crate) fn segments(ledger: &Path) -> Vec<PathBuf> {
    files(ledger, "seg")
}

/// The sealed segment files of a ledger, in order.
pub(crate) fn sealed(ledger: &Path) -> Vec<PathBuf> {
    files(ledger, "sealed")
}

fn files(ledger: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(ledger.join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|it| it == extension)).collect();
    paths.sort();
    paths
}
