//! Specifications without their secrets: the only form that is recorded or printed.

use std::{ops::Deref, time::Duration};

use crate::{duration::millis, health::HealthCheck, process::ProcessSpec, restart::BackoffConfig};

/// What stands where a secret stood.
pub const REDACTED: &str = "<redacted>";

/// Parts of names that make a value secret.
const SECRET_NAMES: [&str; 11] =
    ["KEY", "TOKEN", "SECRET", "PASS", "CRED", "AUTH", "COOKIE", "PRIVATE", "DSN", "DATABASE_URL", "BEARER"];

/// Beginnings that make a value secret whatever its name.
const SECRET_SHAPES: [&str; 9] = ["sk-", "ghp_", "gho_", "github_pat_", "xox", "AKIA", "eyJ", "glpat-", "-----BEGIN"];

/// A [`ProcessSpec`] whose environment values and secret-looking arguments are replaced by [`REDACTED`].
///
/// Only this type can enter an event, so a secret cannot be recorded by mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedactedSpec(Box<ProcessSpec>);

impl RedactedSpec {
    /// Takes the secrets out of `spec`, and from its durations what is finer than the milliseconds that are recorded.
    /// Doing it twice changes nothing.
    #[must_use]
    pub fn new(spec: &ProcessSpec) -> Self {
        let mut safe = spec.clone();
        safe.env.values_mut().for_each(|value| REDACTED.clone_into(value));
        safe.args = redact_args(&safe.args);
        for command in &mut safe.shutdown.pre_stop {
            *command = redact_args(command);
        }
        match safe.health.as_mut().map(|health| &mut health.check) {
            Some(HealthCheck::Script { args, .. }) => *args = redact_args(args),
            Some(HealthCheck::Http { url, .. }) => *url = redact_arg(url),
            Some(HealthCheck::Tcp { .. } | HealthCheck::Liveness) | None => {}
        }
        durations(&mut safe).into_iter().for_each(|duration| *duration = Duration::from_millis(millis(*duration)));
        Self(Box::new(safe))
    }
}

impl Deref for RedactedSpec {
    type Target = ProcessSpec;

    fn deref(&self) -> &ProcessSpec {
        &self.0
    }
}

/// Every duration in a specification.
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
    if let Some(health) = &mut spec.health {
        all.extend([&mut health.interval, &mut health.timeout, &mut health.initial_delay, &mut health.grace_period]);
    }
    all
}

/// The arguments with every secret-looking one masked, and every one that follows a secret-looking option.
fn redact_args(args: &[String]) -> Vec<String> {
    let mut after_secret_option = false;
    args.iter()
        .map(|arg| {
            let masked =
                if after_secret_option && !arg.starts_with("--") { REDACTED.to_owned() } else { redact_arg(arg) };
            after_secret_option = is_secret_option(arg);
            masked
        })
        .collect()
}

/// `--token x`, `-p x`: an option without `=` whose value is the next argument.
fn is_secret_option(arg: &str) -> bool {
    arg == "-p" || arg.strip_prefix("--").is_some_and(|name| !name.contains('=') && is_secret_name(name))
}

fn is_secret_name(name: &str) -> bool {
    let upper = name.to_ascii_uppercase().replace('-', "_");
    SECRET_NAMES.iter().any(|part| upper.contains(part))
}

/// One argument: `NAME=value` is judged by its name and by the shape of its value, anything else by its shape alone.
///
/// The words of an argument are judged one by one, since a whole script may be one argument (`sh -c 'X=… cmd'`).
fn redact_arg(arg: &str) -> String {
    // A key block spans lines and words: nothing of it is kept.
    if arg.contains("-----BEGIN") {
        return REDACTED.to_owned();
    }
    arg.split_inclusive(char::is_whitespace).map(redact_word).collect()
}

fn redact_word(word: &str) -> String {
    let (body, space) = word.split_at(word.trim_end().len());
    let masked = match body.split_once('=') {
        // Before any name: a token may end in `=`, and what it begins with is no name.
        _ if has_secret_shape(body) => REDACTED.to_owned(),
        Some((name, value)) if !value.is_empty() && (is_secret_name(name) || has_secret_shape(value)) => {
            format!("{name}={REDACTED}")
        }
        _ => mask_url_password(body),
    };
    format!("{masked}{space}")
}

fn has_secret_shape(value: &str) -> bool {
    let bare = value.trim_start_matches(['"', '\'', '(', ':', ',']);
    SECRET_SHAPES.iter().any(|shape| bare.starts_with(shape))
}

/// `scheme://user:pass@host` with the password masked; anything else as it is.
fn mask_url_password(word: &str) -> String {
    let masked = || {
        let (scheme, rest) = word.split_once("://")?;
        let (login, host) = rest.rsplit_once('@')?;
        let (user, _) = login.split_once(':')?;
        Some(format!("{scheme}://{user}:{REDACTED}@{host}"))
    };
    masked().unwrap_or_else(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restart::RestartConfig;

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
        assert_eq!(args_of(&["eyJmYKEYQ==", "sk-1=sk-2"]), [REDACTED, REDACTED]);
    }

    #[test]
    fn redacting_twice_changes_nothing() {
        let args = ["--token", "x", "a=sk-1", "sk-1=sk-2"];
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
