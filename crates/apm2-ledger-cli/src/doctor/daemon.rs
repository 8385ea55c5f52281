//! Judges the daemon of the ledger and the file descriptor store.

use crate::{
    doctor::{
        check::Check,
        facts::daemon::{AnswerFacts, DaemonFacts, OwnerFacts, ProgramFacts, StoreFacts},
    },
    render::words::counted,
};

/// Ends the daemon and leaves its processes running; the next command starts another daemon.
const RENEW: &str = "apm2-ledger daemon --leave && apm2-ledger up";

pub(crate) fn judge(facts: &DaemonFacts) -> Vec<Check> {
    [Some(running(facts)), version(facts), program(facts), Some(store(facts))].into_iter().flatten().collect()
}

fn running(facts: &DaemonFacts) -> Check {
    const NAME: &str = "daemon";
    match (&facts.answer, &facts.owner) {
        (AnswerFacts::Answered { pid, version }, _) => {
            Check::ok(NAME, format!("process {pid} answers, version {version}"))
        }
        (AnswerFacts::NotAsked, OwnerFacts::Process { pid, .. }) => {
            Check::ok(NAME, format!("process {pid} has the ledger open; it was not asked (--offline)"))
        }
        (AnswerFacts::NotAsked, _) => Check::ok(NAME, "a process has the ledger open; it was not asked (--offline)"),
        (AnswerFacts::Poisoned(why), _) => Check::problem(
            NAME,
            format!("the daemon refuses to answer: {why}"),
            "mend the disk or the directory; the daemon opens the ledger again by itself",
        ),
        (AnswerFacts::Failed(why), OwnerFacts::Process { pid, .. }) => Check::problem(
            NAME,
            format!("process {pid} does not answer: {why}"),
            format!(
                "if it is stopped: kill -CONT {pid}; else kill -KILL {pid}, and the next daemon adopts its processes"
            ),
        ),
        (AnswerFacts::Failed(why), _) => {
            Check::problem(NAME, format!("the daemon does not answer: {why}"), "apm2-ledger daemon --leave")
        }
        (AnswerFacts::Unconnected, OwnerFacts::Process { pid, is_daemon: true, .. }) => Check::problem(
            NAME,
            format!("process {pid} has the ledger open and does not listen on its socket"),
            "apm2-ledger daemon --leave",
        ),
        (AnswerFacts::Unconnected, OwnerFacts::Process { pid, command, .. }) => Check::note(
            NAME,
            format!("process {pid} has the ledger open and is not a daemon, so that none can start: {command}"),
        )
        .with_remedy("wait until it has ended"),
        (AnswerFacts::Unconnected, OwnerFacts::Unseen) => Check::problem(
            NAME,
            "a process of another pid namespace has the ledger open",
            "use the command in the container of the daemon",
        ),
        (AnswerFacts::Unconnected, OwnerFacts::Unknown(why)) => {
            Check::note(NAME, format!("whether a daemon runs cannot be found out: {why}"))
        }
        (AnswerFacts::Unconnected, OwnerFacts::None) => without_daemon(NAME, facts),
    }
}

fn without_daemon(name: &'static str, facts: &DaemonFacts) -> Check {
    if let Some(pid) = facts.strays.first() {
        let message = format!("the daemon, process {pid}, has lost its directory, which was removed or renamed");
        return Check::problem(name, message, format!("rename the directory back, or end the daemon: kill {pid}"));
    }
    match facts.launched {
        0 => Check::ok(name, "none runs, and no process is supervised"),
        launched => {
            Check::note(name, format!("none runs, although {} would be supervised", counted(launched, "process")))
                .with_remedy("`apm2-ledger up` starts one; docs/daemon.md has a systemd unit")
        }
    }
}

fn version(facts: &DaemonFacts) -> Option<Check> {
    const NAME: &str = "daemon_version";
    let AnswerFacts::Answered { version, .. } = &facts.answer else { return None };
    Some(if version == facts.own_version {
        Check::ok(NAME, "daemon and command have the same version")
    } else {
        Check::note(NAME, format!("the daemon has version {version}, and this command {}", facts.own_version))
            .with_remedy(RENEW)
    })
}

fn program(facts: &DaemonFacts) -> Option<Check> {
    const NAME: &str = "daemon_program";
    let is_daemon = matches!(facts.owner, OwnerFacts::Process { is_daemon: true, .. });
    is_daemon.then(|| match facts.program {
        ProgramFacts::Present => Check::ok(NAME, "the program file of the daemon is the one that it was started from"),
        ProgramFacts::Unknown => Check::ok(NAME, "the program file of the daemon exists, as far as it can be read"),
        ProgramFacts::Changed => {
            Check::note(NAME, "the program file of the daemon has changed since it started: another version may be installed")
                .with_remedy(RENEW)
        }
        ProgramFacts::Deleted => Check::problem(
            NAME,
            "the program file of the daemon was removed or replaced since it started, so it cannot execute itself again",
            RENEW,
        ),
    })
}

fn store(facts: &DaemonFacts) -> Check {
    const NAME: &str = "descriptor_store";
    let has_daemon = matches!(facts.owner, OwnerFacts::Process { is_daemon: true, .. });
    match &facts.store {
        StoreFacts::Answers => Check::ok(NAME, "the file descriptor store answers"),
        StoreFacts::Failed(why) => Check::problem(
            NAME,
            format!("the file descriptor store does not answer: {why}"),
            "the daemon starts another one at the next start of a process: apm2-ledger restart NAME",
        ),
        StoreFacts::Absent if has_daemon && facts.launched > 0 => Check::note(
            NAME,
            "no file descriptor store runs; output and exit codes of running processes may be lost if the daemon is killed",
        )
        .with_remedy("the next start of a process starts one: apm2-ledger restart NAME"),
        StoreFacts::Absent => Check::ok(NAME, "none runs, and none is needed"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::doctor::check::CheckStatus;

    /// A daemon that supervises one process.
    pub(in crate::doctor) fn sound_daemon() -> DaemonFacts {
        DaemonFacts {
            owner: OwnerFacts::Process { pid: 5, is_daemon: true, command: "apm2-ledger daemon".to_owned() },
            answer: AnswerFacts::Answered { pid: 5, version: "1".to_owned() },
            program: ProgramFacts::Present,
            own_version: "1",
            store: StoreFacts::Answers,
            launched: 1,
            strays: Vec::new(),
        }
    }

    fn status(facts: &DaemonFacts, name: &str) -> CheckStatus {
        judge(facts).into_iter().find(|check| check.name == name).unwrap().status
    }

    #[test]
    fn a_daemon_that_answers_has_no_findings() {
        assert!(judge(&sound_daemon()).iter().all(|check| check.status == CheckStatus::Ok));
    }

    #[test]
    fn a_daemon_that_does_not_answer_is_a_problem() {
        let of = |answer| DaemonFacts { answer, ..sound_daemon() };
        for answer in [
            AnswerFacts::Unconnected,
            AnswerFacts::Poisoned("EIO".to_owned()),
            AnswerFacts::Failed("timeout".to_owned()),
        ] {
            assert_eq!(status(&of(answer), "daemon"), CheckStatus::Problem);
        }
        let other = OwnerFacts::Process { pid: 5, is_daemon: false, command: "x".to_owned() };
        let other = DaemonFacts { owner: other, ..of(AnswerFacts::Unconnected) };
        assert_eq!(status(&other, "daemon"), CheckStatus::Note);
    }

    #[test]
    fn a_machine_without_a_daemon_is_sound_if_nothing_is_supervised() {
        let none = DaemonFacts {
            owner: OwnerFacts::None,
            answer: AnswerFacts::Unconnected,
            store: StoreFacts::Absent,
            launched: 0,
            ..sound_daemon()
        };
        assert_eq!(status(&none, "daemon"), CheckStatus::Ok);
        assert_eq!(status(&DaemonFacts { launched: 2, ..none.clone() }, "daemon"), CheckStatus::Note);
        assert_eq!(status(&DaemonFacts { strays: vec![9], ..none }, "daemon"), CheckStatus::Problem);
    }

    #[test]
    fn program_version_and_store_have_checks_of_their_own() {
        let old = DaemonFacts { own_version: "2", ..sound_daemon() };
        assert_eq!(status(&old, "daemon_version"), CheckStatus::Note);
        let deleted = DaemonFacts { program: ProgramFacts::Deleted, ..sound_daemon() };
        assert_eq!(status(&deleted, "daemon_program"), CheckStatus::Problem);
        let changed = DaemonFacts { program: ProgramFacts::Changed, ..sound_daemon() };
        assert_eq!(status(&changed, "daemon_program"), CheckStatus::Note);
        let offline = DaemonFacts { answer: AnswerFacts::NotAsked, ..sound_daemon() };
        assert_eq!(status(&offline, "daemon"), CheckStatus::Ok);
        let absent = DaemonFacts { store: StoreFacts::Absent, ..sound_daemon() };
        assert_eq!(status(&absent, "descriptor_store"), CheckStatus::Note);
        let failed = DaemonFacts { store: StoreFacts::Failed("EPIPE".to_owned()), ..sound_daemon() };
        assert_eq!(status(&failed, "descriptor_store"), CheckStatus::Problem);
    }
}
