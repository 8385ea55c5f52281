//! Judges the set-up of an agent that is to work unattended. docs/agents.md has the reasons.

use apm2_model::spec::{
    agent_kind::AgentKind,
    config::{agent::SESSION, agent_budget::AgentBudgets, reaction::Reaction, restart::RestartPolicy},
};

use crate::doctor::{
    check::Check,
    facts::agent::{AgentFacts, ProgramForm},
};

/// The checks of one agent. Each message begins with its name.
pub(crate) fn judge(facts: &AgentFacts) -> Vec<Check> {
    let checks = [
        program(facts),
        output(facts),
        permissions(facts),
        signals(facts),
        prompt(facts),
        credentials(facts),
        session(facts),
        restart(facts),
        budget(facts),
        reactions(facts),
    ];
    let name = &facts.spec.name;
    checks.into_iter().map(|check| Check { message: format!("{name}: {}", check.message), ..check }).collect()
}

/// Whether an argument is one of `options`, with or without a value after `=`.
fn has(facts: &AgentFacts, options: &[&str]) -> bool {
    let is_one = |arg: &String| options.iter().any(|option| arg.split('=').next() == Some(*option));
    facts.spec.args.iter().any(is_one)
}

/// Whether the option has this value, as the next argument or after `=`.
fn has_value(facts: &AgentFacts, options: &[&str], values: &[&str]) -> bool {
    let joined = |arg: &String| {
        arg.split_once('=').is_some_and(|(option, value)| options.contains(&option) && values.contains(&value))
    };
    let apart = facts.spec.args.windows(2).any(|pair| match pair {
        [option, value] => options.contains(&option.as_str()) && values.contains(&value.as_str()),
        _ => false,
    });
    apart || facts.spec.args.iter().any(joined)
}

fn program(facts: &AgentFacts) -> Check {
    const NAME: &str = "agent_program";
    let command = &facts.spec.command;
    match (facts.program, facts.kind) {
        (ProgramForm::Missing, _) => {
            Check::problem(NAME, format!("there is no program {command}"), "install it, or set command to its path")
        }
        (ProgramForm::NodeScript, Some(AgentKind::Codex)) => Check::problem(
            NAME,
            format!("{command} is the wrapper for Node, whose end by SIGKILL leaves the agent running"),
            "set command to vendor/x86_64-unknown-linux-musl/bin/codex of the package @openai/codex-linux-x64",
        ),
        (ProgramForm::NodeScript, Some(AgentKind::ClaudeCode)) => {
            Check::note(NAME, format!("{command} is a script for Node; the native binary needs no other program"))
                .with_remedy("install @anthropic-ai/claude-code-linux-x64")
        }
        (ProgramForm::NodeScript | ProgramForm::Other, _) => Check::ok(NAME, format!("{command} can be used")),
    }
}

fn output(facts: &AgentFacts) -> Check {
    const NAME: &str = "agent_output";
    let stream_json = || has_value(facts, &["--output-format"], &["stream-json"]);
    let (is_right, arguments) = match facts.kind {
        Some(AgentKind::ClaudeCode) => (
            has(facts, &["-p", "--print"]) && stream_json() && has(facts, &["--verbose"]),
            "-p --output-format stream-json --verbose",
        ),
        Some(AgentKind::Codex) => (has(facts, &["exec"]) && has(facts, &["--json"]), "exec --json"),
        Some(AgentKind::Gemini | AgentKind::QwenCode) => (stream_json(), "--output-format stream-json"),
        Some(AgentKind::OpenCode) => {
            (has(facts, &["run"]) && has_value(facts, &["--format"], &["json"]), "run --format json")
        }
        Some(AgentKind::Custom) => return Check::ok(NAME, "it prints lines of the form of custom agents"),
        None => {
            return Check::note(NAME, "its kind is found out by its first line")
                .with_remedy("set kind in [process.agent]");
        }
    };
    if is_right {
        return Check::ok(NAME, "its arguments ask for lines of JSON");
    }
    Check::problem(NAME, "its arguments do not ask for lines of JSON", format!("add to args: {arguments}"))
}

fn permissions(facts: &AgentFacts) -> Check {
    const NAME: &str = "agent_permissions";
    let (never_asks, arguments) = match facts.kind {
        Some(AgentKind::ClaudeCode) => (
            has(facts, &["--dangerously-skip-permissions", "--allowedTools", "--allowed-tools"])
                || has_value(facts, &["--permission-mode"], &["dontAsk", "bypassPermissions"])
                || has_value(facts, &["--permission-prompts"], &["none"]),
            "--permission-mode dontAsk --allowedTools …",
        ),
        Some(AgentKind::Gemini | AgentKind::QwenCode) => {
            (has(facts, &["--yolo", "-y"]) || has_value(facts, &["--approval-mode"], &["yolo"]), "--yolo")
        }
        Some(AgentKind::Codex) => {
            (has(facts, &["-s", "--sandbox", "--dangerously-bypass-approvals-and-sandbox"]), "-s workspace-write")
        }
        Some(AgentKind::OpenCode | AgentKind::Custom) | None => {
            return Check::note(NAME, "whether it waits for a person cannot be seen here");
        }
    };
    let skips = has(facts, &["--dangerously-skip-permissions"])
        || has_value(facts, &["--permission-mode"], &["bypassPermissions"]);
    if facts.kind == Some(AgentKind::ClaudeCode) && skips && facts.is_root && !facts.variables.contains("IS_SANDBOX") {
        return Check::problem(
            NAME,
            "Claude Code refuses to skip permissions as root",
            "run it as another user, or set env IS_SANDBOX = \"1\" in a container",
        );
    }
    if never_asks {
        return Check::ok(NAME, "it does not wait for a person");
    }
    Check::problem(NAME, "it may wait for a person to permit a tool", format!("add to args: {arguments}"))
}

fn signals(facts: &AgentFacts) -> Check {
    const NAME: &str = "agent_signals";
    if facts.kind == Some(AgentKind::Gemini) && !facts.variables.contains("GEMINI_CLI_NO_RELAUNCH") {
        return Check::problem(
            NAME,
            "Gemini CLI starts itself a second time, and signals to the first process stop nothing",
            "set env GEMINI_CLI_NO_RELAUNCH = \"true\"",
        );
    }
    if !facts.spec.shutdown.end_orphans {
        return Check::problem(
            NAME,
            "its tools run in sessions of their own and are not ended with it",
            "leave out shutdown.end_orphans",
        );
    }
    Check::ok(NAME, "its processes are ended with it")
}

fn prompt(facts: &AgentFacts) -> Check {
    const NAME: &str = "agent_prompt";
    let reads_stdin = has(facts, &["-"]);
    match (&facts.spec.stdin, facts.kind) {
        (Some(_), Some(AgentKind::Codex)) if !reads_stdin => {
            Check::problem(NAME, "Codex CLI does not read stdin without the argument -", "add to args: -")
        }
        (Some(_), _) => Check::ok(NAME, "its prompt is read from a file"),
        (None, Some(AgentKind::Codex)) if reads_stdin => {
            Check::problem(NAME, "the argument - reads a prompt from stdin, which is empty", "set stdin to a file")
        }
        (None, Some(AgentKind::Custom)) => Check::ok(NAME, "it gets no prompt"),
        (None, _) => {
            Check::note(NAME, "a prompt in args is recorded, and shown by ps").with_remedy("set stdin to a file")
        }
    }
}

fn credentials(facts: &AgentFacts) -> Check {
    const NAME: &str = "agent_credentials";
    let variables: &[&str] = match facts.kind {
        Some(AgentKind::ClaudeCode) => &["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"],
        Some(AgentKind::Codex) => &["CODEX_API_KEY", "OPENAI_API_KEY"],
        Some(AgentKind::Gemini) => &["GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_APPLICATION_CREDENTIALS"],
        Some(AgentKind::QwenCode) => &["OPENAI_API_KEY", "DASHSCOPE_API_KEY"],
        Some(AgentKind::OpenCode | AgentKind::Custom) | None => &[],
    };
    let named = variables.iter().find(|name| facts.variables.contains(**name));
    match named {
        Some(name) => Check::ok(NAME, format!("it gets {name}")),
        None if facts.is_logged_in => Check::ok(NAME, "a login is stored in its home directory"),
        None if variables.is_empty() => Check::note(NAME, "its credentials cannot be seen here"),
        None => Check::note(NAME, "it has no key in its environment, and no login is stored in its home directory")
            .with_remedy(format!("log in, or set one of {} in env or credentials", variables.join(", "))),
    }
}

fn session(facts: &AgentFacts) -> Check {
    const NAME: &str = "agent_session";
    let config = &facts.config;
    let has_session = |args: &[String]| args.iter().any(|arg| arg.contains(SESSION));
    if has(facts, &["--resume", "--session-id", "-r", "resume"]) {
        let remedy = "move them to first_args and resume_args of [process.agent]";
        return Check::problem(NAME, "args name a session, which each run then has", remedy);
    }
    if facts.kind == Some(AgentKind::Codex) && has_session(&config.first_args) {
        return Check::problem(NAME, "Codex CLI chooses the identifier of a session itself", "leave out first_args");
    }
    if config.resume_args.is_empty() {
        return Check::note(NAME, "each run begins a new session").with_remedy("set resume_args in [process.agent]");
    }
    if !has_session(&config.resume_args) {
        return Check::problem(NAME, "resume_args do not have {session}", "add {session} to resume_args");
    }
    Check::ok(NAME, "a restart goes on with its session")
}

fn restart(facts: &AgentFacts) -> Check {
    const NAME: &str = "agent_restart";
    match facts.spec.restart.policy {
        RestartPolicy::Never => {
            Check::problem(NAME, "it is not started again after a usage limit", "set restart.policy to on-failure")
        }
        RestartPolicy::Always => Check::note(NAME, "it is started again after it has succeeded, too"),
        RestartPolicy::OnFailure => Check::ok(NAME, "it is started again after failures and limits"),
    }
}

fn budget(facts: &AgentFacts) -> Check {
    const NAME: &str = "agent_budget";
    if facts.config.budget == AgentBudgets::default() {
        return Check::note(NAME, "nothing limits what it uses").with_remedy("set [process.agent.budget]");
    }
    Check::ok(NAME, "budgets limit what it uses")
}

fn reactions(facts: &AgentFacts) -> Check {
    const NAME: &str = "agent_silence";
    let (silence, repetition) = (facts.config.silence.reaction, facts.config.repetition.reaction);
    match (silence, repetition) {
        (Reaction::Record, _) => {
            Check::note(NAME, "a silence is recorded only").with_remedy("set silence.reaction to restart")
        }
        (_, Reaction::Record) => Check::note(NAME, "a loop is recorded only").with_remedy("set loop.reaction to stop"),
        _ => Check::ok(NAME, "it does not go on after a silence or a loop"),
    }
}

#[cfg(test)]
mod tests;
