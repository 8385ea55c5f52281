//! Files of logins: lines of `.netrc` and of `.pgpass`. Other files of logins have assignments or URLs.

use crate::spec::redact::{
    classify,
    span::Spans,
    text::{Text, is_space},
};

/// Finds the passwords in lines of `.netrc` and `.pgpass`.
pub(crate) fn find(text: Text<'_>, spans: &mut Spans) {
    netrc(text, spans);
    let mut start = 0;
    while start < text.text.len() {
        let end = text.line_end(start);
        pgpass(text, start, end, spans);
        start = end + 1;
    }
}

/// `machine h login u password x`, also over lines.
fn netrc(text: Text<'_>, spans: &mut Spans) {
    if text.is_args
        || !text.text.contains("password")
        || !(text.text.contains("login") || text.text.contains("machine"))
    {
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

/// `host:port:database:user:password`.
fn pgpass(text: Text<'_>, start: usize, end: usize, spans: &mut Spans) {
    let line = text.part(start, end);
    if line.contains([' ', '\t', '"', '\'']) {
        return;
    }
    let Some([host, port, database, user]) = fields(line) else { return };
    let password_at = host.len() + port.len() + database.len() + user.len() + 4;
    let is_number = |field: &str| field.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = |field: &str| field == "*" || !is_number(field);
    let is_host = !host.is_empty() && (host == "*" || !is_number(host)) && !host.contains("//");
    let is_login =
        is_host && (port == "*" || (!port.is_empty() && is_number(port))) && is_name(database) && is_name(user);
    if is_login && password_at < line.len() {
        spans.add(start + password_at..end);
    }
}

/// The first four fields; a colon with a backslash before it is part of one.
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
