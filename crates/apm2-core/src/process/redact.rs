//! Specifications without their secrets: the only form that is recorded or printed.

use std::{ops::Deref, time::Duration};

use crate::{duration::millis, health::HealthCheck, process::ProcessSpec, restart::BackoffConfig};

/// What stands where a secret stood.
pub const REDACTED: &str = "<redacted>";

/// Parts of names that make a value secret.
const SECRET_NAMES: [&str; 11] =
    ["KEY", "TOKEN", "SECRET", "PASS", "CRED", "AUTH", "COOKIE", "PRIVATE", "DSN", "DATABASE_URL", "BEARER"];

/// Beginnings that make a value secret whatever its name.
const SECRET_SHAPES: [&str; 12] =
    ["sk-", "sk_live_", "ghp_", "gho_", "github_pat_", "glpat-", "xox", "AKIA", "AIza", "hf_", "eyJ", "-----BEGIN"];

/// Words between a header's name and its secret.
const AUTH_SCHEMES: [&str; 4] = ["Bearer", "Basic", "Digest", "Token"];

/// Passes over a text that is masked further by each. What needs more of them is masked whole.
const PASSES_MAX: usize = 8;

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
        safe.command = redact_text(&safe.command);
        safe.args = redact_args(&safe.args);
        for command in &mut safe.shutdown.pre_stop {
            *command = redact_args(command);
        }
        match safe.health.as_mut().map(|health| &mut health.check) {
            Some(HealthCheck::Script { args, .. }) => *args = redact_args(args),
            Some(HealthCheck::Http { url, .. }) => *url = redact_text(url),
            Some(HealthCheck::Tcp { .. } | HealthCheck::Unix { .. } | HealthCheck::Liveness) | None => {}
        }
        if let Some(health) = &mut safe.health {
            health.env.values_mut().for_each(|value| REDACTED.clone_into(value));
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

/// The arguments without their secrets.
pub(crate) fn redact_args(args: &[String]) -> Vec<String> {
    settled(args.to_vec(), |args| mask_args(args)).unwrap_or_else(|| vec![REDACTED.to_owned(); args.len()])
}

/// `text` without its secrets: a command, a reason, an error.
pub(crate) fn redact_text(text: &str) -> String {
    settled(text.to_owned(), |text| Words::default().redact(text)).unwrap_or_else(|| REDACTED.to_owned())
}

/// What is left when `mask` finds nothing more: what was recorded must not be masked further when it is read.
fn settled<T: PartialEq>(mut text: T, mask: impl Fn(&T) -> T) -> Option<T> {
    for _ in 0..PASSES_MAX {
        let masked = mask(&text);
        if masked == text {
            return Some(masked);
        }
        text = masked;
    }
    None
}

/// Masks once. What an option or header at the end of an argument announces is in the next.
fn mask_args(args: &[String]) -> Vec<String> {
    let mut is_announced = false;
    args.iter()
        .map(|arg| {
            if std::mem::take(&mut is_announced) {
                return REDACTED.to_owned();
            }
            let mut words = Words::default();
            let masked = words.redact(arg);
            is_announced = words.is_announced;
            masked
        })
        .collect()
}

/// Text, word by word: one argument may be a whole script (`sh -c 'X=… cmd'`).
#[derive(Default)]
struct Words {
    /// Whether the next word is a secret.
    is_announced: bool,
    /// The quote that a secret began with and that it has not ended with yet.
    open_quote: Option<char>,
    /// Whether the rest of the line is secret.
    is_line_secret: bool,
}

impl Words {
    fn redact(&mut self, text: &str) -> String {
        // A key block spans lines and words: nothing of it is kept.
        if text.contains("-----BEGIN") || text.contains("-----END") {
            return REDACTED.to_owned();
        }
        // The value of an option is the rest of its argument, spaces too.
        if let Some((name, _)) = text.split_once('=')
            && name.starts_with('-')
            && !name.contains(char::is_whitespace)
            && is_secret_name(name)
        {
            return format!("{name}={REDACTED}");
        }
        text.split_inclusive(char::is_whitespace).map(|word| self.word(word)).collect()
    }

    fn word(&mut self, word: &str) -> String {
        let (body, space) = word.split_at(word.trim_end().len());
        if self.is_line_secret {
            self.is_line_secret = !space.contains('\n');
            return if self.is_line_secret { String::new() } else { "\n".to_owned() };
        }
        if let Some(quote) = self.open_quote {
            self.open_quote = (!body.ends_with(quote)).then_some(quote);
            return String::new();
        }
        if body.is_empty() {
            return word.to_owned();
        }
        format!("{}{space}", self.body(body))
    }

    fn body(&mut self, body: &str) -> String {
        if self.is_announced {
            // `Authorization: Bearer …`: the scheme is no secret, what follows is.
            self.is_announced = AUTH_SCHEMES.iter().any(|scheme| body.eq_ignore_ascii_case(scheme));
            return if self.is_announced { body.to_owned() } else { REDACTED.to_owned() };
        }
        if has_secret_shape(body) {
            return REDACTED.to_owned();
        }
        if let Some((kept, value)) = split_secret(body) {
            self.is_announced = value.is_empty();
            let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''));
            self.open_quote = quote.filter(|quote| value.len() == 1 || !value.ends_with(*quote));
            if value.is_empty() && kept.to_ascii_uppercase().contains("COOKIE") {
                // A header with many secrets: `Cookie: a=…; b=…`.
                self.is_announced = false;
                self.is_line_secret = true;
                return format!("{kept}{REDACTED}");
            }
            let kept = mask_url_login(kept);
            return if value.is_empty() { kept } else { format!("{kept}{REDACTED}") };
        }
        self.is_announced = is_secret_option(body) || body.eq_ignore_ascii_case("bearer");
        mask_url_login(body)
    }
}

/// `--token x`, `-p x`, `-u user:password`: an option whose value is the next word.
fn is_secret_option(word: &str) -> bool {
    word == "-p" || word == "-u" || (word.starts_with('-') && is_secret_name(word))
}

fn is_secret_name(name: &str) -> bool {
    let upper = name.to_ascii_uppercase().replace('-', "_");
    upper.trim_matches('_') == "PW" || SECRET_NAMES.iter().any(|part| upper.contains(part))
}

/// The part of a word up to and with the first `=` or `:` that follows a secret name, and the value behind it.
fn split_secret(word: &str) -> Option<(&str, &str)> {
    let separators = word.char_indices().filter(|(_, c)| matches!(c, '=' | ':'));
    separators.map(|(at, _)| word.split_at(at + 1)).find(|(kept, value)| {
        let name = kept.trim_end_matches(['=', ':', '"', '\'']);
        let start = name.rfind(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')));
        let name = name.get(start.map_or(0, |start| start + 1)..).unwrap_or_default();
        !value.starts_with("//") && is_secret_name(name)
    })
}

fn has_secret_shape(word: &str) -> bool {
    let mut pieces = word.split(['=', ':', ',', '&', '?', '/', '@', ';', '"', '\'', '(', '{', '[']);
    pieces.any(|piece| SECRET_SHAPES.iter().any(|shape| piece.starts_with(shape)))
}

/// `scheme://login@host` with the login's secret masked: the password, or all of it where there is no user before it.
fn mask_url_login(word: &str) -> String {
    let masked = || {
        let (scheme, rest) = word.split_once("://")?;
        let (login, host) = rest.rsplit_once('@')?;
        let user = login.split_once(':').map(|(user, _)| format!("{user}:")).unwrap_or_default();
        Some(format!("{scheme}://{user}{REDACTED}@{host}"))
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
        assert!(!redact_text("because ghp_LEAK was rotated, password=LEAK").contains("LEAK"));
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
