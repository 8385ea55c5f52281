//! The file `place` in the ledger's directory identifies that directory, so that a copy of the ledger can be detected.
//!
//! ```text
//! {"version": 1, "nonce": "…", "boot": "…", "device": 1, "inode": 2, "old_markers": false}
//! ```
//!
//! The nonce is part of the marker of each run that is started from this directory. Device and inode identify the
//! directory: a copy contains the same file in another directory. Device numbers may change at a boot, so they are
//! compared within one boot only.

use std::{fs, io, os::unix::fs::MetadataExt as _, path::Path};

use apm2_core::process::LedgerPlace;
use apm2_ledger::file;
use apm2_model::clock::boot_id;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The name of the file in the ledger directory.
const FILE: &str = "place";

/// The version of the format of the file `place`.
const VERSION: u32 = 1;

/// The content of the file `place`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Noted {
    version: u32,
    nonce: Uuid,
    boot: Uuid,
    device: u64,
    inode: u64,
    /// Whether runs may still be alive that were started before this file existed. The markers of such runs have no
    /// nonce.
    old_markers: bool,
}

/// Whether a ledger directory is a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PlaceCheck {
    /// The runs of the ledger were started in this directory.
    Own(LedgerPlace),
    /// The directory is a copy. It gets its own nonce.
    Copy(LedgerPlace),
}

impl PlaceCheck {
    pub(crate) const fn place(&self) -> LedgerPlace {
        match self {
            Self::Own(place) | Self::Copy(place) => *place,
        }
    }
}

/// Evidence about the directory in addition to the file `place`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlaceEvidence {
    /// Whether a file descriptor store confirms that it serves this directory. The runs of the ledger were then started
    /// here.
    pub(crate) has_fd_store: bool,
    /// Whether runs of the current boot have no recorded end. Only such runs can still be alive.
    pub(crate) has_open_runs: bool,
    /// Whether the ledger contains no stream of a process.
    pub(crate) is_empty: bool,
}

/// Determines whether `dir` is a copy. Changes nothing.
///
/// # Errors
/// The file or the directory cannot be read.
pub(crate) fn find(dir: &Path, evidence: PlaceEvidence) -> io::Result<PlaceCheck> {
    let new = |has_old_markers| LedgerPlace { nonce: Uuid::new_v4(), has_old_markers };
    let Some(noted) = read(dir)? else {
        // The ledger is older than the file `place`. Runs that may be alive are taken over only if a file descriptor
        // store confirms that it serves this directory.
        return Ok(match evidence {
            PlaceEvidence { has_fd_store: true, .. } => PlaceCheck::Own(new(true)),
            PlaceEvidence { has_open_runs: true, .. } => PlaceCheck::Copy(new(false)),
            PlaceEvidence { is_empty, .. } => PlaceCheck::Own(new(!is_empty)),
        });
    };
    let metadata = fs::metadata(dir)?;
    let is_same_device = noted.boot != boot_id() || noted.device == metadata.dev();
    let is_here = noted.inode == metadata.ino() && is_same_device;
    if is_here || evidence.has_fd_store {
        return Ok(PlaceCheck::Own(LedgerPlace { nonce: noted.nonce, has_old_markers: noted.old_markers }));
    }
    Ok(if evidence.is_empty { PlaceCheck::Own(new(false)) } else { PlaceCheck::Copy(new(false)) })
}

/// Writes `place` into the file. Durable when this returns.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn note(dir: &Path, place: LedgerPlace) -> io::Result<()> {
    let metadata = fs::metadata(dir)?;
    let noted = Noted {
        version: VERSION,
        nonce: place.nonce,
        boot: boot_id(),
        device: metadata.dev(),
        inode: metadata.ino(),
        old_markers: place.has_old_markers,
    };
    if read(dir).ok().flatten() == Some(noted) {
        return Ok(());
    }
    file::replace(dir, FILE, &serde_json::to_vec(&noted)?)
}

/// Whether the file was written for the directory `dir` with this metadata, in this boot. The copies of the file in a copy of the
/// directory were not.
pub(crate) fn is_noted_for(dir: &Path, metadata: &fs::Metadata) -> bool {
    let noted = read(dir).ok().flatten();
    noted.is_some_and(|noted| (noted.boot, noted.device, noted.inode) == (boot_id(), metadata.dev(), metadata.ino()))
}

fn read(dir: &Path) -> io::Result<Option<Noted>> {
    let bytes = match file::read(&dir.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let noted: Noted = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
    if noted.version == VERSION { Ok(Some(noted)) } else { Err(invalid(format!("version {}", noted.version))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: PlaceEvidence = PlaceEvidence { has_fd_store: false, has_open_runs: false, is_empty: false };

    #[test]
    fn a_place_is_known_again_and_a_copy_is_not_it() {
        let dir = tempfile::tempdir().unwrap();
        let here = find(dir.path(), PlaceEvidence { is_empty: true, ..QUIET }).unwrap();
        let PlaceCheck::Own(place) = here else { panic!("a new ledger is no copy: {here:?}") };
        assert!(!place.has_old_markers);
        note(dir.path(), place).unwrap();
        note(dir.path(), place).unwrap();
        assert_eq!(find(dir.path(), QUIET).unwrap(), PlaceCheck::Own(place));
        let copy = tempfile::tempdir().unwrap();
        fs::copy(dir.path().join(FILE), copy.path().join(FILE)).unwrap();
        let PlaceCheck::Copy(other) = find(copy.path(), QUIET).unwrap() else { panic!("a copy") };
        assert_ne!(other.nonce, place.nonce);
        // A file descriptor store that answers was started in this directory.
        let moved = find(copy.path(), PlaceEvidence { has_fd_store: true, ..QUIET }).unwrap();
        assert_eq!(moved, PlaceCheck::Own(place));
        note(copy.path(), other).unwrap();
        assert_eq!(find(copy.path(), QUIET).unwrap(), PlaceCheck::Own(other), "it is a place of its own by now");
    }

    #[test]
    fn without_the_file_only_what_cannot_be_alive_elsewhere_is_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let found = |evidence| match find(dir.path(), evidence).unwrap() {
            PlaceCheck::Own(place) => ("own", place.has_old_markers),
            PlaceCheck::Copy(place) => ("copy", place.has_old_markers),
        };
        assert_eq!(found(QUIET), ("own", true));
        assert_eq!(found(PlaceEvidence { has_open_runs: true, ..QUIET }), ("copy", false));
        assert_eq!(found(PlaceEvidence { has_open_runs: true, has_fd_store: true, ..QUIET }), ("own", true));
    }
}
