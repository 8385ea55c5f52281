//! Judges the owners and modes of logs and launch files.

use crate::{
    doctor::{
        check::Check,
        facts::permissions::{ExposedFile, PermissionFacts},
    },
    render::words::{counted, typed_path},
};

pub(crate) fn judge(facts: &PermissionFacts) -> Vec<Check> {
    vec![
        files("permissions_logs", facts, "logs", "logs", &facts.logs),
        // Launch files contain the values of environment variables.
        files("permissions_launch_files", facts, "launch files", "launch", &facts.launches),
    ]
}

fn files(name: &'static str, facts: &PermissionFacts, what: &str, dir: &str, exposed: &[ExposedFile]) -> Check {
    let dir = typed_path(&facts.dir.join(dir));
    let Some(first) = exposed.first() else { return Check::ok(name, format!("the {what} are private to this user")) };
    let path = first.path.display();
    if let Some(foreign) = exposed.iter().find(|file| file.uid != facts.uid) {
        let path = foreign.path.display();
        let message = format!("{path} belongs to user {}, so it cannot be written", foreign.uid);
        return Check::problem(name, message, format!("chown -R {} {dir}", facts.uid));
    }
    let count = counted(u64::try_from(exposed.len()).unwrap_or(u64::MAX), "file");
    let message =
        format!("other users may access {count} of the {what}, the first is {path} with mode {:04o}", first.mode);
    Check::problem(name, message, format!("chmod -R go= {dir}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::CheckStatus;

    #[test]
    fn files_of_others_and_files_for_others_are_problems() {
        let private = PermissionFacts { uid: 7, dir: "/l".into(), ..PermissionFacts::default() };
        assert!(judge(&private).iter().all(|check| check.status == CheckStatus::Ok));
        let file = ExposedFile { path: "/l/launch/x.json".into(), uid: 7, mode: 0o644 };
        let open = PermissionFacts { launches: vec![file.clone()], ..private.clone() };
        assert_eq!(judge(&open)[1].remedy.as_deref(), Some("chmod -R go= /l/launch"));
        let foreign = PermissionFacts { logs: vec![ExposedFile { uid: 8, ..file }], ..private };
        assert_eq!(judge(&foreign)[0].remedy.as_deref(), Some("chown -R 7 /l/logs"));
    }
}
