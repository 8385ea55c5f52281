//! Finds passwords in the lines of `.netrc` and `.pgpass` files. Other files with logins consist of assignments or
//! URLs, which other rules find.

use crate::spec::redact::{
    classify,
    span::Spans,
    text::{Text, is_space},
};

/// Finds the passwords in lines of `.netrc` and `.pgpass`.
pub(crate) fn find(text: Text<'_>, spans: &mut Spans) {
    netrc(text, spans);
    if !text.may_contain(":") {
        return;
    }
    for (start, line) in text.lines() {
        pgpass(start, line, spans);
    }
}

/// Finds `machine h login u password x`, also if it spans several lines.
fn netrc(text: Text<'_>, spans: &mut Spans) {
    if text.is_args || !text.may_contain("password") || !text.text.contains("password") {
        return;
    }
    let mut before = ["", "", ""];
    let mut from = 0;
    loop {
        let start = text.find(from, |byte| !is_space(byte));
        let end = text.find(start, is_space);
        if start >= end {
            return;
        }
        let word = text.part(start, end);
        let [first, _, last] = before;
        if last == "password" && matches!(first, "login" | "machine") && !classify::is_placeholder(word) {
            spans.add(start..end);
        }
        let [_, second, third] = before;
        before = [second, third, word];
        from = end;
    }
}

/// Finds the password in `host:port:database:user:password`.
fn pgpass(start: usize, line: &str, spans: &mut Spans) {
    if line.contains([' ', '\t', '"', '\'']) {
        return;
    }
    let Some([host, port, database, user]) = fields(line) else { return };
    let password_at = host.len() + port.len() + database.len() + user.len() + 4;
    let is_number = |field: &str| field.bytes().all(|byte| byte.is_ascii_digit());
    let is_port = port == "*" || (!port.is_empty() && is_number(port));
    // An empty field counts as a number, so it is not accepted as a name.
    let are_names = ![host, database, user].into_iter().any(is_number);
    if is_port && are_names && !host.contains("//") {
        spans.add(start + password_at..start + line.len());
    }
}

/// The first four fields of a line; `None` if there are fewer. A colon after a backslash is part of a field.
fn fields(line: &str) -> Option<[&str; 4]> {
    let mut found = [""; 4];
    let mut rest = line;
    for field in &mut found {
        let bytes = rest.as_bytes();
        let at = (0..bytes.len()).find(|at| {
            bytes.get(*at) == Some(&b':') && at.checked_sub(1).and_then(|before| bytes.get(before)) != Some(&b'\\')
        })?;
        *field = rest.get(..at)?;
        rest = rest.get(at + 1..)?;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use crate::spec::redact::filter::{redact_args, redact_text};

    #[test]
    fn a_line_of_pgpass_has_a_port_and_names() {
        for (line, expected) in [
            ("h:5432:db:bob:LEAK", "h:5432:db:bob:<redacted>"),
            ("*:*:*:*:LEAK", "*:*:*:*:<redacted>"),
            ("a:b:c\nh:1:d:u:LEAK\nh:1:d:u:LEAK:K\n", "a:b:c\nh:1:d:u:<redacted>\nh:1:d:u:<redacted>\n"),
            ("a\\:b:1:d:u:LEAK", "a\\:b:1:d:u:<redacted>"),
            ("h:1:d:u:", "h:1:d:u:"),
            ("h::d:u:p", "h::d:u:p"),
            ("h:x:d:u:p", "h:x:d:u:p"),
            (":1:d:u:p", ":1:d:u:p"),
            ("12:1:d:u:p", "12:1:d:u:p"),
            ("h:1:2:u:p", "h:1:2:u:p"),
            ("h:1:d:3:p", "h:1:d:3:p"),
            ("a//h:1:d:u:p", "a//h:1:d:u:p"),
            ("see h:1:d:u:p", "see h:1:d:u:p"),
        ] {
            assert_eq!(redact_text(line), expected, "{line:?}");
        }
    }

    #[test]
    fn a_password_of_netrc_follows_a_login_or_a_machine() {
        for (text, expected) in [
            ("machine h login u password word", "machine h login u password <redacted>"),
            ("machine h\n  login u\n  password word\n", "machine h\n  login u\n  password <redacted>\n"),
            ("machine h password word", "machine h password <redacted>"),
            ("a login u password $WORD", "a login u password $WORD"),
            ("a wrong u password word", "a wrong u password word"),
            ("machine h login u account word", "machine h login u account word"),
        ] {
            assert_eq!(redact_text(text), expected, "{text:?}");
        }
        let args = ["login", "u", "password", "word"].map(str::to_owned);
        assert_eq!(redact_args(args.to_vec()), args);
    }
}
