//! Writes the catalogs of complete groups of sealed segments.

use std::{collections::BTreeSet, ffi::OsString, fs, io};

use apm2_model::causes::causes;

use crate::{
    dir::LedgerDir,
    file,
    journal::{
        JOURNAL_DIR,
        catalog::{builder::Sources, group::Group, reader::Catalog},
        sealed::error::SealedError,
        segment_file::sealed_path,
    },
    limits::CATALOG_LEVEL_MAX,
    read::cancel::Cancel,
};

/// Removes the catalogs that are not those of the sealed segments: damaged ones, those of an older version, and those that are
/// left from segments that were removed or replaced. Others with errors in their tables stay; `verify` reports them.
///
/// # Errors
/// When the directory cannot be listed, or a file cannot be read or removed.
pub(crate) fn remove_wrong_catalogs(dir: &LedgerDir, stop: &Cancel) -> io::Result<()> {
    let journal = dir.at().join(JOURNAL_DIR);
    for entry in journal.read_dir()? {
        if stop.is_set() {
            return Ok(());
        }
        let Some(group) = entry?.file_name().to_str().and_then(Group::of_file_name) else { continue };
        match Catalog::of_group(&journal, group) {
            Ok(_) | Err(SealedError::Newer(_)) => {}
            Err(SealedError::Io(error)) if !file::is_not_regular(&error) => return Err(error),
            Err(error) => {
                tracing::warn!(%error, name = group.file_name(), "removing the catalog of a group of segments");
                dir.check_place()?;
                fs::remove_file(group.path(&journal))?;
            }
        }
    }
    Ok(())
}

/// Removes the catalogs that cover segment `number`, before it is sealed again.
pub(crate) fn remove_catalogs_of(dir: &LedgerDir, number: u64) -> io::Result<()> {
    let journal = dir.at().join(JOURNAL_DIR);
    dir.check_place()?;
    for level in 1..=CATALOG_LEVEL_MAX {
        match fs::remove_file(Group::containing(level, number).path(&journal)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Writes the catalogs that are missing, from the lowest level up, until `stop` is set. A group with a member that
/// cannot be read gets none.
///
/// # Errors
/// When the directory cannot be listed, or a file cannot be written.
pub(crate) fn write_missing_catalogs(dir: &LedgerDir, stop: &Cancel) -> io::Result<()> {
    let journal = dir.at().join(JOURNAL_DIR);
    let mut names: BTreeSet<OsString> =
        journal.read_dir()?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    let last = names.iter().rev().find_map(|name| name.to_str()?.strip_suffix(".sealed")?.parse().ok()).unwrap_or(0);
    for level in 1..=CATALOG_LEVEL_MAX {
        let mut group = Group::containing(level, 1);
        while group.last() <= last {
            if stop.is_set() {
                return Ok(());
            }
            let has_member = |member: Group| match member.level {
                0 => sealed_path(&journal, member.first).file_name().is_some_and(|name| names.contains(name)),
                _ => names.contains(&OsString::from(member.file_name())),
            };
            let name = OsString::from(group.file_name());
            if !names.contains(&name) && group.members().all(has_member) && write(dir, group)? {
                names.insert(name);
            }
            group = Group { level, first: group.last() + 1 };
        }
    }
    Ok(())
}

/// Writes the catalog of a complete group. Returns false when a member cannot be read.
fn write(dir: &LedgerDir, group: Group) -> io::Result<bool> {
    let journal = dir.at().join(JOURNAL_DIR);
    match Sources::open(&journal, group).and_then(|sources| sources.build()) {
        Ok(bytes) => {
            // No file is created before this check: the path of the ledger directory may refer to another ledger by now.
            dir.check_place()?;
            file::replace(&journal, &group.file_name(), &bytes)?;
            Ok(true)
        }
        Err(error) => {
            tracing::debug!(error = %causes(&error), first = group.first, "cannot make the catalog of a group of segments");
            Ok(false)
        }
    }
}
