//! Tests that known values are masked in the encodings of other programs, and that lines without a secret stay
//! unchanged.

use proptest::prelude::*;

use crate::spec::redact::{known::Known, mark::REDACTED};

/// The number of consecutive characters of an encoded value that may remain by chance.
const CHANCE_CHARS: usize = 6;

const CORPORA: [&str; 2] =
    [include_str!("../../../tests/corpus/plain.txt"), include_str!("../../../tests/corpus/held_out_plain.txt")];

fn each(value: &str, write: impl Fn(u8) -> String) -> String {
    value.bytes().map(write).collect()
}

/// The value, with each character in `special` encoded by `write`.
fn some(value: &str, special: &str, write: impl Fn(u8) -> String) -> String {
    each(value, |byte| {
        let c = char::from(byte);
        if special.contains(c) { write(byte) } else { c.to_string() }
    })
}

/// Percent-encodes the value, except letters, digits and the characters in `kept`.
fn percent(value: &str, kept: &str) -> String {
    each(value, |byte| {
        let c = char::from(byte);
        if c.is_ascii_alphanumeric() || kept.contains(c) { c.to_string() } else { format!("%{byte:02X}") }
    })
}

fn joined(value: &str, separator: &str, write: impl Fn(u8) -> String) -> String {
    value.bytes().map(write).collect::<Vec<_>>().join(separator)
}

fn bits(value: &[u8], width: usize, alphabet: &str) -> String {
    let bits: Vec<u8> = value.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
    let digit = |bits: &[u8]| (0..width).fold(0, |sum, at| sum << 1 | usize::from(*bits.get(at).unwrap_or(&0)));
    bits.chunks(width).map(|bits| char::from(alphabet.as_bytes()[digit(bits)])).collect()
}

pub(crate) fn base64(value: &[u8], last: &str) -> String {
    bits(value, 6, &format!("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789{last}"))
}

fn base32(value: &[u8]) -> String {
    bits(value, 5, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
}

fn wrapped(text: &str, width: usize, end: &str) -> String {
    let lines: Vec<&str> = text.as_bytes().chunks(width).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    lines.join(end)
}

/// The value as each program encodes it, with the name of the encoding.
fn encoded(value: &str) -> Vec<(&'static str, String)> {
    let json = some(value, "\"\\", |byte| format!("\\{}", char::from(byte)));
    let hex = each(value, |byte| format!("{byte:02x}"));
    let uri = percent(value, "-_.!~*'();,/?:@&=+$#");
    let quote = percent(value, "-_.~/");
    let base = base64(value.as_bytes(), "+/");
    let html = some(value, "&<>\"'", |byte| format!("&#{byte};"));
    vec![
        ("plain", value.to_owned()),
        ("JSON", json.clone()),
        ("JSON of PHP", json.replace('/', "\\/")),
        ("JSON of Go", some(&json, "&<>", |byte| format!("\\u{byte:04x}"))),
        ("JSON in JSON", some(&json, "\"\\", |byte| format!("\\{}", char::from(byte)))),
        ("JSON, all escaped", each(value, |byte| format!("\\u{byte:04X}"))),
        ("repr", some(value, "'\\", |byte| format!("\\{}", char::from(byte)))),
        ("C", each(value, |byte| format!("\\x{byte:02x}"))),
        ("octal", each(value, |byte| format!("\\{byte:03o}"))),
        ("printf %q", some(value, " !\"#$&'()*,;<>?[\\]^`{|}~", |byte| format!("\\{}", char::from(byte)))),
        ("encodeURI", uri),
        ("encodeURIComponent", percent(value, "-_.!~*'()")),
        ("quote", quote.clone()),
        ("quote in quote", percent(&quote, "-_.~/")),
        ("quote_plus", percent(value, "-_.~ ").replace(' ', "+")),
        ("lower quote", some(value, " \"#%&+/<>?", |byte| format!("%{byte:02x}"))),
        ("all percent", each(value, |byte| format!("%{byte:02x}"))),
        (
            "HTML",
            some(value, "&<>", |byte| ["&amp;", "&lt;", "&gt;"]["&<>".find(char::from(byte)).unwrap()].to_owned()),
        ),
        ("HTML numbers", html),
        ("HTML hex", each(value, |byte| format!("&#x{byte:x};"))),
        ("hex", hex.clone()),
        ("HEX", hex.to_ascii_uppercase()),
        ("hex, blanks", joined(value, " ", |byte| format!("{byte:02x}"))),
        ("hex, colons", joined(value, ":", |byte| format!("{byte:02X}"))),
        ("hex, hyphens", joined(value, "-", |byte| format!("{byte:02x}"))),
        ("hex, 0x", joined(value, ", ", |byte| format!("0x{byte:02x}"))),
        ("numbers", format!("[{}]", joined(value, ", ", |byte| byte.to_string()))),
        ("base64", base.clone()),
        ("base64 of a login", base64(format!("u:{value}").as_bytes(), "+/")),
        ("base64 for URLs", base64(value.as_bytes(), "-_")),
        ("base64 in lines", wrapped(&base, 20, "\n")),
        ("base64 in lines of a header", wrapped(&base, 16, "\r\n ")),
        ("base64 in lines in JSON", wrapped(&base, 20, "\\n")),
        ("base64 in PHP", base.replace('/', "\\/")),
        ("base64 in a URL", percent(&base, "")),
        ("base64 of hex", base64(hex.as_bytes(), "+/")),
        ("hex of base64", each(&base, |byte| format!("{byte:02x}"))),
        ("base32", base32(value.as_bytes())),
        ("base32 behind others", base32(format!("abc{value}").as_bytes())),
        ("base32, lower", base32(value.as_bytes()).to_ascii_lowercase()),
    ]
}

/// The first remaining piece of `encoded` in `masked`, if it has at least `CHANCE_CHARS` characters.
fn left<'a>(encoded: &'a str, masked: &str) -> Option<&'a str> {
    let pieces =
        (0..encoded.len().saturating_sub(CHANCE_CHARS - 1)).filter_map(|at| encoded.get(at..at + CHANCE_CHARS));
    pieces.into_iter().find(|piece| masked.contains(piece))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn nothing_is_left_of_a_value_whatever_writes_it(value in "[ -~]{8,60}") {
        let known = Known::of([("API_TOKEN", value.as_str())]);
        // In a value such as `{{Pw:x`, only a part counts as a secret. Such values are skipped.
        prop_assume!(known.mask(&value) == REDACTED);
        for (name, encoded) in encoded(&value) {
            let masked = known.mask(&format!("0 «{encoded}»"));
            // The first 6 bytes of these encodings stand for the text before the value, such as a user name, and may stay.
            let own = encoded.get(if name.contains("behind") || name.contains("login") { 6.. } else { 0.. }).unwrap_or_default();
            prop_assert!(left(own, &masked).is_none(), "{name}: {encoded} became {masked}");
            prop_assert_eq!(known.mask(&masked), masked);
        }
    }
}

#[test]
fn the_rest_of_a_value_is_masked_where_an_unknown_escape_interrupts_it() {
    let known = Known::of([("API_TOKEN", r#"Zq/7<pL+x9&"s\kR2tail"#)]);
    assert_eq!(known.mask(r#"a Zq/7<pL+x9{amp}"s{bs}kR2tail b"#), "a <redacted> b");
    assert_eq!(known.mask("a Zq/7<pL+x9/other/words b"), "a <redacted>/other/words b");
}

#[test]
fn ordinary_lines_stay_as_they_are() {
    let known = Known::of([
        ("API_TOKEN", r#"Zq/7<pL+x9&"s\kR2"#),
        ("AWS_SECRET_ACCESS_KEY", "wJalr/UtnFEMI+K7MDENGbPxRfiCYz"),
        ("PASSWORD", "pw 1+x%41\\n&amp;"),
        ("SECRET", "abcDEF123ghiJKL456"),
    ]);
    for line in CORPORA.iter().flat_map(|corpus| corpus.lines()) {
        assert_eq!(known.mask(line), line);
    }
    for corpus in CORPORA {
        assert_eq!(known.mask(corpus), corpus);
    }
}

#[test]
fn the_escaped_end_of_a_value_that_a_text_begins_with_is_masked() {
    let known = Known::of([("API_TOKEN", "abc/defgh/ijklm/nop")]);
    assert_eq!(known.mask_beginning(r"gh\/ijklm\/nop and"), "<redacted> and");
}
