//! Tests of decoded escapes, numbers and wrapped lines, and of the original positions of the decoded bytes.

use super::*;

fn reads(text: &str, as_what: &str) -> bool {
    views(text, 100).iter().any(|view| String::from_utf8_lossy(&view.bytes).trim_matches('\0') == as_what)
}

#[test]
fn escapes_are_decoded() {
    for text in
        [r"a\/b&c", r"a\u002Fb\u0026c", r"\x61/b\x26c", "a%2fb%26c", "a/b&amp;c", "a&#47;b&#x26;c", "a%252fb%2526c"]
    {
        assert!(reads(text, "a/b&c"), "{text}");
    }
    assert!(reads(r"\ud83d\ude00 \u{1f600} \U0001f600", "😀 😀 😀"));
    assert!(views("100% of it & more", 100).is_empty());
}

#[test]
fn numbers_and_wrapped_lines_are_read() {
    for text in
        ["61 62 63 64", "61:62:63:64", "6162 6364", "0x61, 0x62, 0x63, 0x64", "[97, 98, 99, 100]", "(61-62-63-64)"]
    {
        assert!(reads(text, "abcd"), "{text}");
    }
    assert!(reads("abcdefgh\n  ijkl", "abcdefghijkl"));
    assert!(views("61 62 63 of 64", 100).is_empty());
}

#[test]
fn a_byte_has_its_place() {
    let views = views(r"x \/\u00fc y", 100);
    let view = views.first().unwrap();
    assert_eq!(view.source(2..5), Some(2..10));
    assert_eq!(view.source(5..6), Some(10..11));
    assert_eq!(view.source(2..2), None);
}

#[test]
fn a_text_is_decoded_as_often_as_it_was_escaped() {
    for (text, expected) in [
        ("plain", "plain"),
        ("a%2fb", "a/b"),
        ("a%252fb", "a/b"),
        ("a%25252fb", "a/b"),
        ("a%2525252fb", "a%2fb"),
        (r"a\nb\rc\td\/e\ f", "a\nb\rc\td/e f"),
        (r"\q \4", r"\q \4"),
        ("&quot;&apos;&lt;&gt;&amp;", "\"'<>&"),
        ("xamp; ylt;", "xamp; ylt;"),
        ("%+1 %g1 %", "%+1 %g1 %"),
        (r"\u{1f600}\u{110000}", "\u{1f600}\\u{110000}"),
        (r"\u{}", r"\u{}"),
    ] {
        assert_eq!(String::from_utf8(unescaped(text)).unwrap(), expected, "{text}");
    }
}

#[test]
fn only_the_neighbourhood_of_an_escape_is_looked_at() {
    let around = |gap: usize| View::around_escapes(format!("%41{}%42", "x".repeat(gap)).as_bytes(), 5).bytes;
    // The view contains 5 bytes before and after the beginning of each escape.
    assert_eq!(around(7), b"%41xxxxxxx%42\0");
    assert_eq!(around(8), b"%41xx\0xxxxx%42\0");
    assert_eq!(View::around_escapes(b"no escape", 5).bytes, b"");
}

#[test]
fn a_view_is_made_only_where_something_is_decoded_or_joined() {
    let mut view = View::default();
    view.add_part(b"abcdefgh ijkl", 0..13);
    assert!(view.joined().is_none() && view.decoded(is_any_mark, any).is_none());
    assert!(reads("xamp; y&amp;z", "xamp; y&z"));
    assert!(!reads("xamp; y&amp;z", "& y&z"));
}

#[test]
fn a_line_is_wrapped_where_it_may_be_one_word_with_the_next() {
    let at = |text: &str| wrap(text.as_bytes(), text.find('\n').unwrap());
    assert_eq!(at("abcdefgh\nijkl"), Some(8..9));
    assert_eq!(at("abcdefgh\r\n  ijkl"), Some(8..12));
    for text in ["abcdefg\nijkl", "abcdefgh\n!", "abcdefgh\n", "a.cdefgh\nijkl"] {
        assert_eq!(at(text), None, "{text:?}");
    }
}

#[test]
fn numbers_have_their_places_and_end_at_what_is_between_no_numbers() {
    let source = |view: Option<View>| view.and_then(|view| view.source(0..4));
    assert_eq!(source(hex_numbers(b"0x61, 0x62, 0x63, 0x64")), Some(2..22));
    assert_eq!(source(hex_numbers(b"x 6162 6364")), Some(2..11));
    assert_eq!(source(decimal_numbers(b"[90, 113, 1, 25]")), Some(1..15));
    for text in ["61 62 63 641", "61 62 63 0x", "61 62 63 6g", "61 / 62 63 64", "61 62 63"] {
        assert!(hex_numbers(text.as_bytes()).is_none(), "{text}");
    }
    for text in ["1 2 3 256", "1 2 3 0001", "1 2 3 4a"] {
        assert!(decimal_numbers(text.as_bytes()).is_none(), "{text}");
    }
    let gap = |length: usize| hex_numbers(format!("61{}62 63 64", " ".repeat(length)).as_bytes());
    assert!(gap(GAP_BYTES_MAX).is_some() && gap(GAP_BYTES_MAX + 1).is_none());
}
