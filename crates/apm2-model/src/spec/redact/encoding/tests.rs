//! Compares the encoders with other implementations: a JSON library, and strings of bits.

use proptest::prelude::*;

use super::*;

/// The unreserved characters of URLs, which are not percent-encoded (RFC 3986, section 2.3).
const UNRESERVED: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

/// The bytes as a string of `0` and `1`.
fn bits(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:08b}")).collect()
}

/// The bits that the digits of the alphabet stand for, as a string of `0` and `1`.
fn bits_of(digits: &[u8], alphabet: &[u8], width: usize) -> String {
    let value = |digit: &u8| alphabet.iter().position(|known| known == digit).unwrap();
    digits.iter().map(|digit| format!("{:0width$b}", value(digit))).collect()
}

/// Decodes a percent-encoded text.
fn decoded(encoded: &str) -> Vec<u8> {
    let mut parts = encoded.split('%');
    let mut bytes = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
        bytes.extend(part[2..].bytes());
    }
    bytes
}

proptest! {
    #[test]
    fn json_is_that_of_a_json_library(text in "[^\u{8}\u{c}\u{7f}]{0,40}") {
        let quoted = |json: &str| format!("\"{json}\"");
        prop_assert_eq!(quoted(&json(&text)), serde_json::to_string(&text).unwrap());
        let ascii = ascii_json(&text);
        prop_assert!(ascii.is_ascii());
        prop_assert_eq!(&serde_json::from_str::<String>(&quoted(&ascii)).unwrap(), &text);
        if text.is_ascii() {
            prop_assert_eq!(ascii, json(&text));
        }
    }

    #[test]
    fn a_url_holds_the_text(text in ".{0,40}") {
        let upper = upper_url(&text);
        prop_assert_eq!(decoded(&upper), text.as_bytes());
        let kept: String = text.chars().filter(|c| UNRESERVED.contains(*c)).collect();
        let shown: String = upper.split('%').enumerate().map(|(n, part)| &part[if n == 0 { 0 } else { 2 }..]).collect();
        prop_assert_eq!(shown, kept, "the unreserved characters and no others are kept");
        let escapes = upper.split('%').skip(1);
        prop_assert!(escapes.clone().all(|part| part[..2] == part[..2].to_ascii_uppercase()));
        let lower = lower_url(&text);
        prop_assert_eq!(decoded(&lower), text.as_bytes());
        prop_assert!(lower.split('%').skip(1).all(|part| part[..2] == part[..2].to_ascii_lowercase()));
        prop_assert_eq!(form_url(&text), upper.replace("%20", "+"));
    }

    #[test]
    fn hexadecimal_digits_are_the_bytes(text in ".{0,20}") {
        let lower = lower_hex(&text);
        let bytes: Vec<u8> = (0..lower.len()).step_by(2).map(|at| u8::from_str_radix(&lower[at..at + 2], 16).unwrap()).collect();
        prop_assert_eq!(bytes, text.as_bytes());
        prop_assert_eq!(lower.to_ascii_uppercase(), upper_hex(&text));
        prop_assert_eq!(lower.to_ascii_lowercase(), lower);
    }

    /// The digits are those of the whole byte sequence, without the digits that contain a bit of a byte before or after
    /// the text.
    #[test]
    fn digits_depend_on_the_text_alone(bytes in proptest::collection::vec(any::<u8>(), 0..20), offset in 0..5_usize) {
        for (alphabet, width) in [(&BASE64[..], 6_usize), (&BASE32[..], 5)] {
            let whole = bits(&[vec![0; offset], bytes.clone()].concat());
            let first = (offset * 8).div_ceil(width) * width;
            let last = whole.len() / width * width;
            let found = digits(&bytes, offset, alphabet, u32::try_from(width).unwrap());
            prop_assert_eq!(bits_of(&found, alphabet, width), whole.get(first..last).unwrap_or_default());
        }
    }
}

#[test]
fn a_shell_closes_and_opens_its_quotes_around_an_apostrophe() {
    assert_eq!(shell("it's"), r"it'\''s");
}

#[test]
fn only_forms_that_differ_from_the_text_are_listed() {
    let shown = |text: &str| -> Vec<(String, usize)> {
        forms(text, &text[..2]).into_iter().map(|(bytes, prefix)| (String::from_utf8(bytes).unwrap(), prefix)).collect()
    };
    assert_eq!(
        shown("abcde"),
        [("6162636465".to_owned(), 4), ("6162636465".to_owned(), 4)],
        "it is too short for base64"
    );
    let long = shown("abcdef");
    assert_eq!(long[2..5], [("YWJjZGVm".to_owned(), 2), ("FiY2RlZ".to_owned(), 2), ("hYmNkZW".to_owned(), 2)]);
    // Expected number of forms: hexadecimal digits in 2 cases, base64 of the text and of its hexadecimal digits at 3
    // offsets, base32 in 2 cases at 5 offsets.
    assert_eq!(long.len(), 2 + 3 * 3 + 2 * 5);
    assert_eq!(shown("a b").iter().filter(|(form, _)| form == "a%20b").count(), 2);
    assert!(shown("a b").contains(&("a+b".to_owned(), 2)));
    let for_urls = forms("~~~~~~", "~~");
    assert!(
        for_urls.iter().any(|(form, _)| form == b"fn5-fn5-") && for_urls.iter().any(|(form, _)| form == b"fn5+fn5+")
    );
}

#[test]
fn digits_of_urls_differ_in_two() {
    let changed: Vec<(u8, u8)> =
        BASE64.iter().map(|digit| (*digit, url_digit(*digit))).filter(|(digit, other)| digit != other).collect();
    assert_eq!(changed, [(b'+', b'-'), (b'/', b'_')]);
}
