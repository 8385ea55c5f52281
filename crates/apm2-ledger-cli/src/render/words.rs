//! Formats recorded facts as text: times, durations, command lines, actors, exits.

use std::{borrow::Cow, path::Path, time::Duration};

use apm2_model::event::{actor::Actor, kind::StartTrigger};

use crate::render::escape::{escape, is_unsafe, push_escaped};

/// The text for the trigger of a start.
pub(crate) fn trigger(trigger: StartTrigger) -> String {
    match trigger {
        StartTrigger::Start => "start".to_owned(),
        StartTrigger::Restart { attempt } => format!("restart {attempt}"),
        StartTrigger::Boot => "boot".to_owned(),
    }
}

/// What is said of the states at a time without a daemon. The page of `report` has the same sentence.
pub(crate) const NO_DAEMON_THEN: &str = "No daemon ran then, so this is what was recorded last.";

/// The placeholder for a missing value.
pub(crate) const NOTHING: &str = "-";

/// Formats a duration with its two largest units: `3h 12m`, `1s 250ms`.
pub(crate) fn duration(duration: Duration) -> String {
    let whole_ms = Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    let text = humantime::format_duration(whole_ms).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Formats a command on one line, without control characters. It is quoted so that a shell parses it into the same
/// arguments.
pub(crate) fn command_line<'a>(command: &'a str, args: impl IntoIterator<Item = &'a String>) -> String {
    let mut line = quote(command).into_owned();
    for word in args {
        line.push(' ');
        line.push_str(&quote(word));
    }
    line
}

/// Formats one argument: unquoted, in `'…'`, or in `$'…'` when it contains characters that have to be escaped.
fn quote(word: &str) -> Cow<'_, str> {
    let is_bare = |character: char| character.is_ascii_alphanumeric() || "%+,-./:=@_".contains(character);
    if word.chars().any(is_unsafe) {
        Cow::Owned(dollar_quoted(word))
    } else if !word.is_empty() && word.chars().all(is_bare) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

fn dollar_quoted(word: &str) -> String {
    let mut quoted = String::from("$'");
    for character in word.chars() {
        match character {
            '\'' | '\\' => quoted.extend(['\\', character]),
            _ if is_unsafe(character) => push_escaped(&mut quoted, character),
            _ => quoted.push(character),
        }
    }
    quoted.push('\'');
    quoted
}

/// The text for the actor that caused an event: a user, the daemon, or a policy.
pub(crate) fn actor(actor: &Actor) -> String {
    match actor {
        Actor::Operator { uid, user, terminal } => {
            let name = user.as_ref().map_or_else(|| format!("uid {uid}"), |user| escape(user).into_owned());
            match terminal {
                Some(terminal) => format!("{name}@{}", escape(terminal)),
                None => name,
            }
        }
        Actor::Policy => "policy".to_owned(),
        Actor::Health => "health".to_owned(),
        Actor::Recovery => "recovery".to_owned(),
        Actor::System => "system".to_owned(),
    }
}

/// Formats a count with thousands separators.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a count with its noun in the singular or plural: `1 event`, `2 events`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let ending = match (number, noun.ends_with('s')) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{} {noun}{ending}", count(number))
}

/// Formats a number of bytes with a binary prefix: `512 B`, `1.5 MiB`.
pub(crate) fn bytes(number: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if number < 1024 {
        return format!("{number} B");
    }
    // The logarithm to the base 1024 of a number of 64 bits is at most 6.
    let exponent = number.ilog2() / 10;
    let unit = UNITS.get(exponent as usize - 1).copied().unwrap_or("EiB");
    let tenths = (u128::from(number) * 10) >> (10 * exponent);
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

/// Formats bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A path as it can be typed in a shell.
pub(crate) fn typed_path(path: &Path) -> String {
    command_line(&path.to_string_lossy(), [])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(words: &[&str]) -> String {
        let (command, args) = words.split_first().unwrap();
        let args: Vec<String> = args.iter().map(ToString::to_string).collect();
        command_line(command, &args)
    }

    #[test]
    fn a_command_line_can_be_typed_again() {
        assert_eq!(line(&["make", "-j4", "CC=gcc"]), "make -j4 CC=gcc");
        assert_eq!(line(&["sh", "-c", "exit 7", ""]), "sh -c 'exit 7' ''");
        assert_eq!(line(&["echo", "it's", "*", "<redacted>"]), r"echo 'it'\''s' '*' '<redacted>'");
    }

    #[test]
    fn a_command_line_cannot_steer_a_terminal() {
        assert_eq!(line(&["echo", "a'\x1b[2J\\\n"]), r"echo $'a\'\x1b[2J\\\n'");
        assert_eq!(line(&["echo", "\u{202e}"]), r"echo $'\u202e'");
    }

    #[test]
    fn durations_have_two_units_at_most() {
        assert_eq!(duration(Duration::from_millis(1250)), "1s 250ms");
        assert_eq!(duration(Duration::from_secs(3 * 3600 + 12 * 60 + 5)), "3h 12m");
        assert_eq!(duration(Duration::from_nanos(999)), "0s");
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!((counted(1, "event"), counted(0, "event")), ("1 event".to_owned(), "0 events".to_owned()));
    }

    #[test]
    fn bytes_have_a_binary_prefix() {
        let all = [0, 1023, 1024, 1536, 10_485_760, u64::MAX].map(bytes);
        assert_eq!(all, ["0 B", "1023 B", "1.0 KiB", "1.5 KiB", "10.0 MiB", "15.9 EiB"]);
    }

    #[test]
    fn actors_have_names() {
        let operator = |user: Option<&str>, terminal: Option<&str>| Actor::Operator {
            uid: 7,
            user: user.map(Into::into),
            terminal: terminal.map(Into::into),
        };
        assert_eq!(actor(&operator(Some("ada"), Some("pts/0"))), "ada@pts/0");
        assert_eq!(actor(&operator(None, None)), "uid 7");
        assert_eq!(actor(&operator(Some("a\x1bb"), None)), "a\\x1bb");
    }
}
