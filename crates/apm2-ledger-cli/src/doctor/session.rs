//! Judges whether the end of a login session ends the daemon.

use crate::doctor::{check::Check, facts::session::SessionFacts};

pub(crate) fn judge(facts: &SessionFacts) -> Vec<Check> {
    vec![session(facts)]
}

fn session(facts: &SessionFacts) -> Check {
    const NAME: &str = "session";
    let user = &facts.user;
    if !facts.is_systemd {
        return Check::ok(NAME, "no systemd, which could end the daemon with a login session");
    }
    let is_in_session = facts.cgroup.contains("/session-") && facts.cgroup.ends_with(".scope");
    let is_of_user_manager = facts.cgroup.contains("/user@");
    if is_in_session && facts.kills_user_processes {
        return Check::problem(
            NAME,
            "the daemon is killed at the end of this login session (KillUserProcesses=yes)",
            format!("loginctl enable-linger {user}, then start the daemon as a user unit: docs/daemon.md has one"),
        );
    }
    if is_of_user_manager && !facts.is_lingering {
        return Check::problem(
            NAME,
            format!("the daemon is stopped when the last session of {user} ends: the user does not linger"),
            format!("loginctl enable-linger {user}"),
        );
    }
    Check::ok(NAME, "the end of a login session does not end the daemon")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::CheckStatus;

    #[test]
    fn a_daemon_must_not_end_with_a_session() {
        let of = |cgroup: &str, is_lingering, kills_user_processes| {
            let facts = SessionFacts {
                is_systemd: true,
                user: "ada".to_owned(),
                cgroup: cgroup.to_owned(),
                is_lingering,
                kills_user_processes,
            };
            session(&facts).status
        };
        let (scope, unit) =
            ("/user.slice/user-7.slice/session-2.scope", "/user.slice/user@7.service/app.slice/d.service");
        assert_eq!([of(scope, false, false), of(scope, true, true)], [CheckStatus::Ok, CheckStatus::Problem]);
        assert_eq!([of(unit, false, false), of(unit, true, true)], [CheckStatus::Problem, CheckStatus::Ok]);
        assert_eq!(of("/system.slice/apm2.service", false, true), CheckStatus::Ok);
        assert_eq!(
            session(&SessionFacts { cgroup: scope.to_owned(), kills_user_processes: true, ..SessionFacts::default() })
                .status,
            CheckStatus::Ok
        );
    }
}
