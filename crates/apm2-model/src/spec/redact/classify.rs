//! Decides which values are no secrets: placeholders, code, paths, words and numbers. The file `value.rs` finds the end
//! of a value.

/// Values that are never secrets: texts for a missing value (`null`), for a switch (`yes`) and for a masked value.
const NOTHING: [&str; 36] = [
    "",
    "none",
    "null",
    "nil",
    "undefined",
    "true",
    "false",
    "yes",
    "no",
    "on",
    "off",
    "missing",
    "empty",
    "unset",
    "redacted",
    "[redacted]",
    "[filtered]",
    "[masked]",
    "[hidden]",
    "(hidden)",
    "(redacted)",
    "(none)",
    "(null)",
    "(unset)",
    "(empty)",
    "[]",
    "{}",
    "()",
    "nan",
    "n/a",
    "-",
    "?",
    "enabled",
    "disabled",
    "...",
    "…",
];

/// The beginnings of texts that other programs write in place of a secret.
const MASKS: [&str; 8] = ["[redacted", "<redacted", "[filtered", "[masked", "[hidden", "[secure", "****", "••••"];

/// Words in a usage message that stand for a value.
const METAVARIABLES: [&str; 14] = [
    "VALUE",
    "VAL",
    "PASS",
    "PASSWORD",
    "PASSPHRASE",
    "FILE",
    "PATH",
    "TOKEN",
    "KEY",
    "SECRET",
    "STRING",
    "NAME",
    "URL",
    "ARG",
];

/// Names of types, as in the declaration of a field.
const TYPES: [&str; 25] = [
    "string",
    "str",
    "&str",
    "number",
    "boolean",
    "bool",
    "int",
    "integer",
    "any",
    "object",
    "bytes",
    "buffer",
    "text",
    "varchar",
    "option",
    "optional",
    "vec",
    "list",
    "dict",
    "map",
    "type",
    "void",
    "char",
    "float",
    "secretstring",
];

/// First words of statements about a value. Secret values hardly ever begin with these words.
const PROSE: [&str; 103] = [
    "a",
    "access",
    "already",
    "an",
    "and",
    "are",
    "at",
    "authentication",
    "authorization",
    "bad",
    "be",
    "but",
    "can",
    "cannot",
    "can't",
    "check",
    "command",
    "could",
    "couldn't",
    "decryption",
    "denied",
    "did",
    "do",
    "does",
    "doesn't",
    "error",
    "expected",
    "expired",
    "expires",
    "failed",
    "failure",
    "field",
    "for",
    "format",
    "found",
    "from",
    "got",
    "has",
    "have",
    "header",
    "if",
    "in",
    "incorrect",
    "insufficient",
    "invalid",
    "is",
    "isn't",
    "it",
    "its",
    "length",
    "lookup",
    "login",
    "malformed",
    "mismatch",
    "missing",
    "must",
    "need",
    "needs",
    "no",
    "not",
    "of",
    "on",
    "only",
    "or",
    "parameter",
    "parse",
    "permission",
    "please",
    "provide",
    "provided",
    "read",
    "refused",
    "rejected",
    "required",
    "requires",
    "revoked",
    "set",
    "should",
    "skipped",
    "some",
    "string",
    "such",
    "supplied",
    "the",
    "this",
    "to",
    "too",
    "unable",
    "unauthorized",
    "unbound",
    "undefined",
    "unexpected",
    "unknown",
    "unrecognized",
    "unset",
    "unsupported",
    "use",
    "value",
    "was",
    "which",
    "while",
    "will",
    "wrong",
];

/// Whether the value is a placeholder, or a text that stands for a missing value.
pub(crate) fn is_placeholder(value: &str) -> bool {
    let value = value.trim_end_matches([',', ';', ')']);
    let lower = value.to_ascii_lowercase();
    let is_one_character = value.len() >= 3
        && value.chars().next().is_some_and(|first| "*.xX•-_#?".contains(first) && value.chars().all(|c| c == first));
    NOTHING.contains(&lower.as_str())
        || MASKS.iter().any(|mask| lower.starts_with(mask))
        || METAVARIABLES.contains(&value)
        || is_one_character
        || is_reference(value)
}

/// Whether the value refers to another value by its name or by a command: `<your-token>`, `$TOKEN`, `${TOKEN}`, `$(cat
/// f)`, `%TOKEN%`, `{{ token }}`.
fn is_reference(value: &str) -> bool {
    let enclosed =
        |open: &str, close: &str| value.len() > open.len() && value.starts_with(open) && value.ends_with(close);
    let is_name = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
    };
    let variable = value.strip_prefix('$').map(|name| name.strip_prefix("env:").unwrap_or(name));
    let is_format = value.starts_with('%') && value.len() <= 6 && value.ends_with(|c: char| c.is_ascii_lowercase());
    is_format
        || (enclosed("<", ">") && !value.contains('/'))
        || enclosed("%", "%")
        || ["${", "$(", "{{", "`"].iter().any(|open| value.starts_with(open))
        || variable.is_some_and(is_name)
}

/// Whether the value is the name of a type.
pub(crate) fn is_type(value: &str) -> bool {
    let name =
        value.split(['<', '[', '(', ';', ',', '|', '?', ' ']).next().unwrap_or_default().trim_end_matches(['}', ')']);
    TYPES.contains(&name.to_ascii_lowercase().as_str())
}

/// Whether the value is an expression of a programming language: a call, an index, a field.
pub(crate) fn is_code(value: &str) -> bool {
    let name_end = value
        .bytes()
        .position(|byte| !(byte.is_ascii_alphanumeric() || b"_.:&*".contains(&byte)))
        .unwrap_or(value.len());
    let name = value.get(..name_end).unwrap_or_default();
    let is_identifier = name.starts_with(|c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '&' | '*'));
    let rest = value.get(name_end..).unwrap_or_default();
    // `Some("…")`, `Secret('…')`: these calls wrap a value, so they do not count as code.
    let is_wrapper = !name.contains('.') && name.starts_with(|c: char| c.is_ascii_uppercase());
    let is_called = (rest.starts_with('(') && !is_wrapper) || (rest.starts_with('[') && name.contains('.'));
    let is_path = rest.trim_matches([';', ',', ')', '?']).is_empty() && is_field_path(name);
    let is_choice = rest.starts_with(" || ") || rest.starts_with(" ?? ");
    is_identifier && (is_called || is_path || is_choice || name.starts_with("process.env"))
}

/// Whether the name is a path of fields without digits: `config.auth.token`.
fn is_field_path(name: &str) -> bool {
    let mut parts = 0;
    let all_words = name.split(['.', ':']).filter(|part| !part.is_empty()).all(|part| {
        parts += 1;
        part.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_')
    });
    let least = if name.starts_with(|c: char| c.is_ascii_uppercase()) { 3 } else { 2 };
    all_words && parts >= least
}

/// Whether the value is the path of a file.
pub(crate) fn is_path(value: &str) -> bool {
    let is_rooted = ["/", "./", "../", "~/", "$HOME/", "C:\\"].iter().any(|root| value.starts_with(root));
    is_rooted && !value.starts_with("//") && value.split(['/', '\\']).all(is_wordy)
}

/// Whether the text consists of words and small numbers, as names of files and hosts do. A random text does not.
pub(crate) fn is_wordy(piece: &str) -> bool {
    piece.split(|c: char| !c.is_ascii_alphanumeric()).all(|word| {
        let digits = word.bytes().filter(u8::is_ascii_digit).count();
        let tail = word.trim_start_matches(|c: char| c.is_ascii_alphabetic());
        let is_numbered = tail.len() == digits && digits <= 4;
        let is_number = digits == word.len() && digits <= 14;
        is_number || (is_numbered && !is_mixed_case(word))
    }) && piece.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-@,%".contains(&byte) || !byte.is_ascii())
}

/// Whether the value is an ordinary value of a variable: words, numbers, host names, addresses without a login.
pub(crate) fn is_ordinary(value: &str) -> bool {
    let is_punctuation = |byte: u8| b"._-/:,@+%=~".contains(&byte);
    let is_piece = |piece: &str| {
        let bytes = piece.as_bytes();
        piece.len() <= 3
            || bytes.iter().all(u8::is_ascii_digit)
            || (bytes.iter().all(u8::is_ascii_alphabetic) && piece.len() <= 20 && !is_mixed_case(piece))
    };
    let has_login = value.split_once("://").is_some_and(|(_, rest)| rest.contains('@'));
    !has_login
        && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || is_punctuation(byte))
        && value.split(|c: char| !c.is_ascii_alphanumeric()).all(is_piece)
}

/// Whether the word changes from small to capital letters more often than ordinary words do.
fn is_mixed_case(word: &str) -> bool {
    let bytes = word.as_bytes();
    let changes =
        bytes.windows(2).filter(|pair| matches!(pair, [a, b] if a.is_ascii_lowercase() && b.is_ascii_uppercase()));
    changes.count() > 3
}

pub(crate) fn is_number(value: &str) -> bool {
    let digits = value.bytes().filter(u8::is_ascii_digit).count();
    digits > 0
        && value.len() - digits <= 4
        && value.bytes().all(|byte| byte.is_ascii_digit() || b".,:%-+eskKMGBmh_x".contains(&byte))
}

/// Whether the line is a statement about a value: its first word is in [`PROSE`], and more words follow.
pub(crate) fn is_prose(line: &str) -> bool {
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let Some(first) = words.next() else { return false };
    let first = first.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_ascii_lowercase();
    let begins = PROSE.contains(&first.as_str());
    begins
        && (words.next().is_some()
            || line.ends_with(['.', '!'])
            || NOTHING.contains(&first.as_str())
            || first.len() > 6)
}

/// Whether the first two words of the line look like words of a sentence.
pub(crate) fn is_sentence(line: &str) -> bool {
    let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
    let is_word = |word: &str| {
        let word = word.trim_end_matches([',', '.', ':', ';', ')', '!']).trim_start_matches('(');
        !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'\'')
    };
    words.next().is_some_and(is_word) && words.next().is_some_and(is_word)
}

/// Whether the value has letters and digits, and is neither an ordinary value nor a UUID. Such a value is masked where
/// its name is weak evidence of a secret.
pub(crate) fn is_telling(value: &str) -> bool {
    let any = |is: fn(&u8) -> bool| value.as_bytes().iter().any(is);
    value.len() >= 8
        && any(u8::is_ascii_digit)
        && any(u8::is_ascii_alphabetic)
        && !is_ordinary(value)
        && !is_uuid(value)
        && !value.contains([' ', '\t'])
}

/// Whether the value looks random. Such a value is masked even where its name alone is no evidence of a secret.
pub(crate) fn looks_random(value: &str) -> bool {
    let any = |is: fn(&u8) -> bool| value.as_bytes().iter().any(is);
    value.len() >= 8
        && any(u8::is_ascii_digit)
        && any(u8::is_ascii_alphabetic)
        && !value.contains([' ', '\t'])
        && !value.split(['/', ':', '=', '+', '@']).all(is_wordy)
        && !is_uuid(value)
}

fn is_uuid(value: &str) -> bool {
    let lengths: Vec<usize> = value.split('-').map(str::len).collect();
    lengths == [8, 4, 4, 4, 12] && value.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
}

#[cfg(test)]
mod tests;
