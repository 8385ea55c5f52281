//! Tests of names whose values are secrets, and of names whose values are not.

use super::*;

fn strength(name: &str) -> Option<Strength> {
    judge(name, None).map(|verdict| verdict.strength)
}

#[test]
fn a_name_is_taken_apart_into_its_words() {
    assert_eq!(words_of("X-Api-Key"), ["x", "api", "key"]);
    assert_eq!(words_of("sharedAccessKey2"), ["shared", "access", "key2"]);
    assert_eq!(words_of("APIKey_1"), ["api", "key"]);
}

#[test]
fn a_word_that_contains_the_name_of_a_secret_is_not_one() {
    for name in
        ["tokenizer", "keyboard", "monkey", "Author", "passed", "compass", "max_tokens", "public_key", "key_file"]
    {
        assert_eq!(strength(name), None, "{name}");
    }
    for name in [
        "password",
        "API_KEY",
        "apiKey",
        "DB_PWD",
        "github_token",
        "SECRET_KEY_BASE",
        "PGPASSWORD",
        "aws_secret_access_key",
    ] {
        assert_eq!(strength(name), Some(Strength::Strong), "{name}");
    }
    assert_eq!(strength("key"), Some(Strength::Weak));
}

/// The list `ABOUT` must not contain a noun, because the noun is tested together with the words after it.
#[test]
fn no_noun_names_a_property() {
    let nouns = ABOUT.iter().filter(|word| noun_of(word).is_some());
    assert_eq!(nouns.count(), 0);
}

#[test]
fn a_word_before_or_after_the_noun_changes_the_verdict() {
    for (name, expected) in [
        ("first_pass", None),
        ("db_pass", Some(Strength::Strong)),
        ("public_password", None),
        ("PASSWORD_FILE", None),
        ("PASSWORD_ONE", Some(Strength::Strong)),
        ("password_one", None),
        ("SIGNATURE", Some(Strength::Weak)),
        ("CREDENTIAL", Some(Strength::Strong)),
        ("credential", Some(Strength::Weak)),
        ("access_signature", Some(Strength::Strong)),
        ("has_password", None),
        ("getPassword", None),
    ] {
        assert_eq!(strength(name), expected, "{name}");
    }
    assert_eq!(words_of("7"), ["7"]);
    assert_eq!(words_of("-Dpassword_2"), ["password"]);
}
