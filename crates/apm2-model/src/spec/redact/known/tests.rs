//! Tests of which values are secrets, and in which forms they are masked.

use super::*;
use crate::spec::config::health::HealthCheckConfig;

fn known(variables: &[(&str, &str)]) -> Known {
    Known::of(variables.iter().copied())
}

#[test]
fn a_value_is_masked_in_every_form() {
    let secret = "s3cr\"e t/ü+LEAKvalue";
    let known = known(&[("API_KEY", secret)]);
    let forms = [
        "s3cr\"e t/ü+LEAKvalue",
        r#"s3cr\"e t/ü+LEAKvalue"#,
        r#"s3cr\"e t/\u00fc+LEAKvalue"#,
        "s3cr%22e%20t%2F%C3%BC%2BLEAKvalue",
        "s3cr%22e%20t%2f%c3%bc%2bLEAKvalue",
        "s3cr%22e+t%2F%C3%BC%2BLEAKvalue",
        "czNjciJlIHQvw7wrTEVBS3ZhbHVl",
        "73336372226520742fc3bc2b4c45414b76616c7565",
        "73336372226520742FC3BC2B4C45414B76616C7565",
    ];
    for form in forms {
        let masked = known.mask(&format!("<{form}>"));
        assert!(!masked.contains(form.get(4..).unwrap()) && masked.contains("<redacted>"), "{form}: {masked}");
    }
    assert_eq!(known.mask("s3cr\"e t/ü+LEAKvalue"), "<redacted>");
}

#[test]
fn base64_is_found_whatever_stands_before_the_value() {
    let known = known(&[("TOKEN", "LEAKabcdefghijkl")]);
    // The base64 of a text with `u:`, `us:` or `usr:` before the value and `x` after the value.
    for encoded in ["dTpMRUFLYWJjZGVmZ2hpamtseA==", "dXM6TEVBS2FiY2RlZmdoaWprbHg=", "dXNyOkxFQUthYmNkZWZnaGlqa2x4"] {
        let masked = known.mask(encoded);
        assert!(masked.contains("<redacted>") && masked.len() < 24, "{masked}");
    }
}

#[test]
fn a_shortened_value_is_masked() {
    let known = known(&[("API_KEY", "LEAK0123456789abcdef"), ("DATABASE_URL", "postgres://u:LEAKpw99@h/db")]);
    assert_eq!(known.mask("provided: LEAK0123***"), "provided: <redacted>***");
    assert_eq!(known.mask("LEAK01"), "LEAK01");
    assert_eq!(known.mask("the password LEAKpw99 of postgres"), "the password <redacted> of postgres");
}

#[test]
fn an_ordinary_value_is_no_secret() {
    let ordinary = [
        ("MODE", "production"),
        ("DEBUG", "true"),
        ("PORT", "8080"),
        ("HOME", "/home/bob"),
        ("API_KEY_FILE", "/etc/k"),
        ("REGION", "us-east-1"),
        ("RUST_LOG", "warn,app=debug"),
        ("URL", "http://localhost:8080/"),
        ("A", "x1"),
        ("TOKEN", "1234"),
        ("AUTH", "none"),
        ("SECRET", "true"),
        ("SSH_AUTH_SOCK", "/run/user/1000/keyring/ssh"),
        ("MODEL", "claude-sonnet-4-20250514"),
        ("LANG", "en_US.UTF-8"),
        ("WHAT", "<redacted>"),
        ("TOKEN", "<redacted>"),
    ];
    for (name, value) in ordinary {
        let text = format!("a {value} b");
        assert_eq!(known(&[(name, value)]).mask(&text), text, "{name}");
    }
    for (name, value) in [("MODE", "hunter2"), ("PASSWORD", "hunter"), ("PIN_SECRET", "123456"), ("X", "tr0ub4dor&3")] {
        assert_eq!(known(&[(name, value)]).mask(&format!("a {value} b")), "a <redacted> b", "{name}");
    }
}

#[test]
fn each_line_of_a_value_is_masked_by_itself() {
    let masked =
        known(&[("KEY", "first line of it\nsecond line of it")]).mask("1 first line of it\n2 second line of it");
    assert!(!masked.contains("line of it"), "{masked}");
}

#[test]
fn the_end_of_a_value_that_a_text_begins_with_is_masked() {
    let known = known(&[("KEY", "LEAK0123456789abcdef")]);
    assert_eq!(known.mask_beginning("456789abcdef and more"), "<redacted> and more");
    assert_eq!(known.mask_beginning("x456789abcdef"), "x456789abcdef");
    assert_eq!(known.mask_beginning("short"), "short");
}

#[test]
fn debug_shows_the_number_of_forms_alone() {
    let known = known(&[("KEY", "LEAK0123")]);
    assert_eq!(format!("{known:?}"), format!("Known({})", known.0.forms.len()));
    assert!(!known.0.forms.is_empty());
}

#[test]
fn the_values_of_a_specification_and_of_its_check_are_known() {
    let env = [("CHECK_KEY".to_owned(), "LEAKcheck1".to_owned())].into();
    let health = HealthCheckConfig { env, ..HealthCheckConfig::default() };
    let spec = ProcessSpec::builder().name("n").command("c").env("KEY", "LEAKspec12").health(health).build();
    let known = Known::of_spec(&spec);
    assert_eq!(known.mask("LEAKcheck1, LEAKspec12"), "<redacted>, <redacted>");
    let both = known.and(&self::known(&[("OTHER", "LEAKother3")]));
    assert_eq!(both.mask("LEAKspec12, LEAKother3"), "<redacted>, <redacted>");
    assert_eq!(known.mask("LEAKother3"), "LEAKother3");
    let text = both.redact_text("LEAKspec12, password=hunter2, plain");
    assert_eq!(text, "<redacted>, password=<redacted>, plain");
}

#[test]
fn a_path_keeps_its_bytes_where_nothing_is_masked() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let known = known(&[("KEY", "LEAK0123")]);
    assert_eq!(known.redact_path(Path::new("/a/LEAK0123/b")), Path::new("/a/<redacted>/b"));
    for bytes in [&b"/a/b"[..], b"/a/\xff\xfe"] {
        let path = Path::new(OsStr::from_bytes(bytes));
        assert_eq!(known.redact_path(path), path);
    }
}

/// A cut text can end with any part of a value. No part of the value remains.
#[test]
fn the_beginning_of_a_value_at_a_cut_end_is_removed() {
    let value = "LEAK0123456789";
    let known = Known::of([("KEY", value)]);
    for length in 0..=value.len() {
        let text = format!("text and {}", &value[..length]);
        assert_eq!(known.without_begun(text.as_bytes()), b"text and ", "{length}");
    }
    assert_eq!(known.without_begun(b"text and LEAK, "), b"text and LEAK, ");
    assert_eq!(known.without_begun(b"LEA"), b"");
    assert_eq!(Known::default().without_begun(b"text"), b"text");
}

#[test]
fn a_range_begins_and_ends_between_two_characters() {
    for (range, expected) in [(0..1, 0..1), (1..3, 1..3), (2..3, 1..3), (2..4, 1..4), (1..2, 1..1), (4..5, 4..4)] {
        assert_eq!(whole("a\u{fc}b\u{fc}", range.clone()), expected, "{range:?}");
    }
}

#[test]
fn each_pair_of_bytes_has_a_bit_of_its_own() {
    let mut table = vec![0; PAIR_WORDS];
    for one in 0..=u8::MAX {
        for other in 0..=u8::MAX {
            let (word, bit) = pair(one, other);
            assert_eq!((bit.count_ones(), table[word] & bit), (1, 0), "{one} {other}");
            table[word] |= bit;
        }
    }
}

#[test]
fn a_short_or_empty_line_of_a_value_is_no_secret_by_itself() {
    let known = known(&[("KEY", "LEAKfirst1line\nshort\n**********\n8letters")]);
    let masked = known.mask("LEAKfirst1line, short, **********, 8letters");
    assert_eq!(masked, "<redacted>, short, **********, <redacted>");
}

#[test]
fn a_very_long_value_is_looked_for_as_it_is_alone() {
    for (length, is_encoded) in [(ENCODED_BYTES_MAX, true), (ENCODED_BYTES_MAX + 1, false)] {
        let value = "Zq7".repeat(length / 3 + 1)[..length].to_owned();
        let known = Known::of([("KEY", value.as_str())]);
        let forms = &known.0.forms;
        assert!(forms.iter().any(|form| form.bytes == value.as_bytes()));
        assert_eq!(forms.iter().any(|form| form.bytes.starts_with(b"WnE3WnE3")), is_encoded, "{length}");
    }
}

#[test]
fn whether_a_value_is_a_secret_depends_on_its_name_and_form() {
    for (value, named, unnamed) in [
        ("$TOKEN", false, false),
        ("/etc/key", false, false),
        ("production", false, false),
        ("abc", false, false),
        ("abcd", true, false),
        ("a1b2c", true, false),
        ("a1b2c3", true, true),
        ("\u{e9}\u{e9}\u{e9}", false, false),
        ("12345", false, false),
        ("123456", true, false),
        ("us-east-1", true, false),
        ("abcdefgh", true, false),
    ] {
        assert_eq!((is_secret(true, value), is_secret(false, value)), (named, unnamed), "{value}");
    }
}

#[test]
fn the_beginning_that_stands_for_a_secret_is_longer_than_what_others_share() {
    for (value, length) in [
        ("abcdefghijklmnop", 8),
        ("ghp_abcdefghijkl", 8),
        ("abcde_ghijklmnop", 10),
        ("abcdefg_ijklmnop", 12),
        ("abcdefgh_jklmnop", 8),
        ("abcdef=hijklmnop", 11),
        ("postgres://user:secret@h/db", 20),
        ("https://host/path", 12),
        ("https://token@host", 12),
    ] {
        assert_eq!(prefix_of_named(value), length, "{value}");
    }
    for (value, length) in [
        ("a1b2c3d4e5f6", 8),
        ("abcdefgh1ijk", 9),
        ("abcdefghijk1", 12),
        ("abcdefghijkl", 12),
        ("\u{e9}bcdefghij", 8),
        ("a1b2", 4),
    ] {
        assert_eq!(prefix_of_unnamed(value), length, "{value}");
    }
}
