//! Finds values that are assigned to the name of a secret, in the notations of shells, programs, JSON, YAML, URLs and
//! connection strings.

mod sign;

use crate::spec::redact::{
    assignment::sign::{Assignment, INDENT_MAX, Sign, WORD_BYTES_MAX, assignment_at, begins_line, word_before},
    classify,
    name::{self, Strength, Verdict},
    span::Spans,
    text::{Text, is_blank, is_line_end, positions},
    value::{End, Value},
};

/// The greatest distance between two related assignments: `name: DB_PASSWORD`, and `value: …`, which holds the secret.
const PAIR_BYTES_MAX: usize = 80;

/// The least number of bytes of a URL parameter value that is masked as a secret.
const PARAMETER_BYTES_MIN: usize = 8;

/// The least number of bytes of an assigned value that is masked although its name is only weak evidence.
const FIELD_BYTES_MIN: usize = 6;

/// Words in names that are stronger evidence of a secret than `key`.
const TELLING: [&str; 6] = ["token", "pass", "auth", "cookie", "secret", "cred"];

/// Words before a name that show that the text is a failure message.
const FAILURES: [&str; 12] = [
    "cannot ",
    "can't ",
    "could not ",
    "couldn't ",
    "error",
    "fail",
    "invalid ",
    "missing ",
    "no ",
    "not ",
    "unable ",
    "unsupported ",
];

/// URL parameters that authenticate a request.
const PARAMETERS: [&str; 22] = [
    "assertion",
    "auth",
    "code",
    "cookie",
    "credential",
    "hmac",
    "jwt",
    "key",
    "mac",
    "otp",
    "pass",
    "se_token",
    "session",
    "sid",
    "sig",
    "sign",
    "signature",
    "ticket",
    "token",
    "x-amz-credential",
    "x-goog-credential",
    "x-amz-signature",
];

/// Finds the values that are secrets according to their names.
pub(crate) fn find(text: Text<'_>, spans: &mut Spans) {
    quoted(text, spans);
    if !["=", ":", ">"].iter().any(|sign| text.may_contain(sign)) {
        return;
    }
    let mut at = 0;
    // The end of a value that is the name of a secret, as in `name: DB_PASSWORD`. The assignment after it, `value: …`,
    // then holds the secret.
    let mut named_until = None;
    loop {
        at = text.find(at, |byte| matches!(byte, b'=' | b':' | b'>'));
        if at >= text.text.len() {
            return;
        }
        let Some(assignment) = assignment_at(text, at) else {
            at += 1;
            continue;
        };
        let is_named = std::mem::take(&mut named_until).is_some_and(|until| {
            assignment.start < until + PAIR_BYTES_MAX && assignment.name.eq_ignore_ascii_case("value")
        });
        if let Some(end) = secret(text, &assignment, is_named, spans) {
            at = end;
            continue;
        }
        named_until = names_next(text, &assignment);
        at += 1;
    }
}

/// Finds `password "…"`: a quoted text after the word and one blank.
fn quoted(text: Text<'_>, spans: &mut Spans) {
    for word in ["assword", "assphrase", "asswd"].into_iter().filter(|word| text.may_contain(word)) {
        for at in positions(text.text, word) {
            let end = at + word.len();
            let found = Value::at(text, end, End::Word);
            let is_next = found.is_quoted() && text.byte(end) == Some(b' ') && found.start == end + 2;
            if is_next && !found.sample.is_empty() && !classify::is_placeholder(found.sample) {
                spans.add(found.start..found.end(text, End::Word));
            }
        }
    }
}

/// Adds the assigned value to `spans` if it is a secret, and returns the end of this value. The end is after the
/// assignment operator.
fn secret(text: Text<'_>, assignment: &Assignment<'_>, is_named: bool, spans: &mut Spans) -> Option<usize> {
    let before = text.before(assignment.start);
    // A path and a message about the file, such as `/etc/passwd: not found`, are no assignment.
    if matches!(before, Some(b'/' | b'\\'))
        && matches!(assignment.sign, Sign::Colon | Sign::SpacedColon)
        && !assignment.is_quoted
    {
        return None;
    }
    let is_parameter = matches!(before, Some(b'?' | b'&')) && assignment.sign == Sign::Equals;
    let verdict = if is_named {
        Some(Verdict { strength: Strength::Strong, may_be_number: true })
    } else {
        judged(text, assignment)
    };
    if verdict.is_none() && !is_parameter {
        return None;
    }
    let is_option = assignment.name.starts_with('-') && assignment.sign == Sign::Equals;
    let end = end_of(text, assignment, verdict, is_parameter, is_option);
    let is_strong = verdict.is_some_and(|verdict| verdict.strength == Strength::Strong);
    if is_strong && let Some(end) = nested(text, assignment, spans) {
        return Some(end);
    }
    let found = Value::at(text, assignment.value_at, end);
    let is_secret = match verdict {
        _ if found.sample.is_empty() || classify::is_placeholder(found.sample) => false,
        Some(verdict) if verdict.strength == Strength::Strong => is_strong_secret(text, assignment, &found, verdict),
        Some(_) if is_weak_secret(assignment, &found, is_parameter) => true,
        _ => {
            let is_proof = is_parameter && is_proof(assignment.name);
            is_proof && found.sample.len() >= PARAMETER_BYTES_MIN && !classify::is_ordinary(found.sample)
        }
    };
    if !is_secret {
        return None;
    }
    let stop = found.end(text, end);
    spans.add(found.start..stop);
    Some(stop)
}

fn judged(text: Text<'_>, assignment: &Assignment<'_>) -> Option<Verdict> {
    let is_plain = !assignment.is_quoted && matches!(assignment.sign, Sign::SpacedColon | Sign::SpacedEquals);
    let before = if is_plain { word_before(text, assignment.start) } else { None };
    let verdict = match (assignment.name, before) {
        // `the password is: …`: the name of the value is the word before `is`.
        ("is", Some(name)) => name::judge(name, None),
        (name, before) => name::judge(name, before),
    };
    // An option, such as `--token=x`, always has a value. The same word in a message may have none.
    let is_option = assignment.name.starts_with('-') && assignment.sign == Sign::Equals;
    verdict.map(|verdict| {
        if is_option && is_telling(assignment.name) {
            Verdict { strength: Strength::Strong, ..verdict }
        } else {
            verdict
        }
    })
}

fn is_proof(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    PARAMETERS.contains(&lower.as_str()) || lower.starts_with("x-amz-security") || lower.starts_with("x-goog-signature")
}

fn end_of(
    text: Text<'_>,
    assignment: &Assignment<'_>,
    verdict: Option<Verdict>,
    is_parameter: bool,
    is_option: bool,
) -> End {
    let is_strong = verdict.is_some_and(|verdict| verdict.strength == Strength::Strong);
    if is_parameter {
        return End::Query;
    }
    if is_option && text.is_args && is_strong && text.before(assignment.start).is_none_or(is_line_end) {
        return End::Argument;
    }
    if assignment.sign == Sign::Equals {
        let from = assignment.start.saturating_sub(PAIR_BYTES_MAX);
        let before = text.text.as_bytes().get(from..assignment.start).unwrap_or_default();
        let line = before.rsplit(|byte| is_line_end(*byte)).next().unwrap_or_default();
        if line.ends_with(b";") || (line.ends_with(b"\"") && line.contains(&b';')) {
            return End::List;
        }
        return if line.contains(&b'?') { End::Query } else { End::Word };
    }
    let is_value = matches!(assignment.sign, Sign::SpacedColon | Sign::SpacedEquals);
    if is_strong && is_value && !assignment.is_quoted && begins_line(text, assignment) { End::Line } else { End::Word }
}

fn is_strong_secret(text: Text<'_>, assignment: &Assignment<'_>, found: &Value<'_>, verdict: Verdict) -> bool {
    let is_plain = !found.is_quoted();
    if found.sample.starts_with(['<', '[', '{', '(']) && is_plain && found.sample.len() < 3 {
        return false;
    }
    if is_plain && assignment.sign != Sign::Equals && names_another(found.sample) {
        return false;
    }
    let first_word = found.sample.split([' ', '\t']).next().unwrap_or_default();
    if classify::is_path(found.sample) || (!verdict.may_be_number && classify::is_number(first_word)) {
        return false;
    }
    let is_small = classify::is_number(found.sample) && found.sample.len() < 4;
    match assignment.sign {
        Sign::Equals => !(is_small || (is_plain && classify::is_code(found.sample) && !text.is_args)),
        Sign::SpacedEquals => {
            !is_small && !(is_plain && (classify::is_code(found.line(text)) || classify::is_type(found.sample)))
        }
        Sign::Colon | Sign::SpacedColon => {
            let said = if is_plain { found.line(text) } else { found.sample };
            let is_alone = assignment.is_quoted && is_plain;
            let is_message = is_plain && classify::is_sentence(said) && reports_failure(text, assignment.start);
            !is_small
                && !is_message
                && !classify::is_prose(said)
                && !(is_plain && (classify::is_type(found.sample) || classify::is_code(found.sample)))
                && !(is_alone && found.sample.contains(' '))
        }
    }
}

fn is_telling(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    TELLING.iter().any(|noun| lower.contains(noun))
}

/// Whether a value is itself the name of a variable that holds a secret: `passphrase: keyPassphrase`.
fn names_another(sample: &str) -> bool {
    let sample = sample.trim_end_matches([',', ';']);
    let is_identifier = sample.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let is_compound = sample.contains('_') || sample.bytes().skip(1).any(|byte| byte.is_ascii_uppercase());
    is_identifier
        && is_compound
        && sample.starts_with(|c: char| c.is_ascii_lowercase())
        && name::judge(sample, None).is_some()
}

fn is_weak_secret(assignment: &Assignment<'_>, found: &Value<'_>, is_parameter: bool) -> bool {
    let sample = found.sample;
    let is_code = !found.is_quoted() && (classify::is_code(sample) || sample.starts_with(['[', '{', '(']));
    if classify::is_path(sample) || classify::is_number(sample) || classify::is_prose(sample) || is_code {
        return false;
    }
    if !is_telling(assignment.name) {
        return classify::looks_random(sample);
    }
    let is_lower = |byte: u8| byte.is_ascii_lowercase() || b"_-. ".contains(&byte);
    let is_upper = |byte: u8| byte.is_ascii_uppercase() || byte == b'_';
    let is_word =
        sample.len() <= WORD_BYTES_MAX && (sample.bytes().skip(1).all(is_lower) || sample.bytes().all(is_upper));
    let is_field = assignment.is_quoted && found.is_quoted() && !sample.contains(' ');
    let is_given = !is_word && (is_field || assignment.sign == Sign::Equals) && sample.len() >= FIELD_BYTES_MIN;
    is_parameter || is_given || classify::is_telling(sample)
}

/// Whether the line contains a word of a failure message before the name.
fn reports_failure(text: Text<'_>, start: usize) -> bool {
    let from = start.saturating_sub(PAIR_BYTES_MAX);
    let before = text.text.as_bytes().get(from..start).unwrap_or_default();
    let line = before.rsplit(|byte| is_line_end(*byte)).next().unwrap_or_default();
    let line = String::from_utf8_lossy(line).to_ascii_lowercase();
    FAILURES.iter().any(|failure| line.contains(failure))
}

/// Masks the values of a list, or the lines of a YAML block, that are assigned to the name of a secret. Returns the end
/// of the masked range.
fn nested(text: Text<'_>, assignment: &Assignment<'_>, spans: &mut Spans) -> Option<usize> {
    let at = text.skip_blanks(assignment.value_at);
    match text.byte(at)? {
        b'[' => {
            let is_end = |byte: u8| byte == b']' || is_line_end(byte);
            let sample = text.sample(at + 1, PAIR_BYTES_MAX);
            let sample = sample.get(..sample.bytes().position(is_end).unwrap_or(sample.len()))?;
            let is_list =
                sample.contains(['"', '\'']) && !classify::is_prose(sample.trim_start_matches(['"', '\'', ' ']));
            is_list.then(|| {
                let end = text.find(at, is_end);
                spans.add(at + 1..end);
                end
            })
        }
        b'|' | b'>' if matches!(assignment.sign, Sign::SpacedColon) => block_scalar(text, assignment, at, spans),
        _ => None,
    }
}

/// Masks a YAML block scalar: the following lines that are indented further than the name.
fn block_scalar(text: Text<'_>, assignment: &Assignment<'_>, at: usize, spans: &mut Spans) -> Option<usize> {
    let line_end = text.find(at + 1, |byte| !matches!(byte, b'-' | b'+' | b' '));
    if text.byte(line_end) != Some(b'\n') {
        return None;
    }
    let indent = |start: usize| text.skip_blanks(start) - start;
    let own = (0..INDENT_MAX)
        .take_while(|back| text.before(assignment.start - back).is_some_and(|byte| is_blank(byte) || byte == b'-'))
        .count();
    let (mut end, mut next) = (line_end, line_end + 1);
    while text.byte(end).is_some_and(|byte| byte != 0) && text.byte(next).is_some() && indent(next) > own {
        end = text.line_end(next);
        next = end + 1;
    }
    let start = text.skip_blanks((line_end + 1).min(text.text.len()));
    (start < end).then(|| {
        spans.add(start..end);
        end
    })
}

/// The end of a value that is itself the name of a secret: `name: DB_PASSWORD`, `key="ApiSecret"`. The next assignment
/// then holds the secret.
fn names_next(text: Text<'_>, assignment: &Assignment<'_>) -> Option<usize> {
    if !["name", "key", "Name", "Key"].contains(&assignment.name) {
        return None;
    }
    let named = Value::at(text, assignment.value_at, End::Word);
    let is_secret = name::judge(named.sample, None).is_some_and(|verdict| verdict.strength == Strength::Strong);
    is_secret.then(|| named.start + named.sample.len())
}

#[cfg(test)]
mod tests;
