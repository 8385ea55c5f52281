//! An AI coding agent of the ecosystem file: its settings, its program and its credentials.

use std::{
    collections::BTreeSet,
    env, fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use apm2_model::spec::{
    ProcessSpec,
    agent_kind::AgentKind,
    config::agent::{AgentChoice, AgentConfig},
    launch::LaunchSpec,
};

/// Bytes of a program that say what it is.
const HEAD_BYTES: usize = 128;

/// What a program is, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProgramForm {
    Missing,
    /// A script that Node runs.
    NodeScript,
    Other,
}

/// The facts about one agent.
#[derive(Debug, Clone)]
pub(crate) struct AgentFacts {
    pub(crate) spec: ProcessSpec,
    pub(crate) config: Box<AgentConfig>,
    /// As set, or by the name of the program.
    pub(crate) kind: Option<AgentKind>,
    pub(crate) program: ProgramForm,
    pub(crate) is_root: bool,
    /// The names of the variables that the agent gets: those of its settings and its credentials.
    pub(crate) variables: BTreeSet<String>,
    /// Whether a file of the agent exists that a login leaves.
    pub(crate) is_logged_in: bool,
}

impl AgentFacts {
    /// The facts about an agent; `None` for a process that is none.
    pub(crate) fn look(launch: &LaunchSpec) -> Option<Self> {
        let spec = launch.spec.clone();
        let config = spec.agent.clone()?;
        let kind = match config.kind {
            AgentChoice::Kind(kind) => Some(kind),
            AgentChoice::Auto => AgentKind::of_program(&spec.command),
        };
        let of_credentials = spec.credentials.iter().flat_map(|credentials| credentials.variables.keys());
        let variables = spec.env.keys().chain(of_credentials).cloned().collect();
        let home = spec.env.get("HOME").map(PathBuf::from).or_else(env::home_dir);
        let is_logged_in = home.is_some_and(|home| login_file(kind).is_some_and(|file| home.join(file).exists()));
        let program = form_of(&spec);
        let is_root = rustix::process::geteuid().is_root();
        Some(Self { spec, config, kind, program, is_root, variables, is_logged_in })
    }
}

/// The file below the home directory that a login leaves.
const fn login_file(kind: Option<AgentKind>) -> Option<&'static str> {
    match kind {
        Some(AgentKind::ClaudeCode) => Some(".claude/.credentials.json"),
        Some(AgentKind::Codex) => Some(".codex/auth.json"),
        Some(AgentKind::Gemini) => Some(".gemini/oauth_creds.json"),
        Some(AgentKind::QwenCode) => Some(".qwen/oauth_creds.json"),
        Some(AgentKind::OpenCode) => Some(".local/share/opencode/auth.json"),
        Some(AgentKind::Custom) | None => None,
    }
}

fn form_of(spec: &ProcessSpec) -> ProgramForm {
    let Some(file) = found(spec) else { return ProgramForm::Missing };
    let mut head = Vec::new();
    let read = fs::File::open(file).and_then(|file| file.take(HEAD_BYTES as u64).read_to_end(&mut head));
    let first_line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let is_node = first_line.starts_with(b"#!") && first_line.windows(4).any(|word| word == b"node");
    match read {
        Err(_) => ProgramForm::Missing,
        Ok(_) if is_node => ProgramForm::NodeScript,
        Ok(_) => ProgramForm::Other,
    }
}

/// The file of the program: a path from its working directory, or a name in `PATH`.
fn found(spec: &ProcessSpec) -> Option<PathBuf> {
    let command = Path::new(&spec.command);
    if command.components().count() > 1 {
        let dir = spec.cwd.clone().unwrap_or_default();
        return Some(dir.join(command)).filter(|file| file.is_file());
    }
    let path = spec.env.get("PATH").map(Into::into).or_else(|| env::var_os("PATH"))?;
    env::split_paths(&path).map(|dir| dir.join(command)).find(|file| file.is_file())
}
