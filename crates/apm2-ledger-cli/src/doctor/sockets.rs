//! Judges the socket files in the ledger directory.

use crate::{
    doctor::{
        check::Check,
        facts::{
            daemon::{AnswerFacts, DaemonFacts, StoreFacts},
            sockets::{SocketFacts, SocketFileFacts},
        },
    },
    render::words::typed_path,
};

/// The longest path in a socket address, in bytes (`sun_path`, unix(7)).
const PATH_BYTES_MAX: usize = 107;

pub(crate) fn judge(facts: &SocketFacts, daemon: &DaemonFacts) -> Vec<Check> {
    let is_answered = daemon.answer != AnswerFacts::Unconnected;
    let has_store = daemon.store != StoreFacts::Absent;
    vec![
        path(facts),
        file("socket_daemon", facts, "daemon.sock", &facts.daemon, is_answered),
        file("socket_descriptor_store", facts, "keeper.sock", &facts.fd_store, has_store),
    ]
}

fn path(facts: &SocketFacts) -> Check {
    const NAME: &str = "socket_path";
    let bytes = facts.path_bytes;
    match (bytes <= PATH_BYTES_MAX, facts.has_proc) {
        (true, _) => Check::ok(NAME, format!("the socket paths have at most {bytes} bytes of {PATH_BYTES_MAX}")),
        (false, true) => Check::note(
            NAME,
            format!(
                "a socket path has {bytes} bytes; this program connects through /proc/self/fd, others connect up to \
                 {PATH_BYTES_MAX} bytes"
            ),
        )
        .with_remedy("a shorter directory with --ledger DIR or APM2_LEDGER_DIR"),
        (false, false) => Check::problem(
            NAME,
            format!("a socket path has {bytes} bytes, and without /proc it may have {PATH_BYTES_MAX}"),
            "a shorter directory with --ledger DIR or APM2_LEDGER_DIR",
        ),
    }
}

fn file(name: &'static str, facts: &SocketFacts, file: &str, found: &SocketFileFacts, is_answered: bool) -> Check {
    let path = facts.path.with_file_name(file);
    let (path, typed) = (path.display(), typed_path(&path));
    match found {
        SocketFileFacts::Missing => Check::ok(name, format!("there is no {file}")),
        SocketFileFacts::Directory => {
            Check::problem(name, format!("{path} is a directory, where a socket has to be"), format!("rmdir {typed}"))
        }
        SocketFileFacts::Other => {
            Check::note(name, format!("{path} is not a socket; the next process that listens replaces it"))
                .with_remedy(format!("rm {typed}"))
        }
        SocketFileFacts::Socket { uid } if *uid != facts.uid => Check::problem(
            name,
            format!("{path} belongs to user {uid}, and this is user {}", facts.uid),
            format!("rm {typed}"),
        ),
        SocketFileFacts::Socket { .. } if is_answered => Check::ok(name, format!("{file} is used")),
        SocketFileFacts::Socket { .. } => Check::note(
            name,
            format!("{file} is stale: no process listens on it; the next one that listens replaces it"),
        )
        .with_remedy(format!("rm {typed}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{check::CheckStatus, daemon::tests::sound_daemon};

    fn sound() -> SocketFacts {
        SocketFacts {
            uid: 7,
            path: "/l/daemon.sock".into(),
            path_bytes: 14,
            has_proc: true,
            daemon: SocketFileFacts::Socket { uid: 7 },
            fd_store: SocketFileFacts::Socket { uid: 7 },
        }
    }

    fn statuses(facts: &SocketFacts, daemon: &DaemonFacts) -> Vec<CheckStatus> {
        judge(facts, daemon).into_iter().map(|check| check.status).collect()
    }

    #[test]
    fn sockets_are_judged_with_the_processes_that_listen() {
        use CheckStatus::{Note, Ok, Problem};
        let daemon = sound_daemon();
        assert_eq!(statuses(&sound(), &daemon), [Ok, Ok, Ok]);
        let absent = DaemonFacts { answer: AnswerFacts::Unconnected, store: StoreFacts::Absent, ..daemon.clone() };
        assert_eq!(statuses(&sound(), &absent), [Ok, Note, Note]);
        let long = SocketFacts { path_bytes: PATH_BYTES_MAX + 1, ..sound() };
        assert_eq!(statuses(&long, &daemon), [Note, Ok, Ok]);
        assert_eq!(statuses(&SocketFacts { has_proc: false, ..long }, &daemon), [Problem, Ok, Ok]);
        let files =
            SocketFacts { daemon: SocketFileFacts::Directory, fd_store: SocketFileFacts::Socket { uid: 8 }, ..sound() };
        assert_eq!(statuses(&files, &daemon), [Ok, Problem, Problem]);
    }
}
