//! Judges the ecosystem file and the processes in it.

use crate::{
    doctor::{check::Check, facts::ecosystem::EcosystemFacts},
    render::words::{counted, typed_path},
};

pub(crate) fn judge(facts: Option<&EcosystemFacts>) -> Vec<Check> {
    let Some(facts) = facts else { return vec![Check::ok("ecosystem_file", "there is no ./ecosystem.toml")] };
    let file = facts.file.display();
    let processes = match &facts.processes {
        Err(why) => {
            return vec![Check::problem(
                "ecosystem_file",
                why,
                "docs/ecosystem.md has every setting: apm2-ledger up --help",
            )];
        }
        Ok(processes) => processes,
    };
    let count = counted(u64::try_from(processes.len()).unwrap_or(u64::MAX), "process");
    let mut checks = vec![Check::ok("ecosystem_file", format!("{file} is valid and has {count}"))];
    let obstacles: Vec<Check> = processes
        .iter()
        .filter_map(|process| {
            let message = format!("{} cannot be started: {}", process.name, process.obstacle.as_ref()?);
            Some(Check::problem("ecosystem_process", message, format!("correct this setting in {file}")))
        })
        .collect();
    if obstacles.is_empty() {
        checks.push(Check::ok("ecosystem_process", "programs, working directories and log files can be used"));
    }
    checks.extend(obstacles);
    checks.extend(facts.refusal.as_ref().map(|why| {
        Check::problem(
            "ecosystem_plan",
            format!("`up` refuses the file: {why}"),
            format!("apm2-ledger up --dry-run {}", typed_path(&facts.file)),
        )
    }));
    checks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{check::CheckStatus, facts::ecosystem::ProcessFacts};

    fn found(facts: &EcosystemFacts) -> Vec<(&'static str, CheckStatus)> {
        judge(Some(facts)).into_iter().map(|check| (check.name, check.status)).collect()
    }

    #[test]
    fn each_process_that_cannot_start_is_a_problem() {
        use CheckStatus::{Ok as Good, Problem};
        let process = |name: &str, obstacle: Option<&str>| ProcessFacts {
            name: name.to_owned(),
            obstacle: obstacle.map(str::to_owned),
        };
        let sound = EcosystemFacts { file: "e.toml".into(), processes: Ok(vec![process("a", None)]), refusal: None };
        assert_eq!(found(&sound), [("ecosystem_file", Good), ("ecosystem_process", Good)]);
        let broken = vec![process("a", Some("no program")), process("b", None), process("c", Some("no directory"))];
        let broken =
            EcosystemFacts { processes: Ok(broken), refusal: Some("a name is taken".to_owned()), ..sound.clone() };
        let expected = [
            ("ecosystem_file", Good),
            ("ecosystem_process", Problem),
            ("ecosystem_process", Problem),
            ("ecosystem_plan", Problem),
        ];
        assert_eq!(found(&broken), expected);
        let invalid = EcosystemFacts { processes: Err("line 1".to_owned()), ..sound };
        assert_eq!(found(&invalid), [("ecosystem_file", Problem)]);
        assert!(judge(None).iter().all(|check| check.status == Good));
    }
}
