//! Tests of the classes to which values belong.

use super::*;

/// A test case: a value, and one letter for each class to which it belongs, see [`letters`].
const VALUES: [(&str, &str); 91] = [
    ("xxx", "pwo"),
    ("xxy", "wo"),
    ("xx", "wo"),
    ("****", "p"),
    ("<", ""),
    ("<a>", "p"),
    ("<a/b>", ""),
    ("a>", ""),
    ("<a", ""),
    ("%", "wo"),
    ("%%", "pwo"),
    ("%s", "pwo"),
    ("%TOKEN%", "pwo"),
    ("$", ""),
    ("$TOKEN", "p"),
    ("$Token", ""),
    ("$env:TOKEN", "p"),
    ("${x}", "p"),
    ("none", "pwo"),
    ("null,", "pwo"),
    ("TOKEN", "pwo"),
    ("token", "wo"),
    ("string", "two"),
    ("Vec<u8>", "t"),
    ("option", "two"),
    ("stringy", "wo"),
    ("Some(x)", ""),
    ("some(x)", "c"),
    ("a.b[0]", "c"),
    ("ab[0]", ""),
    ("A.b(x)", "c"),
    ("a_b.c_d", "cwo"),
    ("config.auth.token", "cwo"),
    ("Config.auth", "wo"),
    ("Config.auth.token", "cwo"),
    ("config", "wo"),
    ("config.a1", "wo"),
    ("a || b", "cs"),
    ("x1 ?? y", "c"),
    ("1a || b", ""),
    ("process.env.X", "cwo"),
    ("/etc/key", "fo"),
    ("./a/b", "fo"),
    ("//host/a", "o"),
    ("/a/k3Y9zQ1x", "Tr"),
    ("etc/key", "o"),
    ("C:\\dir", ""),
    ("a(b", "c"),
    ("abc1234", "w"),
    ("abc12345", "Tr"),
    ("a1b", "o"),
    ("12345678901234", "won"),
    ("123456789012345", "on"),
    ("aBaBaBaB", ""),
    ("aBaBaB", "wo"),
    ("\u{e9}t\u{e9}", "w"),
    ("us-east-1", "wo"),
    ("http://h:80/", "o"),
    ("http://u@h/", ""),
    ("abcdefghijklmnopqrst", "wo"),
    ("abcdefghijklmnopqrstu", "w"),
    ("1.2.3.4.5", "won"),
    ("1.2.3.4.5.6", "wo"),
    ("12", "won"),
    ("0x1f", ""),
    ("1.5e-3", "on"),
    ("-", "pwo"),
    ("invalid", "wos"),
    ("is", "wo"),
    ("is.", "wos"),
    ("denied", "wo"),
    ("is x", "sS"),
    ("no", "pwos"),
    ("hunter is", "S"),
    ("a b", "sS"),
    ("a1 b", ""),
    ("don't do", "S"),
    ("(a) b", "sS"),
    ("() b", ""),
    ("a", "wo"),
    ("a1b2c3d4", "Tr"),
    ("a1b2c3d", ""),
    ("abc1234x", "Tr"),
    ("abcdefg1", "wT"),
    ("a1b2 c3d4", ""),
    ("550e8400-e29b-41d4-a716-446655440000", ""),
    ("550e8400-e29b-41d4-a716-44665544000g", "Tr"),
    ("550e8400e29b-41d4-a716-446655440000", "Tr"),
    ("hunter22", "wT"),
    ("tr0ub4dor", "Tr"),
    ("correct-horse", "wo"),
];

/// A class: its letter, and the function that decides it.
type Kind = (char, fn(&str) -> bool);

/// The letters of the classes: `p` placeholder, `t` type, `c` code, `f` file, `w` words, `o` ordinary, `n` number, `s`
/// statement, `S` sentence, `T` secret-looking, `r` random.
fn letters(value: &str) -> String {
    let kinds: [Kind; 11] = [
        ('p', is_placeholder),
        ('t', is_type),
        ('c', is_code),
        ('f', is_path),
        ('w', is_wordy),
        ('o', is_ordinary),
        ('n', is_number),
        ('s', is_prose),
        ('S', is_sentence),
        ('T', is_telling),
        ('r', looks_random),
    ];
    kinds.iter().filter(|(_, is)| is(value)).map(|(letter, _)| letter).collect()
}

#[test]
fn each_value_counts_as_what_the_table_says() {
    for (value, expected) in VALUES {
        assert_eq!(letters(value), expected, "{value}");
    }
}
