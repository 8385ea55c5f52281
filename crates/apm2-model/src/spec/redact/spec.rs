//! Specifications without their secrets. Only this form of a specification is recorded or printed.

use std::{fmt, ops::Deref, time::Duration};

use crate::{
    duration::millis,
    spec::{
        ProcessSpec,
        config::{
            agent_budget::AgentBudgets, agent_silence::AgentSilence, health::HealthCheck, restart::BackoffConfig,
        },
        redact::{known::Known, mark::REDACTED},
    },
};

/// A [`ProcessSpec`] whose environment values and secret-looking arguments are replaced by [`REDACTED`].
///
/// Events can contain only this type of specification, so a secret cannot be recorded by mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedactedSpec(Box<ProcessSpec>);

impl RedactedSpec {
    /// Masks the secrets in `spec`, and rounds its durations down to the milliseconds that are recorded. The values of
    /// its variables are also masked in all other fields. A second application changes nothing.
    #[must_use]
    pub fn new(spec: &ProcessSpec) -> Self {
        Self::without(spec, &Known::of_spec(spec))
    }

    /// Like [`new`](Self::new), but also masks the values in `known`, such as credentials.
    pub fn without(spec: &ProcessSpec, known: &Known) -> Self {
        let mut safe = spec.clone();
        mask(&mut safe, known);
        Self(Box::new(safe))
    }
}

/// Masks the secrets in `spec`, as [`RedactedSpec::new`] does.
pub fn redact_spec(spec: &mut ProcessSpec) {
    let known = Known::of_spec(spec);
    mask(spec, &known);
}

fn mask(safe: &mut ProcessSpec, known: &Known) {
    safe.env.values_mut().for_each(|value| REDACTED.clone_into(value));
    redact_command(&mut safe.command, &mut safe.args, known);
    for command in &mut safe.shutdown.pre_stop {
        *command = known.redact_args(std::mem::take(command));
    }
    match safe.health.as_mut().map(|health| &mut health.check) {
        Some(HealthCheck::Script { command, args }) => redact_command(command, args, known),
        Some(HealthCheck::Http { url: text, .. } | HealthCheck::Tcp { address: text }) => {
            *text = known.redact_text(text);
        }
        Some(HealthCheck::Unix { path }) => *path = known.redact_path(path),
        Some(HealthCheck::Liveness) | None => {}
    }
    if let Some(health) = &mut safe.health {
        health.env.values_mut().for_each(|value| REDACTED.clone_into(value));
    }
    for path in [&mut safe.cwd, &mut safe.stdin, &mut safe.log.stdout, &mut safe.log.stderr].into_iter().flatten() {
        *path = known.redact_path(path);
    }
    if let Some(agent) = &mut safe.agent {
        agent.first_args = known.redact_args(std::mem::take(&mut agent.first_args));
        agent.resume_args = known.redact_args(std::mem::take(&mut agent.resume_args));
    }
    if let Some(credentials) = &mut safe.credentials {
        credentials.profile = known.mask(&credentials.profile);
    }
    durations(safe).into_iter().for_each(|duration| *duration = Duration::from_millis(millis(*duration)));
}

/// Masks a program together with its arguments, because the meaning of an option depends on the program.
fn redact_command(command: &mut String, args: &mut Vec<String>, known: &Known) {
    let mut words = vec![std::mem::take(command)];
    words.append(args);
    let mut masked = known.redact_args(words).into_iter();
    *command = masked.next().unwrap_or_else(|| REDACTED.to_owned());
    args.extend(masked);
}

impl From<ProcessSpec> for RedactedSpec {
    /// As [`new`](Self::new).
    fn from(mut spec: ProcessSpec) -> Self {
        redact_spec(&mut spec);
        Self(Box::new(spec))
    }
}

impl Deref for RedactedSpec {
    type Target = ProcessSpec;

    fn deref(&self) -> &ProcessSpec {
        &self.0
    }
}

impl fmt::Debug for ProcessSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let safe = RedactedSpec::new(self);
        f.debug_struct("ProcessSpec")
            .field("id", &safe.id)
            .field("name", &safe.name)
            .field("command", &safe.command)
            .field("args", &safe.args)
            .field("cwd", &safe.cwd)
            .field("env", &safe.env)
            .field("instances", &safe.instances)
            .field("restart", &safe.restart)
            .field("health", &safe.health)
            .field("log", &safe.log)
            .field("shutdown", &safe.shutdown)
            .field("credentials", &safe.credentials)
            .field("stdin", &safe.stdin)
            .field("agent", &safe.agent)
            .finish()
    }
}

/// Rounds each duration in a specification down to milliseconds.
fn durations(spec: &mut ProcessSpec) -> Vec<&mut Duration> {
    let mut all = vec![
        &mut spec.restart.restart_window,
        &mut spec.restart.min_uptime,
        &mut spec.shutdown.timeout,
        &mut spec.log.rotate_age,
    ];
    match &mut spec.restart.backoff {
        BackoffConfig::Fixed { delay } => all.push(delay),
        BackoffConfig::Linear { initial, step, max } => all.extend([initial, step, max]),
        BackoffConfig::Exponential { initial, max, .. } => all.extend([initial, max]),
    }
    if let Some(agent) = &mut spec.agent {
        let AgentSilence { start, model, tool, result, reaction: _ } = &mut agent.silence;
        let AgentBudgets { run, session, day, memory_bytes: _ } = &mut agent.budget;
        all.extend([&mut agent.limit_wait_max, start, model, tool, result]);
        all.extend([run, session, day].into_iter().filter_map(|budget| budget.wall_time.as_mut()));
    }
    if let Some(health) = &mut spec.health {
        all.extend([&mut health.interval, &mut health.timeout, &mut health.initial_delay, &mut health.grace_period]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::config::restart::RestartConfig;

    fn args_of(args: &[&str]) -> Vec<String> {
        let spec = ProcessSpec::builder().name("n").command("c").args(args.iter().copied()).build();
        RedactedSpec::new(&spec).args.clone()
    }

    #[test]
    fn secrets_in_arguments_are_masked_by_name_shape_and_position() {
        assert_eq!(
            args_of(&["--token=abc", "--api-key", "abc", "plain"]),
            ["--token=<redacted>", "--api-key", REDACTED, "plain"]
        );
        assert_eq!(args_of(&["-p", "hunter2"]), ["-p", REDACTED]);
        assert_eq!(
            args_of(&["ghp_abcdef", "url=postgres://u:pw@h/db"]),
            [REDACTED, "url=postgres://u:<redacted>@h/db"]
        );
        assert_eq!(args_of(&["GITHUB_TOKEN=x make all"]), ["GITHUB_TOKEN=<redacted> make all"]);
        assert_eq!(args_of(&["-----BEGIN PRIVATE KEY-----\nabc def"]), [REDACTED]);
        assert_eq!(args_of(&["-c", "exit 7"]), ["-c", "exit 7"]);
        for plain in
            ["--max-old-space-size=4096", "http://localhost:8080/a?b=c", "2026-01-31T12:00:00Z", "a:b", "-print"]
        {
            assert_eq!(args_of(&[plain]), [plain]);
        }
    }

    #[test]
    fn no_part_of_a_secret_is_left_whatever_form_it_has() {
        let forms: [&[&str]; 22] = [
            &["--password=correct LEAK staple"],
            &["-c", "PASSWORD=\"a LEAK b\" run"],
            &["-H", "Authorization: Bearer LEAK"],
            &["-H", "X-Api-Key: LEAK"],
            &["-d", "{\"password\":\"LEAK\"}"],
            &["password:LEAK"],
            &["Bearer LEAK"],
            &["-token", "LEAK"],
            &["-passin", "pass:LEAK"],
            &["-u", "user:LEAK"],
            &["--token", "--LEAK"],
            &["-c", "curl --token LEAK http://h"],
            &["http://h/?a=b&token=LEAK"],
            &["https://LEAK@github.com"],
            &["http://user:LEAK@h/?token=abc"],
            &["-H", "Cookie: a=LEAK; b=LEAK"],
            &["sk_live_LEAK"],
            &["half of a key LEAK\n-----END PRIVATE KEY-----"],
            &["foo:ghp_LEAK"],
            &["a,eyJLEAK"],
            &["--env=PW=LEAK"],
            &["-H", "Authorization:", "LEAK"],
        ];
        for form in forms {
            let masked = args_of(form);
            assert!(!masked.join(" ").contains("LEAK"), "{form:?} became {masked:?}");
            let again: Vec<&str> = masked.iter().map(String::as_str).collect();
            assert_eq!(args_of(&again), masked, "redacting twice changes nothing");
        }
    }

    #[test]
    fn environment_values_never_reach_debug() {
        let spec = ProcessSpec::builder().name("n").command("c").env("SECRET", "hunter2").build();
        let text = format!("{spec:?} {:?}", RedactedSpec::new(&spec));
        assert!(text.contains("SECRET") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn a_token_is_masked_whole_whatever_it_holds() {
        assert_eq!(args_of(&["eyJ0b2tleQ=="]), [REDACTED]);
        assert_eq!(args_of(&["eyJmYKEYQ==", "sk-A1b2=sk-C3d4"]), [REDACTED, REDACTED]);
    }

    #[test]
    fn redacting_twice_changes_nothing() {
        let args = ["--token", "x", "a=sk-1", "sk-1=sk-2", "-:////@\u{1a}1IN////DSNE-:<redacted>"];
        let spec = ProcessSpec::builder().name("n").command("c").args(args).env("A", "b").build();
        let mut once = RedactedSpec::new(&spec);
        assert_eq!(RedactedSpec::new(&once), once);
        let fine = ProcessSpec {
            restart: RestartConfig { min_uptime: Duration::from_nanos(1_500_000), ..spec.restart.clone() },
            ..spec
        };
        once = RedactedSpec::new(&fine);
        assert_eq!(once.restart.min_uptime, Duration::from_millis(1));
        assert_eq!(RedactedSpec::new(&once), once);
    }
}
