//! Tests of the rules for options and positional arguments. The commands are close to the limits between two rules.

use super::*;
use crate::spec::redact::filter::redact_args;

/// Asserts what the filter makes of each command. The arguments of a command are separated by blanks.
fn assert_masked(rows: &[(&str, &str)]) {
    for (command, expected) in rows {
        let args: Vec<String> = command.split(' ').map(str::to_owned).collect();
        assert_eq!(redact_args(args).join(" "), *expected);
    }
}

#[test]
fn the_program_of_an_option_is_one_of_the_first_words() {
    for (before, is_known) in [(0, true), (PROGRAMS_MAX - 1, true), (PROGRAMS_MAX, false)] {
        let command = format!("{}openssl -k ", "run ".repeat(before));
        let shown = if is_known { "<redacted>" } else { "hunter" };
        assert_masked(&[(&format!("{command}hunter"), &format!("{command}{shown}"))]);
    }
}

#[test]
fn a_number_is_a_secret_where_the_program_or_the_name_makes_it_one() {
    assert_masked(&[
        ("openssl enc -k 123456", "openssl enc -k <redacted>"),
        ("redis-cli -a 123456", "redis-cli -a <redacted>"),
        ("run --password 123456", "run --password <redacted>"),
        ("run --access-token 123456", "run --access-token 123456"),
        ("run -k 123456 -- 123456 - 123456", "run -k 123456 -- 123456 - 123456"),
    ]);
}

#[test]
fn the_kind_of_a_secret_stays_before_it() {
    assert_masked(&[("openssl rsa -k pass:LEAKabc -v", "openssl rsa -k pass:<redacted> -v")]);
    let args = ["run", "--token", "Bearer LEAK", "x"].map(str::to_owned);
    assert_eq!(redact_args(args.to_vec()), ["run", "--token", "Bearer <redacted>", "x"]);
}

#[test]
fn a_password_is_the_last_argument_of_htpasswd_with_an_option_for_that() {
    assert_masked(&[
        ("htpasswd -b -c f u word", "htpasswd -b -c f u <redacted>"),
        ("htpasswd -cb -5 f u word", "htpasswd -cb -5 f u <redacted>"),
        ("htpasswd -c -5 f u word", "htpasswd -c -5 f u word"),
        ("htpasswd -c -5 f bob word", "htpasswd -c -5 f bob word"),
        ("htpasswd --verb -5 f u word", "htpasswd --verb -5 f u word"),
    ]);
}
