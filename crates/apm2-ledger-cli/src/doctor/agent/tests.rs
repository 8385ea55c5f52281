//! Each fault of a set-up, and sound ones.

use std::collections::BTreeSet;

use apm2_model::spec::{
    ProcessSpec,
    config::agent::{AgentChoice, AgentConfig},
};

use super::*;
use crate::doctor::check::CheckStatus;

fn facts(kind: AgentKind, args: &[&str]) -> AgentFacts {
    let mut config = AgentConfig { kind: AgentChoice::Kind(kind), ..AgentConfig::default() };
    config.resume_args = vec!["--resume".to_owned(), SESSION.to_owned()];
    config.budget.memory_bytes = Some(1);
    config.silence.reaction = Reaction::Restart;
    config.repetition.reaction = Reaction::Stop;
    let mut spec = ProcessSpec::builder().name("a").command("c").args(args.iter().copied()).build();
    spec.restart.policy = RestartPolicy::OnFailure;
    spec.stdin = Some("prompt.md".into());
    let (kind, program) = (Some(kind), ProgramForm::Other);
    AgentFacts {
        spec,
        config: Box::new(config),
        kind,
        program,
        is_root: false,
        variables: BTreeSet::new(),
        is_logged_in: true,
    }
}

fn claude() -> AgentFacts {
    let args = ["-p", "--output-format", "stream-json", "--verbose", "--permission-mode=dontAsk", "{session-args}"];
    facts(AgentKind::ClaudeCode, &args)
}

fn codex() -> AgentFacts {
    facts(AgentKind::Codex, &["exec", "--json", "-s", "workspace-write", "{session-args}", "-"])
}

fn gemini() -> AgentFacts {
    let mut facts = facts(AgentKind::Gemini, &["--output-format", "stream-json", "--yolo", "--skip-trust"]);
    facts.variables.insert("GEMINI_CLI_NO_RELAUNCH".to_owned());
    facts
}

/// The checks that are not ok.
fn faults(facts: &AgentFacts) -> Vec<(&'static str, CheckStatus)> {
    let checks = judge(facts).into_iter().filter(|check| check.status != CheckStatus::Ok);
    checks.map(|check| (check.name, check.status)).collect()
}

#[test]
fn a_sound_set_up_of_each_agent_has_no_fault() {
    for facts in [claude(), codex(), gemini()] {
        assert_eq!(faults(&facts), [], "{:?}", facts.kind);
    }
}

#[test]
fn each_fault_is_found_by_its_check() {
    use CheckStatus::{Note, Problem};
    let with = |mut facts: AgentFacts, change: &dyn Fn(&mut AgentFacts)| {
        change(&mut facts);
        faults(&facts)
    };
    let without = |facts: AgentFacts, arg: &'static str| with(facts, &|facts| facts.spec.args.retain(|one| one != arg));
    assert_eq!(without(claude(), "--verbose"), [("agent_output", Problem)]);
    assert_eq!(without(claude(), "stream-json"), [("agent_output", Problem)]);
    assert_eq!(without(claude(), "--permission-mode=dontAsk"), [("agent_permissions", Problem)]);
    assert_eq!(without(codex(), "--json"), [("agent_output", Problem)]);
    assert_eq!(without(codex(), "-"), [("agent_prompt", Problem)]);
    assert_eq!(without(gemini(), "--yolo"), [("agent_permissions", Problem)]);
    assert_eq!(with(gemini(), &|facts| facts.variables.clear()), [("agent_signals", Problem)]);
    assert_eq!(with(codex(), &|facts| facts.program = ProgramForm::NodeScript), [("agent_program", Problem)]);
    assert_eq!(with(claude(), &|facts| facts.program = ProgramForm::NodeScript), [("agent_program", Note)]);
    assert_eq!(with(claude(), &|facts| facts.program = ProgramForm::Missing), [("agent_program", Problem)]);
    assert_eq!(with(claude(), &|facts| facts.spec.stdin = None), [("agent_prompt", Note)]);
    assert_eq!(with(codex(), &|facts| facts.spec.stdin = None), [("agent_prompt", Problem)]);
    assert_eq!(with(claude(), &|facts| facts.is_logged_in = false), [("agent_credentials", Note)]);
    let key = |facts: &mut AgentFacts| {
        facts.is_logged_in = false;
        facts.variables.insert("ANTHROPIC_API_KEY".to_owned());
    };
    assert_eq!(with(claude(), &key), []);
    assert_eq!(with(claude(), &|facts| facts.config.resume_args.clear()), [("agent_session", Note)]);
    assert_eq!(with(claude(), &|facts| facts.config.resume_args.truncate(1)), [("agent_session", Problem)]);
    assert_eq!(with(claude(), &|facts| facts.spec.args.push("--session-id".to_owned())), [("agent_session", Problem)]);
    let chosen = |facts: &mut AgentFacts| facts.config.first_args = vec![SESSION.to_owned()];
    assert_eq!((with(claude(), &chosen), with(codex(), &chosen)), (vec![], vec![("agent_session", Problem)]));
    assert_eq!(with(claude(), &|facts| facts.spec.restart.policy = RestartPolicy::Never), [("agent_restart", Problem)]);
    assert_eq!(with(claude(), &|facts| facts.config.budget = AgentBudgets::default()), [("agent_budget", Note)]);
    assert_eq!(with(claude(), &|facts| facts.config.silence.reaction = Reaction::Record), [("agent_silence", Note)]);
    assert_eq!(with(claude(), &|facts| facts.spec.shutdown.end_orphans = false), [("agent_signals", Problem)]);
    let skips = |facts: &mut AgentFacts| {
        facts.spec.args.push("--dangerously-skip-permissions".to_owned());
        facts.is_root = true;
    };
    assert_eq!(with(claude(), &skips), [("agent_permissions", Problem)]);
    let in_sandbox = |facts: &mut AgentFacts| {
        skips(facts);
        facts.variables.insert("IS_SANDBOX".to_owned());
    };
    assert_eq!(with(claude(), &in_sandbox), []);
}
