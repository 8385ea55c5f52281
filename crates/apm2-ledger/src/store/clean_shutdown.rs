//! The clean-shutdown mark: the file `clean`, which is written when a ledger is closed and removed when it is opened.
//!
//! The mark holds the head of the store, and the inode, size and times of each file of the store. If all of them still
//! match, the next opening does not check the whole store. If a file was changed, copied, truncated or lost, the mark
//! is invalid and the whole store is checked.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use crate::{
    chain::Chain,
    file::{self, sync_dir},
    head::Head,
    store::files::{files, make_files_private, sync_files},
};

const MARK: &str = "clean";

/// The text of the mark: a line with the head, then a line for each file of the store with its name, inode, length,
/// mtime and ctime.
pub(crate) fn describe(store_dir: &Path, size: u64, chain: Chain) -> io::Result<String> {
    let mut text = format!("{size} {chain}\n");
    for file in files(store_dir)? {
        let metadata = fs::symlink_metadata(&file)?;
        let name = file.strip_prefix(store_dir).unwrap_or(&file).display();
        let (inode, len) = (metadata.ino(), metadata.len());
        let (mtime, mtime_ns) = (metadata.mtime(), metadata.mtime_nsec());
        let (ctime, ctime_ns) = (metadata.ctime(), metadata.ctime_nsec());
        text.push_str(&format!("{name} {inode} {len} {mtime}.{mtime_ns:09} {ctime}.{ctime_ns:09}\n"));
    }
    Ok(text)
}

/// Writes the clean-shutdown mark. Syncs the files of the store first, because after a power cut the mark must not be
/// on the disk without the content of the files that it describes.
pub(crate) fn write(dir: &Path, store_dir: &Path, head: Head) {
    let written = make_files_private(store_dir)
        .and_then(|()| sync_files(store_dir))
        .and_then(|()| describe(store_dir, head.size, head.chain))
        .and_then(|text| file::replace(dir, MARK, text.as_bytes()));
    if let Err(error) = written {
        tracing::debug!(%error, "the clean-shutdown mark could not be written; the next opening checks the whole store");
    }
}

/// The size and the chain in the clean-shutdown mark, if the files of the store are unchanged since it was written.
/// Must be called before the store is opened, since sled changes the files.
pub(crate) fn valid_mark(dir: &Path, store_dir: &Path) -> Option<(u64, String)> {
    let text = String::from_utf8(file::read(&dir.join(MARK)).ok()?).ok()?;
    let (size, chain) = text.lines().next()?.split_once(' ')?;
    let size = size.parse().ok()?;
    let files = describe(store_dir, size, Chain([0; 32])).ok()?;
    let same_files = text.lines().skip(1).eq(files.lines().skip(1));
    same_files.then(|| (size, chain.to_owned()))
}

/// The number of events in the ledger at its last clean close, even if the store was changed or lost since then. `None`
/// while the ledger is open and after a crash, since opening removes the mark.
pub(crate) fn size_at_close(dir: &Path) -> Option<u64> {
    let text = String::from_utf8(file::read(&dir.join(MARK)).ok()?).ok()?;
    text.lines().next()?.split_once(' ')?.0.parse().ok()
}

/// The number of events at the last clean close, and the hash chain value after them. `None` while the ledger is open and
/// after a crash.
pub(crate) fn head_at_close(dir: &Path) -> Option<Head> {
    let text = String::from_utf8(file::read(&dir.join(MARK)).ok()?).ok()?;
    let (size, chain) = text.lines().next()?.split_once(' ')?;
    Some(Head { size: size.parse().ok()?, chain: Chain::parse(chain)? })
}

/// Removes the clean-shutdown mark durably. Must be called before a file of the store is changed.
pub(crate) fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(MARK)) {
        // Without this sync the mark could exist again after a power cut, although the store was changed.
        Ok(()) => sync_dir(dir),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
