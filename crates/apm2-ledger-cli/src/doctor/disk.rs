//! Judges the file system of the ledger.

use apm2_ledger::limits::DISK_FREE_BYTES_MIN;

use crate::{
    doctor::{
        check::Check,
        facts::{
            disk::{FileSystemFacts, FileSystemKind},
            ledger::LedgerFacts,
        },
    },
    render::words::{bytes, counted},
};

/// Free space below which there is a note, in bytes.
const FREE_BYTES_LOW: u64 = 8 * DISK_FREE_BYTES_MIN;

/// Free inodes without which no process can be started: a segment, a launch file, a directory and two logs, with some spare.
const FREE_INODES_MIN: u64 = 16;

/// Free inodes below which there is a note.
const FREE_INODES_LOW: u64 = 1024;

pub(crate) fn judge(facts: &LedgerFacts) -> Vec<Check> {
    match &facts.file_system {
        None => vec![Check::note("ledger_file_system", "the file system cannot be examined")],
        Some(found) => [Some(kind(found)), Some(space(found)), inodes(found)].into_iter().flatten().collect(),
    }
}

fn kind(found: &FileSystemFacts) -> Check {
    const NAME: &str = "ledger_file_system";
    const ELSEWHERE: &str = "name a directory on a local disk with --ledger DIR or APM2_LEDGER_DIR";
    match found.kind {
        _ if found.is_read_only => Check::problem(NAME, "the file system is mounted read-only", "mount -o remount,rw"),
        FileSystemKind::Network(name) => Check::note(
            NAME,
            format!("{name} is a network file system: locks, fdatasync and sockets may not work as on a local disk"),
        )
        .with_remedy(ELSEWHERE),
        FileSystemKind::Memory(name) => {
            Check::note(NAME, format!("{name} is in memory: the ledger is lost when the machine stops"))
                .with_remedy(ELSEWHERE)
        }
        FileSystemKind::Local => Check::ok(NAME, "it is on a local file system"),
    }
}

fn space(found: &FileSystemFacts) -> Check {
    const NAME: &str = "ledger_space";
    const REMEDY: &str = "free space on the disk; `apm2-ledger stats --disk` says what the ledger takes";
    let free = bytes(found.free_bytes);
    match found.free_bytes {
        0..DISK_FREE_BYTES_MIN => Check::problem(
            NAME,
            format!("{free} are free; below {} no process is started", bytes(DISK_FREE_BYTES_MIN)),
            REMEDY,
        ),
        DISK_FREE_BYTES_MIN..FREE_BYTES_LOW => {
            Check::note(NAME, format!("{free} are free; below {} no process is started", bytes(DISK_FREE_BYTES_MIN)))
                .with_remedy(REMEDY)
        }
        _ => Check::ok(NAME, format!("{free} are free")),
    }
}

fn inodes(found: &FileSystemFacts) -> Option<Check> {
    const NAME: &str = "ledger_inodes";
    const REMEDY: &str = "remove files; `df -i` says how many there may be";
    let inodes = found.free_inodes?;
    let free = format!("{} free", counted(inodes, "inode"));
    Some(match inodes {
        0..FREE_INODES_MIN => Check::problem(NAME, format!("{free}: no files can be created"), REMEDY),
        FREE_INODES_MIN..FREE_INODES_LOW => Check::note(NAME, free).with_remedy(REMEDY),
        _ => Check::ok(NAME, free),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{check::CheckStatus, ledger::tests::sound_ledger};

    const GOOD: FileSystemFacts = FileSystemFacts {
        kind: FileSystemKind::Local,
        free_bytes: 1 << 40,
        free_inodes: Some(1 << 20),
        is_read_only: false,
    };

    fn statuses(found: FileSystemFacts) -> Vec<CheckStatus> {
        let facts = LedgerFacts { file_system: Some(found), ..sound_ledger() };
        judge(&facts).into_iter().map(|check| check.status).collect()
    }

    #[test]
    fn each_limit_is_one_of_the_code() {
        use CheckStatus::{Note, Ok, Problem};
        assert_eq!(statuses(GOOD), [Ok, Ok, Ok]);
        assert_eq!(statuses(FileSystemFacts { free_bytes: DISK_FREE_BYTES_MIN - 1, ..GOOD }), [Ok, Problem, Ok]);
        assert_eq!(statuses(FileSystemFacts { free_bytes: DISK_FREE_BYTES_MIN, ..GOOD }), [Ok, Note, Ok]);
        assert_eq!(statuses(FileSystemFacts { free_inodes: Some(0), ..GOOD }), [Ok, Ok, Problem]);
        assert_eq!(statuses(FileSystemFacts { free_inodes: None, ..GOOD }), [Ok, Ok]);
        assert_eq!(statuses(FileSystemFacts { kind: FileSystemKind::Network("NFS"), ..GOOD }), [Note, Ok, Ok]);
        assert_eq!(statuses(FileSystemFacts { kind: FileSystemKind::Memory("tmpfs"), ..GOOD }), [Note, Ok, Ok]);
        assert_eq!(statuses(FileSystemFacts { is_read_only: true, ..GOOD }), [Problem, Ok, Ok]);
    }
}
