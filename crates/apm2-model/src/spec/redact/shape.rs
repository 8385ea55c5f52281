//! Finds tokens by their form alone: by the prefix of their provider, or by another characteristic form.

use std::{iter, sync::LazyLock};

use crate::spec::redact::{
    span::Spans,
    text::{Text, is_space},
};

/// The characters of a token after its prefix, besides letters and digits.
const JOINED: &str = "_-";

const DOTTED: &str = "_-.";

const ENCODED: &str = "_-.+/=~";

/// An additional condition that distinguishes a token from a word with the same prefix.
#[derive(Clone, Copy)]
enum Sign {
    /// No condition: the prefix is sufficient.
    None,
    /// At least one digit or one capital letter.
    Mixed,
    /// At least one digit, and no small letter.
    Upper,
    /// At least one digit, and at most 8 characters more than the least length. For tokens of hexadecimal digits, which
    /// have a fixed length.
    Hex,
}

/// The form of a token: its prefix, the least length of the rest, the characters of the rest besides letters and
/// digits, and an additional condition.
type Shape = (&'static str, usize, &'static str, Sign);

const SHAPES: [Shape; 96] = [
    // Tokens of providers of language models.
    ("sk-", 4, JOINED, Sign::Mixed),
    ("xai-", 16, JOINED, Sign::Mixed),
    ("gsk_", 16, "", Sign::Mixed),
    ("pplx-", 16, "", Sign::Mixed),
    ("hf_", 8, "", Sign::Mixed),
    ("api_org_", 16, "", Sign::Mixed),
    ("r8_", 16, "", Sign::Mixed),
    ("nvapi-", 16, JOINED, Sign::Mixed),
    ("csk-", 16, "", Sign::Mixed),
    ("tgp_v1_", 8, JOINED, Sign::Mixed),
    ("lsv2_", 16, "_", Sign::Mixed),
    ("pcsk_", 16, "_", Sign::Mixed),
    ("jina_", 16, JOINED, Sign::Mixed),
    ("tvly-", 8, JOINED, Sign::Mixed),
    ("fc-", 32, "", Sign::Hex),
    ("pa-", 32, JOINED, Sign::Mixed),
    // Tokens of code hosts and package registries.
    ("ghp_", 4, "_", Sign::None),
    ("gho_", 4, "_", Sign::None),
    ("ghu_", 4, "_", Sign::None),
    ("ghs_", 4, "_", Sign::None),
    ("ghr_", 4, "_", Sign::None),
    ("github_pat_", 4, "_", Sign::None),
    ("glpat-", 4, DOTTED, Sign::None),
    ("gldt-", 8, JOINED, Sign::Mixed),
    ("glrt-", 8, JOINED, Sign::Mixed),
    ("glptt-", 8, JOINED, Sign::Mixed),
    ("glcbt-", 8, JOINED, Sign::Mixed),
    ("glsoat-", 8, JOINED, Sign::Mixed),
    ("glagent-", 8, JOINED, Sign::Mixed),
    ("gloas-", 8, JOINED, Sign::Mixed),
    ("npm_", 20, "", Sign::Mixed),
    ("pypi-", 16, JOINED, Sign::Mixed),
    ("rubygems_", 16, "", Sign::Mixed),
    ("dckr_pat_", 8, JOINED, Sign::None),
    ("dckr_oat_", 8, JOINED, Sign::None),
    ("cio", 32, "", Sign::Mixed),
    ("CCIPAT_", 8, "_", Sign::None),
    ("sgp_", 16, "_", Sign::Mixed),
    ("bkua_", 16, "", Sign::Mixed),
    ("oy2", 43, "", Sign::Mixed),
    // Tokens of cloud providers.
    ("AKIA", 8, "", Sign::Upper),
    ("ASIA", 12, "", Sign::Upper),
    ("ABIA", 12, "", Sign::Upper),
    ("ACCA", 12, "", Sign::Upper),
    ("AIza", 8, JOINED, Sign::None),
    ("ya29.", 4, DOTTED, Sign::None),
    ("GOCSPX-", 4, JOINED, Sign::None),
    ("1//0", 20, JOINED, Sign::Mixed),
    ("LTAI", 12, "", Sign::Mixed),
    ("AKID", 13, "", Sign::Mixed),
    ("dop_v1_", 8, "", Sign::None),
    ("doo_v1_", 8, "", Sign::None),
    ("dor_v1_", 8, "", Sign::None),
    ("hvs.", 12, JOINED, Sign::Mixed),
    ("hvb.", 12, JOINED, Sign::Mixed),
    ("hvr.", 12, JOINED, Sign::Mixed),
    ("tskey-", 8, JOINED, Sign::Mixed),
    ("pscale_tkn_", 8, ENCODED, Sign::None),
    ("pscale_pw_", 8, ENCODED, Sign::None),
    ("pscale_oauth_", 8, ENCODED, Sign::None),
    ("sbp_", 16, "_", Sign::Mixed),
    ("sb_secret_", 8, JOINED, Sign::None),
    ("fm1_", 16, ENCODED, Sign::Mixed),
    ("fm2_", 16, ENCODED, Sign::Mixed),
    ("fo1_", 16, ENCODED, Sign::Mixed),
    ("dapi", 32, "-", Sign::Hex),
    ("HRKU-", 16, JOINED, Sign::Mixed),
    ("nfp_", 16, "", Sign::Mixed),
    ("vcp_", 16, "", Sign::Mixed),
    // Tokens of messaging services.
    ("xoxb-", 4, JOINED, Sign::None),
    ("xoxp-", 4, JOINED, Sign::None),
    ("xoxa-", 4, JOINED, Sign::None),
    ("xoxr-", 4, JOINED, Sign::None),
    ("xoxs-", 4, JOINED, Sign::None),
    ("xoxe", 8, DOTTED, Sign::Mixed),
    ("xapp-", 8, JOINED, Sign::Mixed),
    ("SG.", 20, DOTTED, Sign::Mixed),
    ("xkeysib-", 8, JOINED, Sign::None),
    ("key-", 32, "", Sign::Hex),
    ("SK", 32, "", Sign::Hex),
    // Tokens of payment services, monitoring services and other services.
    ("sk_live_", 4, "_", Sign::None),
    ("sk_test_", 4, "_", Sign::None),
    ("rk_live_", 4, "_", Sign::None),
    ("rk_test_", 4, "_", Sign::None),
    ("whsec_", 8, ENCODED, Sign::Mixed),
    ("sq0", 20, JOINED, Sign::Mixed),
    ("shp", 28, "_", Sign::Hex),
    ("lin_api_", 8, "", Sign::None),
    ("ntn_", 16, "", Sign::Mixed),
    ("figd_", 8, JOINED, Sign::None),
    ("ATATT3", 16, ENCODED, Sign::None),
    ("gls", 20, "_", Sign::Mixed),
    ("glc_", 20, ENCODED, Sign::Mixed),
    ("NRAK-", 8, "", Sign::None),
    ("sntry", 20, ENCODED, Sign::Mixed),
    ("eyJ", 4, ENCODED, Sign::None),
];

/// For each first byte, a bit for each of [`SHAPES`] whose prefix begins with it. The text at most positions is therefore
/// compared with few prefixes or with none.
static SHAPES_BY_BYTE: LazyLock<[u128; 128]> = LazyLock::new(|| {
    let mut table = [0; 128];
    for (index, (prefix, ..)) in SHAPES.iter().enumerate() {
        let place = prefix.bytes().next().and_then(|first| table.get_mut(usize::from(first)));
        place.into_iter().for_each(|bits: &mut u128| *bits |= 1 << index);
    }
    table
});

/// Token prefixes that do not occur in other texts.
const PLAIN_SHAPES: [&str; 8] =
    ["AGE-SECRET-KEY-", "dp.pt.", "dp.st.", "PMAK-", "pat-na1-", "pat-eu1-", "amzn.mws.", "AQVN"];

/// The least number of bytes after a prefix of [`PLAIN_SHAPES`].
const PLAIN_BODY_MIN: usize = 12;

/// The greatest number of bytes of a token that are examined.
const LOOK_BYTES_MAX: usize = 256;

/// The least number of bytes of a token that has no known prefix, but another characteristic form.
const FORM_BYTES_MIN: usize = 34;

/// Finds the tokens of known providers and forms in a text.
pub(crate) fn find(text: Text<'_>, spans: &mut Spans) {
    let mut at = 0;
    while let Some(byte) = text.byte(at) {
        let token = if is_start(text, at, byte) { token_end(text, at).or_else(|| form_end(text, at)) } else { None };
        if let Some((start, end)) = token {
            spans.add(start..end);
            at = end;
        } else {
            at += 1;
        }
    }
}

/// Whether a token may begin with the byte at `at`. A token does not begin in the middle of a word.
fn is_start(text: Text<'_>, at: usize, byte: u8) -> bool {
    if !(byte.is_ascii_alphanumeric() || byte == b'$') {
        return false;
    }
    let Some(before) = text.before(at) else { return true };
    if !before.is_ascii_alphanumeric() {
        return before != b'_' || byte != b's';
    }
    // Escapes are not part of the word: `\nghp_…`, `%3Dghp_…`. The option in `-pghp_…` is not part of the word either.
    let back = |bytes: usize| at.checked_sub(bytes).and_then(|at| text.byte(at));
    let is_escape = back(2) == Some(b'\\') && matches!(before, b'n' | b'r' | b't');
    let is_encoded =
        back(3) == Some(b'%') && before.is_ascii_hexdigit() && back(2).is_some_and(|b| b.is_ascii_hexdigit());
    let is_option = back(2) == Some(b'-') && back(3).is_none_or(is_space);
    is_escape || is_encoded || is_option
}

/// The shapes whose prefix begins with the first byte of `rest`, in the order of [`SHAPES`].
fn shapes_of_byte(rest: &str) -> impl Iterator<Item = &'static Shape> {
    let first = rest.bytes().next().map_or(0, usize::from);
    let mut bits = SHAPES_BY_BYTE.get(first).copied().unwrap_or(0);
    iter::from_fn(move || {
        // Without a bit left, this is no index.
        let index = bits.trailing_zeros();
        bits &= bits.wrapping_sub(1);
        SHAPES.get(usize::try_from(index).ok()?)
    })
}

/// The range of the token at `at`, if the text there begins with a known prefix.
fn token_end(text: Text<'_>, at: usize) -> Option<(usize, usize)> {
    let rest = text.text.get(at..)?;
    let first = rest.bytes().next();
    let mut plain = PLAIN_SHAPES.iter().filter(|prefix| prefix.bytes().next() == first);
    if let Some(prefix) = plain.find(|prefix| rest.starts_with(**prefix)) {
        let from = at + prefix.len();
        let end = run_end(text, from, JOINED);
        return (end >= from + PLAIN_BODY_MIN).then_some((at, end));
    }
    shapes_of_byte(rest).filter(|shape| rest.starts_with(shape.0)).find_map(|(prefix, body_min, joined, sign)| {
        let from = at + prefix.len();
        let sample = text.sample(from, LOOK_BYTES_MAX);
        let body_end = sample.bytes().position(|byte| !is_of(byte, joined)).unwrap_or(sample.len());
        // The token may be the end of a sentence, so final punctuation is removed.
        let body = sample.get(..body_end)?.trim_end_matches(['.', '-', '/']);
        let is_token = body.len() >= *body_min && has(*sign, body, *body_min);
        is_token.then(|| (at, word_end(text, from + body.len())))
    })
}

/// The end of the word that contains a token. The whole word is masked, even after a character that the provider does
/// not use in tokens.
fn word_end(text: Text<'_>, from: usize) -> usize {
    let end = run_end(text, from, ENCODED);
    from + text.part(from, end).trim_end_matches(['.', '/', '-', '+', '~']).len()
}

fn has(sign: Sign, body: &str, body_min: usize) -> bool {
    let any = |is: fn(&u8) -> bool| body.as_bytes().iter().any(is);
    match sign {
        Sign::None => true,
        Sign::Mixed => any(u8::is_ascii_digit) || any(u8::is_ascii_uppercase),
        Sign::Upper => any(u8::is_ascii_digit) && !any(u8::is_ascii_lowercase),
        // A made-up token may contain other letters than hexadecimal digits. Only the length and a digit are required,
        // so that ordinary words do not match.
        Sign::Hex => body.len() <= body_min + 8 && any(u8::is_ascii_digit),
    }
}

fn run_end(text: Text<'_>, from: usize, joined: &str) -> usize {
    text.find(from, |byte| !is_of(byte, joined))
}

fn is_of(byte: u8, joined: &str) -> bool {
    byte.is_ascii_alphanumeric() || joined.as_bytes().contains(&byte)
}

/// The range of the token at `at`, if the text there has a form that does not occur in other texts.
fn form_end(text: Text<'_>, at: usize) -> Option<(usize, usize)> {
    if text.byte(at) == Some(b'$') {
        return crypt_hash(text.sample(at, LOOK_BYTES_MAX)).map(|length| (at, at + length));
    }
    if text.text.len() < at + FORM_BYTES_MIN {
        return None;
    }
    let sample = text.sample(at, LOOK_BYTES_MAX);
    let length = sample.bytes().position(|byte| !(is_of(byte, ENCODED) || byte == b':')).unwrap_or(sample.len());
    let word = sample.get(..length).filter(|word| word.len() >= FORM_BYTES_MIN)?;
    telegram(word).or_else(|| discord(word)).or_else(|| azure(word)).map(|(from, to)| (at + from, at + to))
}

/// A hashed password as in `/etc/shadow`: `$6$salt$hash` (crypt(5)).
fn crypt_hash(sample: &str) -> Option<usize> {
    let end = sample.bytes().position(|byte| !(byte.is_ascii_alphanumeric() || b"$./=,+-_".contains(&byte)));
    let word = sample.get(..end.unwrap_or(sample.len()))?;
    let mut parts = word.split('$').skip(1);
    let scheme = parts.next()?;
    let rest = word.len().checked_sub(scheme.len() + 2)?;
    let is_scheme =
        (1..=10).contains(&scheme.len()) && scheme.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (is_scheme && rest >= 20 && parts.count() >= 2).then_some(word.len())
}

/// A Telegram bot token, `123456789:AA…`: the id of the bot and its secret, also after `bot` in a URL.
fn telegram(word: &str) -> Option<(usize, usize)> {
    let id_at = if word.starts_with("bot") { 3 } else { 0 };
    let (id, secret) = word.get(id_at..)?.split_once(':')?;
    let secret = secret.split(|c: char| !(c.is_ascii_alphanumeric() || JOINED.contains(c))).next()?;
    let is_id = (8..=10).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_digit());
    let is_secret = (30..=46).contains(&secret.len()) && secret.bytes().any(|byte| byte.is_ascii_uppercase());
    (is_id && is_secret).then(|| (id_at, id_at + id.len() + 1 + secret.len()))
}

/// A Discord bot token, which consists of three parts.
fn discord(word: &str) -> Option<(usize, usize)> {
    let mut parts = word.split('.');
    let (id, time, mac) = (parts.next()?, parts.next()?, parts.next()?);
    let is_part = |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let fits = id.starts_with(['M', 'N', 'O']) && (20..=30).contains(&id.len()) && time.len() == 6 && mac.len() >= 25;
    (fits && [id, time, mac].into_iter().all(is_part)).then_some((0, id.len() + time.len() + mac.len() + 2))
}

/// A secret of an application in Microsoft Entra (`abc8Q~…`), or the key of a storage account (88 characters, `==`).
fn azure(word: &str) -> Option<(usize, usize)> {
    let secret = word.split(|c: char| !(c.is_ascii_alphanumeric() || "_-.~".contains(c))).next()?;
    if secret.len() >= FORM_BYTES_MIN
        && secret.get(3..6).is_some_and(|mark| mark.ends_with("Q~") || mark.starts_with("Q~"))
    {
        return Some((0, secret.len()));
    }
    let key = word.get(..88)?;
    let is_key = key.ends_with("==")
        && word.len() == 88
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='));
    is_key.then_some((0, 88))
}

#[cfg(test)]
mod tests {
    use crate::spec::redact::filter::redact_text;

    /// A token is found directly after an escape sequence such as `\n` or an option such as `-p`, although both end in a
    /// letter. After a letter of any other kind, the text is a part of a longer word, and no token.
    #[test]
    fn a_token_begins_after_what_is_no_part_of_its_word() {
        let token = "ghp_LEAKabcdef12";
        for (before, is_masked) in [
            ("", true),
            ("x ", true),
            ("x\\n", true),
            ("x\\r", true),
            ("x\\t", true),
            ("a%3D", true),
            ("a%3d", true),
            ("-p", true),
            ("run -p", true),
            ("x\\z", false),
            ("xn", false),
            ("%3g", false),
            ("%g3", false),
            ("3D", false),
            ("x-p", false),
            ("x", false),
        ] {
            let shown = if is_masked { "<redacted>" } else { token };
            assert_eq!(redact_text(&format!("{before}{token}")), format!("{before}{shown}"));
        }
        assert_eq!(redact_text(&format!("{token},{token} {token}")), "<redacted>,<redacted> <redacted>");
    }
}
