//! Decides from the name of a value whether the value is a secret. The lists of words are in `name/words.rs`.

mod words;

use std::sync::LazyLock;

use crate::spec::redact::{
    characters::Characters,
    name::words::{
        ABOUT, AFTER, ENDINGS, KEY_KINDS, NOUNS, Noun, OPEN_KEYS, OPEN_PASSES, OPEN_TOKENS, SWITCHES, VERBS,
    },
};

/// How strongly a name suggests that its value is a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Strength {
    /// The name is weak evidence: the value must also look like a secret.
    Weak,
    /// The name is strong evidence: the value is a secret whatever it looks like.
    Strong,
}

/// The result for a name: how strongly the name suggests a secret, and whether the secret can be a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) strength: Strength,
    /// Whether a number can be the secret. True for passwords; false for tokens, because the number can be a count of
    /// tokens.
    pub(crate) may_be_number: bool,
}

/// The greatest number of words of a name that are examined. In a longer name, only the last words are examined.
const WORDS_MAX: usize = 12;

/// The characters of each noun and ending.
static NOUN_CHARACTERS: LazyLock<Vec<Characters>> =
    LazyLock::new(|| NOUNS.iter().chain(&ENDINGS).map(|(noun, _)| Characters::of(noun)).collect());

/// Whether the text can contain a noun for a secret. Most names cannot, and need not be split into words.
fn may_contain_noun(text: &str) -> bool {
    let characters = Characters::of(text);
    NOUN_CHARACTERS.iter().any(|noun| characters.include(*noun))
}

/// Decides whether the value with this name is a secret; `None` if it is not. `before` is the word before the name in
/// plain text.
pub(crate) fn judge(name: &str, before: Option<&str>) -> Option<Verdict> {
    if !may_contain_noun(name) && before.is_none_or(|before| !may_contain_noun(before)) {
        return None;
    }
    let is_constant =
        name.bytes().any(|byte| byte.is_ascii_uppercase()) && !name.bytes().any(|byte| byte.is_ascii_lowercase());
    let mut words = words_of(name);
    let is_compound = words.len() > 1;
    if let ([_], Some(before)) = (words.as_slice(), before) {
        words.insert(0, before.to_ascii_lowercase());
    }
    let (at, noun) = words.iter().enumerate().rev().find_map(|(at, word)| noun_of(word).map(|noun| (at, noun)))?;
    // The slice begins with the noun. The noun itself never makes one of the two tests fail.
    let after = words.get(at..).unwrap_or_default();
    if words.iter().any(|word| word == "public") || after.iter().any(|word| ABOUT.contains(&word.as_str())) {
        return None;
    }
    let is_known_after = after.iter().all(|word| AFTER.contains(&word.as_str()) || noun_of(word).is_some());
    let is_certain = matches!(noun, Noun::Password | Noun::Secret);
    if !(is_known_after || (is_certain && is_constant)) {
        return None;
    }
    let kind = at.checked_sub(1).and_then(|before| words.get(before)).map(String::as_str);
    let is_function = !is_constant && words.first().is_some_and(|first| VERBS.contains(&first.as_str()));
    if is_compound && (is_function || kind.is_some_and(|kind| SWITCHES.contains(&kind))) {
        return None;
    }
    let strength = strength_of(noun, kind, is_constant, is_compound, name)?;
    let may_be_number = matches!(noun, Noun::Password | Noun::Secret) && !name.ends_with('s');
    Some(Verdict { strength, may_be_number })
}

fn strength_of(noun: Noun, kind: Option<&str>, is_constant: bool, is_compound: bool, name: &str) -> Option<Strength> {
    let strong_if = |is_strong: bool| Some(if is_strong { Strength::Strong } else { Strength::Weak });
    match (noun, kind) {
        (Noun::Password | Noun::Secret | Noun::Dsn, _) => Some(Strength::Strong),
        (Noun::Key, Some(kind)) if KEY_KINDS.contains(&kind) => Some(Strength::Strong),
        (Noun::Key, Some(kind)) if OPEN_KEYS.contains(&kind) => None,
        (Noun::Key, _) => strong_if(is_constant),
        (Noun::Token, Some(kind)) if OPEN_TOKENS.contains(&kind) => None,
        (Noun::Token, Some("access" | "api" | "auth" | "bearer" | "bot" | "refresh" | "secret" | "session")) => {
            Some(Strength::Strong)
        }
        (Noun::Pass, Some(kind)) if OPEN_PASSES.contains(&kind) => None,
        (Noun::Token | Noun::Pass, _) => strong_if(is_compound || is_constant),
        // `_auth` is the name in an `.npmrc` file.
        (Noun::Auth, _) => strong_if(is_constant || name.starts_with('_')),
        (Noun::Signature, Some("access")) => Some(Strength::Strong),
        (Noun::Credential | Noun::Signature | Noun::Cookie, _) => strong_if(is_constant && noun != Noun::Signature),
    }
}

fn noun_of(word: &str) -> Option<Noun> {
    let word = word.trim_end_matches(|c: char| c.is_ascii_digit());
    let by_itself = NOUNS.iter().find(|(noun, _)| *noun == word);
    by_itself.or_else(|| ENDINGS.iter().find(|(ending, _)| word.ends_with(ending))).map(|(_, noun)| *noun)
}

/// The words of a name, in small letters: `API_KEY`, `apiKey`, `X-Api-Key` and `api.key` all have the words `api` and
/// `key`.
fn words_of(name: &str) -> Vec<String> {
    // The system property option of Java: `-Dpassword=…`.
    let name = name.strip_prefix("-D").unwrap_or(name);
    let mut words = Vec::new();
    let mut word = String::new();
    let characters: Vec<char> = name.chars().collect();
    for (at, c) in characters.iter().enumerate() {
        let before = at.checked_sub(1).and_then(|at| characters.get(at));
        let after = characters.get(at + 1);
        let is_hump = c.is_ascii_uppercase()
            && (before.is_some_and(|before| before.is_ascii_lowercase() || before.is_ascii_digit())
                || (before.is_some_and(char::is_ascii_uppercase) && after.is_some_and(char::is_ascii_lowercase)));
        if (is_hump || !c.is_ascii_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if c.is_ascii_alphanumeric() {
            word.push(c.to_ascii_lowercase());
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    if words.len() > 1 && words.last().is_some_and(|word| word.bytes().all(|byte| byte.is_ascii_digit())) {
        words.pop();
    }
    let first = words.len().saturating_sub(WORDS_MAX);
    words.split_off(first)
}

#[cfg(test)]
mod tests;
