//! Finds logins in URLs, and URLs that are secrets themselves (webhooks). Secrets in URL parameters are found as
//! assignments, see `assignment.rs`.

use crate::spec::redact::{
    classify,
    span::Spans,
    text::{Text, is_space, positions},
};

/// Webhooks: the host and path before the secret part of the URL, and the number of public path segments before the
/// secret.
const HOOKS: [(&str, usize); 4] = [
    ("hooks.slack.com/services/", 2),
    ("hooks.slack.com/triggers/", 2),
    ("discord.com/api/webhooks/", 1),
    ("discordapp.com/api/webhooks/", 1),
];

/// The greatest length of a user name, in bytes.
const USER_BYTES_MAX: usize = 16;

/// The greatest number of bytes of a login before an `@` that are examined.
const LOGIN_BYTES_MAX: usize = 1024;

/// Finds passwords in logins, and tokens that stand in place of a login.
pub(crate) fn find(text: Text<'_>, spans: &mut Spans) {
    if text.may_contain("://") {
        for at in positions(text.text, "://") {
            let start = at + 3;
            login(text, at, start, spans);
            hook(text, start, spans);
        }
    }
    if text.may_contain("@") {
        bare_logins(text, spans);
    }
}

fn is_url_end(byte: u8) -> bool {
    is_space(byte) || matches!(byte, b'"' | b'\'' | b'`' | b'<' | b'>' | b'|')
}

fn login(text: Text<'_>, scheme_end: usize, start: usize, spans: &mut Spans) {
    let sample = text.sample(start, LOGIN_BYTES_MAX);
    // Another URL may follow in the same word. That URL is not part of this login.
    let url = sample.bytes().position(is_url_end).and_then(|end| sample.get(..end)).unwrap_or(sample);
    let url = url.split_once("://").map_or(url, |(first, _)| first);
    let authority = url.split(['/', '?', '#']).next().unwrap_or_default();
    let login = match authority.rfind('@') {
        Some(end) => authority.get(..end),
        // A password that is not percent-encoded may contain a character that ends the authority of a URL (`/`, `?`,
        // `#`). A port consists of digits only.
        None => authority.split_once(':').and_then(|(_, port)| {
            let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
            if is_port { None } else { url.get(..url.rfind('@')?) }
        }),
    };
    let Some(login) = login else { return };
    match login.split_once(':') {
        Some((user, password)) => {
            let from = start + user.len() + 1;
            // The user part may be a token: `https://token:x-oauth-basic@host`.
            if classify::is_telling(user) {
                spans.add(start..start + user.len());
            }
            if !classify::is_placeholder(password) {
                spans.add(from..start + login.len());
            }
        }
        None => {
            let scheme = text.part(0, scheme_end).as_bytes();
            let is_http = [&b"http"[..], b"https"].iter().any(|http| scheme.ends_with(http));
            if is_http && !classify::is_placeholder(login) && !is_user_name(login) {
                spans.add(start..start + login.len());
            }
        }
    }
}

/// Whether the login is only a user name: `git@`, `bob@`.
fn is_user_name(login: &str) -> bool {
    login.len() <= USER_BYTES_MAX && login.bytes().all(|byte| byte.is_ascii_lowercase() || b"._-".contains(&byte))
}

fn hook(text: Text<'_>, start: usize, spans: &mut Spans) {
    let Some(rest) = text.text.get(start..) else { return };
    let hook = HOOKS
        .iter()
        .find_map(|(before, parts)| rest.strip_prefix(before).map(|path| (start + before.len(), path, parts)));
    let Some((from, path, parts)) = hook else { return };
    let mut secret_at = from;
    for part in path.split_inclusive('/').take(*parts) {
        secret_at += part.len();
    }
    let end = text.find(from, |byte| is_url_end(byte) || matches!(byte, b'?' | b'#'));
    spans.add(secret_at..end);
}

/// Finds `user:password@host:port` without a scheme, as in proxy settings.
fn bare_logins(text: Text<'_>, spans: &mut Spans) {
    for (at, _) in text.text.match_indices('@') {
        let host_end = text.find(at + 1, |byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-')));
        let port_end = text.find(host_end + 1, |byte| !byte.is_ascii_digit());
        let has_port = text.byte(host_end) == Some(b':') && port_end > host_end + 1;
        let has_host = text.part(at, host_end).contains('.');
        if !(has_port && has_host) {
            continue;
        }
        let window = at.saturating_sub(LOGIN_BYTES_MAX);
        let before = text.text.as_bytes().get(window..at).unwrap_or_default();
        let is_before_login = |byte: &u8| is_url_end(*byte) || matches!(byte, b'=' | b'/');
        let start = at - before.rsplit(is_before_login).next().unwrap_or_default().len();
        let Some((user, password)) = text.part(start, at).split_once(':') else { continue };
        if !user.is_empty() && !classify::is_placeholder(password) {
            spans.add(start + user.len() + 1..at);
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::spec::redact::filter::redact_text;

    #[test]
    fn a_login_without_a_scheme_has_a_user_a_host_and_a_port() {
        for (text, expected) in [
            ("bob:LEAK@h.example:80", "bob:<redacted>@h.example:80"),
            ("via bob:LEAK@h.example:80 now", "via bob:<redacted>@h.example:80 now"),
            ("proxy=bob:LEAK@h.example:80", "proxy=bob:<redacted>@h.example:80"),
            ("bob:****@h.example:80", "bob:****@h.example:80"),
            (":word@h.example:80", ":word@h.example:80"),
            ("via :word@h.example:80", "via :word@h.example:80"),
            ("bob:word@.:80", "bob:<redacted>@.:80"),
            ("bob:word@:80", "bob:word@:80"),
            ("bob:wo.rd@host:80", "bob:wo.rd@host:80"),
            ("bob:word@h.example:", "bob:word@h.example:"),
            ("bob:word@h.example", "bob:word@h.example"),
            ("bob@h.example:80", "bob@h.example:80"),
        ] {
            assert_eq!(redact_text(text), expected, "{text:?}");
        }
    }

    #[test]
    fn the_secret_part_of_a_hook_is_masked() {
        for (text, expected) in [
            ("https://hooks.slack.com/services/T0/B0/word?a", "https://hooks.slack.com/services/T0/B0/<redacted>?a"),
            ("https://hooks.slack.com/services/T0/B0/", "https://hooks.slack.com/services/T0/B0/"),
            ("https://hooks.slack.com/services/T0?a/b/c", "https://hooks.slack.com/services/T0?a/b/c"),
            ("https://discord.com/api/webhooks/1/word", "https://discord.com/api/webhooks/1/<redacted>"),
        ] {
            assert_eq!(redact_text(text), expected, "{text:?}");
        }
    }
}
