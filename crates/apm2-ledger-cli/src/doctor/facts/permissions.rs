//! The owners and modes of the files of the daemon in the ledger directory.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use nix::unistd::geteuid;

/// The most files that are examined.
const FILES_MAX: usize = 100_000;

/// A file that another user owns or may access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExposedFile {
    pub(crate) path: PathBuf,
    pub(crate) uid: u32,
    pub(crate) mode: u32,
}

/// The files of logs and launches that another user owns or may access.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PermissionFacts {
    pub(crate) uid: u32,
    pub(crate) dir: PathBuf,
    pub(crate) logs: Vec<ExposedFile>,
    pub(crate) launches: Vec<ExposedFile>,
}

impl PermissionFacts {
    pub(crate) fn look(dir: &Path) -> Self {
        let uid = geteuid().as_raw();
        let exposed = |name: &str| {
            let mut found = Vec::new();
            let mut left = FILES_MAX;
            walk(&dir.join(name), &mut left, &mut |path, metadata| {
                let mode = metadata.mode() & 0o7777;
                if metadata.uid() != uid || mode & 0o077 != 0 {
                    found.push(ExposedFile { path: path.to_owned(), uid: metadata.uid(), mode });
                }
            });
            found
        };
        Self { uid, dir: dir.to_owned(), logs: exposed("logs"), launches: exposed("launch") }
    }
}

/// Calls `visit` for `path` and all files below it, without symbolic links, until `left` is used up.
fn walk(path: &Path, left: &mut usize, visit: &mut dyn FnMut(&Path, &fs::Metadata)) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    if *left == 0 || metadata.is_symlink() {
        return;
    }
    *left -= 1;
    visit(path, &metadata);
    if metadata.is_dir() {
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            walk(&entry.path(), left, visit);
        }
    }
}
