//! Builds a specification from the arguments of `run`.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
};

use apm2_model::spec::{
    ProcessSpec,
    config::{
        agent::AgentConfig,
        log::LogConfig,
        restart::{OnBoot, RestartConfig},
        shutdown::ShutdownConfig,
    },
    name::{NAME_CHARS_MAX, check_name, is_name_char},
};

use crate::{
    commands::run::{RunArgs, env_file},
    error::CliError,
    utf8,
};

/// The process name if the name of the program contains no character that a process name may contain.
const NAMELESS: &str = "process";

/// Builds the specification for these arguments, with a new process id.
///
/// # Errors
/// The arguments are not valid.
pub(crate) fn from_args(args: RunArgs) -> Result<ProcessSpec, CliError> {
    let Some((command, rest)) = args.command.split_first() else {
        return Err(CliError::usage("no command to run"));
    };
    // The command begins with `NAME=VALUE`. A shell would set this variable. Here, the text would be recorded, with its
    // value, as the name of the program.
    if command.split('/').next().is_some_and(|first| first.contains('=')) {
        return Err(CliError::usage("the command looks like an assignment; write --env NAME=VALUE before the --"));
    }
    let restart = RestartConfig {
        policy: args.restart,
        max_restarts: args.max_restarts,
        restart_window: args.restart_window,
        min_uptime: args.min_uptime,
        backoff: args.backoff.0,
        jitter_percent: 0,
        on_boot: OnBoot::default(),
    };
    let shutdown = ShutdownConfig { signal: args.stop_signal, timeout: args.stop_timeout, ..ShutdownConfig::default() };
    let agent = args.agent.map(|kind| AgentConfig { kind, ..AgentConfig::default() });
    let mut builder = ProcessSpec::builder()
        .name(args.name.unwrap_or_else(|| name_of(command)))
        .command(command)
        .args(rest)
        .restart(restart)
        .shutdown(shutdown)
        .log(LogConfig { merge: args.merge.is_merged(), ..LogConfig::default() });
    // The path is made absolute, so that the record is unambiguous and the working directory of the daemon does not
    // matter.
    builder = builder.cwd(directory(args.cwd)?);
    if let Some(agent) = agent {
        builder = builder.agent(agent);
    }
    for file in &args.env_file {
        for (name, value) in env_file::read(file)? {
            builder = builder.env(name, value);
        }
    }
    let mut given = HashSet::new();
    for variable in args.env {
        let (key, value) = variable.resolve()?;
        if !given.insert(key.clone()) {
            return Err(CliError::usage(format!("--env {key} is given twice")));
        }
        builder = builder.env(key, value);
    }
    builder.try_build().map_err(|error| CliError::usage(error.to_string()))
}

/// The working directory as an absolute path.
fn directory(given: Option<PathBuf>) -> Result<PathBuf, CliError> {
    let what = if given.is_some() { "--cwd" } else { "the current directory" };
    let here = |error: &io::Error| {
        let why = if error.kind() == io::ErrorKind::NotFound {
            "it does not exist any more".into()
        } else {
            error.to_string()
        };
        CliError::usage(format!("the current directory cannot be named: {why}"))
            .with_hint("give the command a directory with --cwd and a whole path, or go to another one first")
    };
    let whole = match given {
        Some(given) if given != Path::new(".") => std::path::absolute(given),
        _ => std::env::current_dir(),
    };
    let whole = whole.map_err(|error| here(&error))?;
    utf8::text(&whole, what)?;
    Ok(whole)
}

/// Checks the name that the user gave.
pub(crate) fn parse_name(text: &str) -> Result<String, String> {
    check_name(text).map(|()| text.to_owned()).map_err(|error| error.to_string())
}

/// A valid process name that is derived from the file name of the program.
fn name_of(command: &str) -> String {
    let base = Path::new(command).file_name().unwrap_or_default().to_string_lossy();
    let valid: String = base
        .chars()
        .map(|character| if is_name_char(character) { character } else { '-' })
        .skip_while(|first| !first.is_ascii_alphanumeric())
        .take(NAME_CHARS_MAX)
        .collect();
    if valid.is_empty() { NAMELESS.to_owned() } else { valid }
}

#[cfg(test)]
mod tests {
    use apm2_model::spec::config::restart::RestartPolicy;
    use clap::Parser as _;

    use super::*;
    use crate::{args::Args, commands::Command};

    fn spec(args: &[&str]) -> Result<ProcessSpec, CliError> {
        let args = Args::try_parse_from(["apm2-ledger", "run"].iter().chain(args)).unwrap();
        let Command::Run(args) = args.command else { panic!("not run") };
        from_args(args)
    }

    #[test]
    fn the_defaults_are_those_of_the_configuration_but_for_the_policy() {
        let spec = spec(&["--", "true"]).unwrap();
        assert_eq!(spec.restart, RestartConfig { policy: RestartPolicy::Never, ..RestartConfig::default() });
        assert_eq!(spec.shutdown, ShutdownConfig::default());
        assert_eq!((spec.name.as_str(), spec.command.as_str(), spec.instances), ("true", "true", 1));
    }

    #[test]
    fn what_follows_the_dashes_is_the_commands_own() {
        let spec = spec(&["--name", "n", "--", "sh", "--name", "x", "--", "-c"]).unwrap();
        assert_eq!(
            (spec.name.as_str(), spec.args.as_slice()),
            ("n", ["--name", "x", "--", "-c"].map(String::from).as_slice())
        );
    }

    #[test]
    fn a_relative_directory_is_recorded_whole() {
        let cwd = spec(&["--cwd", "src", "--", "true"]).unwrap().cwd.unwrap();
        assert_eq!(cwd, std::env::current_dir().unwrap().join("src"));
    }

    #[test]
    fn a_variable_given_twice_is_a_mistake() {
        let error = spec(&["--env", "A=hunter1", "--env", "A=hunter2", "--", "true"]).unwrap_err();
        assert!(error.exit_code() == 2 && !error.text().contains("hunter"), "{}", error.text());
    }

    #[test]
    fn names_that_cannot_be_typed_are_refused() {
        let longest = "n".repeat(NAME_CHARS_MAX);
        for name in ["a", "0", "claude-code_1.2", &longest] {
            assert_eq!(parse_name(name).as_deref(), Ok(name));
        }
        for name in ["", "-a", ".a", "a b", "a/b", "ä", "a\n", "a\x1b[2J", &format!("{longest}n")] {
            assert!(parse_name(name).is_err(), "{name:?} was accepted");
        }
    }

    #[test]
    fn a_program_lends_its_name() {
        for (command, name) in
            [("/usr/bin/make", "make"), ("./my script.sh", "my-script.sh"), ("--", "process"), ("/", "process")]
        {
            assert_eq!(name_of(command), name);
            assert_eq!(parse_name(&name_of(command)).as_deref(), Ok(name));
        }
        assert_eq!(name_of(&"x".repeat(100)).len(), NAME_CHARS_MAX);
    }
}
