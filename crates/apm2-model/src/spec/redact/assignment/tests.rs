//! Tests of the rules for assignments. The texts are close to the limits between two rules.

use super::*;
use crate::spec::redact::{assignment::sign::NAME_BYTES_MAX, filter::redact_text, mark::REDACTED};

fn assert_masked(rows: &[(&str, &str)]) {
    for (text, expected) in rows {
        assert_eq!(redact_text(text), *expected, "{text:?}");
    }
}

/// The name of the secret and its value are in two assignments: `name: DB_PASSWORD`, and `value: …`.
#[test]
fn a_named_value_is_masked_up_to_a_distance() {
    for (distance, is_masked) in [(2, true), (PAIR_BYTES_MAX - 1, true), (PAIR_BYTES_MAX, false)] {
        for name in ["name: DB_PASSWORD", "key: ApiSecret", "Name=\tPGPASSWORD"] {
            let between = format!("\n{}", " ".repeat(distance - 1));
            let shown = if is_masked { REDACTED } else { "plainword" };
            let (text, expected) =
                (format!("{name}{between}value: plainword"), format!("{name}{between}value: {shown}"));
            assert_eq!(redact_text(&text), expected, "{distance}");
        }
    }
}

#[test]
fn a_sign_without_a_name_is_no_assignment_between_a_name_and_its_value() {
    assert_masked(&[
        ("name: DB_PASSWORD\n = \nvalue: plainword", "name: DB_PASSWORD\n = \nvalue: <redacted>"),
        ("name: DB_PASSWORD\na = b\nvalue: plainword", "name: DB_PASSWORD\na = b\nvalue: plainword"),
    ]);
}

#[test]
fn a_name_of_the_greatest_length_is_not_judged() {
    for (length, is_masked) in [(NAME_BYTES_MAX - 1, true), (NAME_BYTES_MAX, false)] {
        let name = format!("{}_PASSWORD", "A".repeat(length - "_PASSWORD".len()));
        let shown = if is_masked { REDACTED } else { "LEAKabc" };
        assert_eq!(redact_text(&format!("{name}=LEAKabc")), format!("{name}={shown}"), "{length}");
    }
}

#[test]
fn an_arrow_is_a_sign_between_blanks_or_after_equals() {
    assert_masked(&[
        ("password -> LEAKabc", "password -> <redacted>"),
        ("password-> LEAKabc", "password-> LEAKabc"),
        ("-> LEAKabc", "-> LEAKabc"),
        ("password=> LEAKabc", "password=> <redacted>"),
        ("password>>LEAKabc", "password>>LEAKabc"),
        ("<password>LEAKabc</password>", "<password><redacted></password>"),
    ]);
}

/// The values are neither random nor ordinary, so only the name of the URL parameter shows that they are secrets.
#[test]
fn a_parameter_that_authenticates_a_request_is_masked() {
    let value = "aBaBaBaBaBaB";
    for name in ["X-Goog-Signature", "X-Amz-Security-Id", "x-amz-signature", "sig", "Code", "hmac"] {
        let text = |value: &str| format!("https://h.example/a?{name}={value}&b=c");
        assert_eq!(redact_text(&text(value)), text(REDACTED));
        assert_eq!(redact_text(&text("word")), text("word"));
    }
    let other = format!("https://h.example/a?X-Goog-Date={value}&X-Amz-Date={value}");
    assert_eq!(redact_text(&other), other);
}

#[test]
fn the_indented_lines_of_a_block_are_one_value() {
    assert_masked(&[
        ("a: b\npassword: |\n  LEAK one\n  LEAK two\nc: d", "a: b\npassword: |\n  <redacted>\nc: d"),
        ("password: >-\n  LEAK one\nc", "password: >-\n  <redacted>\nc"),
        (
            "users:\n  - password: |\n      LEAK one\n    name: bob",
            "users:\n  - password: |\n      <redacted>\n    name: bob",
        ),
        ("x\n- password: |\n    LEAK one\n  name: bob", "x\n- password: |\n    <redacted>\n  name: bob"),
        // `|` begins no YAML block if no text follows, or if the assignment operator is not that of YAML.
        ("password: |\n   \nnext", "password: <redacted>\n   \nnext"),
        ("password=|\n  next line", "password=<redacted>\n  next line"),
    ]);
}

#[test]
fn the_texts_of_a_list_are_one_value() {
    assert_masked(&[
        ("my passwords: [\"LEAK one\", 'LEAK two'] and", "my passwords: [<redacted>] and"),
        ("my passwords: [ \"LEAK one\" ] and", "my passwords: [<redacted>] and"),
        ("my passwords: [ \"the other one\" ]", "my passwords: [ \"the other one\" ]"),
    ]);
}

/// In a connection string, a value ends at `;`. At the end of a word, it ends before the comma.
#[test]
fn a_value_in_a_list_keeps_its_punctuation() {
    assert_masked(&[
        ("Server=h;Password=LEAK,one!;Port=1", "Server=h;Password=<redacted>;Port=1"),
        ("Server=h;Password=LEAKone!, next", "Server=h;Password=<redacted>, next"),
        ("Server=h;Password=LEAKone!,", "Server=h;Password=<redacted>,"),
        ("x \"Server=h;Password=LEAKone,\" y", "x \"Server=h;Password=<redacted>,\" y"),
        ("password=LEAKone; next", "password=<redacted>; next"),
        ("password=LEAK;one; next", "password=<redacted>; next"),
        ("password=LEAKone), next", "password=<redacted>), next"),
    ]);
}

#[test]
fn a_quote_is_closed_by_one_with_as_many_backslashes() {
    for escapes in ["", "\\", "\\\\\\"] {
        let text = |value: &str| format!("{{password: {escapes}\"{value}{escapes}\", user: bob}}");
        assert_eq!(redact_text(&text("LEAK one, two")), text(REDACTED), "{escapes}");
    }
}
