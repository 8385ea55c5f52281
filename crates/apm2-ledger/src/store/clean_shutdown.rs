//! The mark of a clean close: which files the store had then, and what it held.
//!
//! With it the next opening need not check the whole store. It counts only while every file still has the size and the
//! times that it had: whatever was changed, copied, cut or lost is checked in full.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use crate::{
    chain::Chain,
    file::{self, sync_dir},
    head::Head,
    store::files::{close_to_others, files, sync_files},
};

const MARK: &str = "clean";

/// One line for the head, and one for each file.
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

/// Marks a clean close. The store's files are brought to the disk first: the mark must not outlive what it speaks of.
pub(crate) fn write(dir: &Path, store_dir: &Path, head: Head) {
    let marked = close_to_others(store_dir)
        .and_then(|()| sync_files(store_dir))
        .and_then(|()| describe(store_dir, head.size, head.chain))
        .and_then(|text| file::replace(dir, MARK, text.as_bytes()));
    if let Err(error) = marked {
        tracing::debug!(%error, "no mark of a clean close; the store is checked when it is next opened");
    }
}

/// The size that the mark speaks of, if it still speaks of these files. To be asked before they are opened.
pub(crate) fn valid_mark(dir: &Path, store_dir: &Path) -> Option<(u64, String)> {
    let text = String::from_utf8(file::read(&dir.join(MARK)).ok()?).ok()?;
    let (size, chain) = text.lines().next()?.split_once(' ')?;
    let size = size.parse().ok()?;
    let files = describe(store_dir, size, Chain([0; 32])).ok()?;
    let same_files = text.lines().skip(1).eq(files.lines().skip(1));
    same_files.then(|| (size, chain.to_owned()))
}

/// What the ledger held at its last clean close, whatever has become of its store; `None` while it is open and after a crash.
pub(crate) fn size_at_close(dir: &Path) -> Option<u64> {
    let text = String::from_utf8(file::read(&dir.join(MARK)).ok()?).ok()?;
    text.lines().next()?.split_once(' ')?.0.parse().ok()
}

/// Takes the mark away, before anything is changed.
pub(crate) fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(MARK)) {
        // A power cut must not bring it back.
        Ok(()) => sync_dir(dir),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
