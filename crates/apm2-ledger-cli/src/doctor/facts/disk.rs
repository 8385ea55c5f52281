//! The file system of the ledger.

use std::path::Path;

use nix::sys::{statfs::statfs, statvfs::statvfs};

use crate::doctor::facts::nearest::nearest;

/// Magic numbers of network file systems (statfs(2)).
const NETWORK: [(i64, &str); 9] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9p"),
    (0x00c3_6400, "Ceph"),
    (0x5346_414f, "AFS"),
    (0x6573_5546, "FUSE"),
    (0x7375_7245, "Coda"),
];

/// Magic numbers of file systems in memory (statfs(2)).
const MEMORY: [(i64, &str); 2] = [(0x0102_1994, "tmpfs"), (0x8584_58f6, "ramfs")];

/// The kind of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileSystemKind {
    /// On a disk of this machine, as far as its type says.
    Local,
    Network(&'static str),
    Memory(&'static str),
}

/// The file system of the ledger directory, or of its nearest ancestor that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FileSystemFacts {
    pub(crate) kind: FileSystemKind,
    /// Free space for this user, in bytes.
    pub(crate) free_bytes: u64,
    /// Free inodes for this user; `None` if the file system does not count them.
    pub(crate) free_inodes: Option<u64>,
    pub(crate) is_read_only: bool,
}

impl FileSystemFacts {
    /// Those of the file system at `dir`; `None` if it cannot be asked.
    pub(crate) fn look(dir: &Path) -> Option<Self> {
        let dir = nearest(dir);
        let space = statvfs(dir).ok()?;
        let kind = statfs(dir).map_or(FileSystemKind::Local, |found| kind_of(found.filesystem_type().0));
        Some(Self {
            kind,
            free_bytes: space.blocks_available().saturating_mul(space.fragment_size()),
            free_inodes: (space.files() > 0).then(|| space.files_available()),
            is_read_only: space.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY),
        })
    }
}

fn kind_of(magic: i64) -> FileSystemKind {
    let named = |list: &[(i64, &'static str)]| list.iter().find(|(known, _)| *known == magic).map(|(_, name)| *name);
    named(&NETWORK)
        .map(FileSystemKind::Network)
        .or_else(|| named(&MEMORY).map(FileSystemKind::Memory))
        .unwrap_or(FileSystemKind::Local)
}
