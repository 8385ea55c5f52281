//! Copies the launch files and the logs of a ledger.

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{
    backup::{CopyError, copy_synced},
    dir,
    file::sync_dir,
    salvage::report::UnusedFile,
};

/// Copies the regular files below `name` in the directory `from` to the directory `to`, each durably, as are their names. Files that
/// cannot be read are added to `unused`.
pub(crate) fn copy_below(from: &Path, to: &Path, name: &str, unused: &mut Vec<UnusedFile>) -> io::Result<()> {
    let (mut found, mut dirs) = (Vec::new(), BTreeSet::new());
    add_files(&from.join(name), Path::new(name), &mut found, unused);
    for below in found {
        let (original, copy) = (from.join(&below), to.join(&below));
        dir::make_private(copy.parent().unwrap_or(to))?;
        dirs.extend(below.ancestors().skip(1).map(|below| to.join(below)));
        match copy_synced(&original, &copy) {
            Ok(()) => {}
            Err(CopyError::From(error)) => unused.push(UnusedFile { path: original, reason: error.to_string() }),
            Err(CopyError::To(error)) => return Err(error),
        }
    }
    dirs.iter().try_for_each(|dir| sync_dir(dir))
}

fn add_files(dir: &Path, below: &Path, found: &mut Vec<PathBuf>, unused: &mut Vec<UnusedFile>) {
    let entries = fs::read_dir(dir).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let entries = entries.unwrap_or_else(|error| {
        if error.kind() != io::ErrorKind::NotFound {
            unused.push(UnusedFile { path: dir.to_owned(), reason: error.to_string() });
        }
        Vec::new()
    });
    for entry in entries {
        let (path, below) = (entry.path(), below.join(entry.file_name()));
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => add_files(&path, &below, found, unused),
            Ok(metadata) if metadata.is_file() => found.push(below),
            _ => {}
        }
    }
}
