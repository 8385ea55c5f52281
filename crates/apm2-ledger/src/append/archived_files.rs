//! Removes the files in the directory of the journal that the archives have made superfluous.

use std::{fs, io};

use crate::{
    dir::LedgerDir,
    file::sync_dir,
    journal::{
        JOURNAL_DIR,
        base::Base,
        catalog::group::Group,
        segment_file::all_segment_files,
        segments::{archive_path, open_archive},
    },
};

/// Removes the segments that are in an archive, and the catalogs of groups with such a segment. The segments of an archive that
/// cannot be opened stay: they are not read, and may be the only ones.
pub(crate) fn remove_archived(dir: &LedgerDir, base: &Base) -> io::Result<()> {
    let journal = dir.at().join(JOURNAL_DIR);
    let mut removed = false;
    let superfluous: Vec<_> =
        all_segment_files(&journal)?.into_iter().filter(|file| file.number <= base.number()).collect();
    for entry in &base.archives {
        let numbers = entry.first_number..=entry.last_number;
        let mut files = superfluous.iter().filter(|file| numbers.contains(&file.number)).peekable();
        if files.peek().is_none() || open_archive(&archive_path(dir, entry), entry).is_err() {
            continue;
        }
        for file in files {
            fs::remove_file(&file.path)?;
            removed = true;
        }
    }
    for entry in journal.read_dir()? {
        let entry = entry?;
        let group = entry.file_name().to_str().and_then(Group::of_file_name);
        if group.is_some_and(|group| group.first <= base.number()) {
            fs::remove_file(entry.path())?;
            removed = true;
        }
    }
    if removed { sync_dir(&journal) } else { Ok(()) }
}
