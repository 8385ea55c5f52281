//! Finds HTTP headers whose secret value consists of several words: `Authorization`, `Cookie`, and credentials after
//! `Bearer` and `Basic`.

use crate::spec::redact::{
    classify,
    span::Spans,
    text::{Text, is_blank, is_line_end, is_quote, positions},
};

/// Authentication schemes: the words before the secret in an `Authorization` header.
const SCHEMES: [&str; 19] = [
    "apikey",
    "api-key",
    "aws4-hmac-sha256",
    "basic",
    "bearer",
    "bot",
    "digest",
    "dpop",
    "geniekey",
    "hawk",
    "key",
    "mac",
    "negotiate",
    "ntlm",
    "oauth",
    "sharedkey",
    "splunk",
    "ssws",
    "token",
];

/// The least number of bytes of a credential after `Bearer` or `Basic`.
const CREDENTIAL_BYTES_MIN: usize = 4;

/// The greatest number of examined bytes of a scheme, and of the beginning of a value.
const LOOK_BYTES_MAX: usize = 128;

/// The greatest number of continuation lines of a `Cookie` header.
const FOLDED_LINES_MAX: usize = 64;

/// Finds the secret values of HTTP headers.
pub(crate) fn find(text: Text<'_>, spans: &mut Spans) {
    let (names, schemes) = (["authorization", "cookie"], ["bearer", "basic", "apikey"]);
    if !names.iter().chain(&schemes).any(|word| text.may_contain(word)) {
        return;
    }
    let lower = text.text.to_ascii_lowercase();
    for name in names {
        let mut done = 0;
        for at in positions(&lower, name) {
            if at >= done {
                done = header(text, name, at, spans).unwrap_or(done);
            }
        }
    }
    for scheme in schemes {
        for at in positions(&lower, scheme) {
            credential(text, scheme, at, spans);
        }
    }
}

/// Masks the value of the header whose name begins at `at`. Returns the end of the masked range.
fn header(text: Text<'_>, name: &str, at: usize, spans: &mut Spans) -> Option<usize> {
    let name_end = at + name.len();
    // A quoted header name: `"Authorization": "Bearer …"`, `\"Authorization\":\"…\"`.
    let quotes_end = skip_quotes(text, name_end);
    let is_quoted = quotes_end != name_end;
    let sign = text.skip_blanks(quotes_end);
    let sign_end = match (text.byte(sign)?, text.byte(sign + 1)) {
        (b'=', Some(b'>')) => sign + 2,
        (b'=', _) if is_quoted => sign + 1,
        (b':', _) => sign + 1,
        _ => return None,
    };
    let mut start = text.skip_blanks(sign_end);
    if text.is_args && text.byte(start) == Some(0) {
        // `-H Authorization: …` without quotes: the value is the next argument.
        start += 1;
    }
    let opened_at = start;
    start = skip_quotes(text, opened_at);
    let quote = if start == opened_at { opening_quote(text, at) } else { text.before(start) };
    let is_end = |byte: u8| is_line_end(byte) || Some(byte) == quote;
    let sample = text.sample(start, LOOK_BYTES_MAX);
    let sample = sample.get(..sample.bytes().position(is_end).unwrap_or(sample.len()))?;
    if name == "cookie" {
        let is_secret = (sample.contains('=') || classify::looks_random(sample)) && !classify::is_placeholder(sample);
        return is_secret.then(|| cookies(text, start, text.find(start, is_end), quote.is_some(), spans));
    }
    let scheme = scheme_length(sample);
    let said = sample.get(scheme..)?;
    let is_secret = !said.is_empty() && !classify::is_placeholder(said.trim_end()) && !classify::is_prose(said);
    is_secret.then(|| {
        let stop = text.find(start, is_end);
        let kept = text.part(start + scheme, stop).trim_end_matches(['\\', ' ', '\t', '}', ']', ')']).len();
        spans.add(start + scheme..start + scheme + kept);
        stop
    })
}

/// The position after the quotes at `from` and their backslashes.
fn skip_quotes(text: Text<'_>, from: usize) -> usize {
    text.find(from, |byte| !(is_quote(byte) || byte == b'\\'))
}

/// The length of the authentication scheme at the beginning of a value, including the blanks after it.
fn scheme_length(value: &str) -> usize {
    let word = value.split([' ', '\t']).next().unwrap_or_default();
    let blanks = value.bytes().skip(word.len()).take_while(|byte| is_blank(*byte)).count();
    if SCHEMES.contains(&word.to_ascii_lowercase().as_str()) { word.len() + blanks } else { 0 }
}

/// The quote character that encloses the whole header: `-H 'Cookie: …'`.
fn opening_quote(text: Text<'_>, at: usize) -> Option<u8> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let length = (0..LOOK_BYTES_MAX).take_while(|back| text.before(at - back).is_some_and(is_name)).count();
    text.before(at - length).filter(|byte| is_quote(*byte))
}

/// Masks the value of a `Cookie` header, including its continuation lines. A continuation line follows a `;`, or begins
/// with a blank.
fn cookies(text: Text<'_>, start: usize, stop: usize, is_quoted: bool, spans: &mut Spans) -> usize {
    let mut end = stop;
    spans.add(start..start + text.part(start, stop).trim_end().len());
    for _ in 0..FOLDED_LINES_MAX {
        let next = end + 1 + usize::from(text.byte(end) == Some(b'\r') && text.byte(end + 1) == Some(b'\n'));
        let goes_on = text.before(end) == Some(b';') || text.byte(next).is_some_and(is_blank);
        if is_quoted || !goes_on || matches!(text.byte(end), None | Some(0)) {
            return end;
        }
        let line_end = text.line_end(next);
        let from = text.skip_blanks(next);
        if !text.part(from, line_end).contains('=') {
            return end;
        }
        spans.add(from..line_end);
        end = line_end;
    }
    end
}

/// Masks the credential in `Bearer …`, anywhere in the text.
fn credential(text: Text<'_>, scheme: &str, at: usize, spans: &mut Spans) {
    let end = at + scheme.len();
    if text.before(at).is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        || !text.byte(end).is_some_and(is_blank)
    {
        return;
    }
    let start = text.skip_blanks(end);
    let stop = text.find(start, |byte| !(byte.is_ascii_alphanumeric() || b"._~+/=-".contains(&byte)));
    let length = text.part(start, stop).trim_end_matches(['.', '-']).len();
    let sample = text.sample(start, LOOK_BYTES_MAX.min(length));
    if text.byte(stop) == Some(b'(') || sample.len() < CREDENTIAL_BYTES_MIN {
        return;
    }
    // `Bearer realm="…"` is a challenge of a server and contains no secret.
    let is_parameter = sample.split_once('=').is_some_and(|(_, rest)| !rest.trim_matches('=').is_empty())
        || (sample.ends_with('=') && text.byte(stop).is_some_and(is_quote));
    let is_secret = match scheme {
        "basic" => is_login(text.part(start, start + length)),
        _ => !is_parameter && !is_plain_word(sample),
    };
    if is_secret {
        spans.add(start..start + length);
    }
}

/// Whether the word looks like a word of a sentence: at most 16 letters, and small letters after the first.
fn is_plain_word(word: &str) -> bool {
    word.len() <= 16 && word.bytes().skip(1).all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'.' | b'-'))
}

/// Whether the word is the base64 encoding of `user:password`.
fn is_login(word: &str) -> bool {
    let mut bits: u32 = 0;
    let mut count = 0;
    let mut has_colon = false;
    for byte in word.trim_end_matches('=').bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return false,
        };
        bits = (bits << 6) | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            let decoded = (bits >> count) & 0xff;
            bits &= (1 << count) - 1;
            has_colon |= decoded == u32::from(b':');
            if decoded < 0x20 || decoded == 0x7f {
                return false;
            }
        }
    }
    has_colon
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::spec::redact::{
        escaped::base64,
        filter::{redact_args, redact_text},
    };

    proptest! {
        #[test]
        fn a_login_in_base64_is_recognized(login in "[ -~]{0,20}:[ -~]{0,20}", padding in "={0,2}") {
            for last in ["+/", "-_"] {
                let word = base64(login.as_bytes(), last) + &padding;
                prop_assert!(is_login(&word), "{word}");
            }
        }

        #[test]
        fn base64_of_another_text_is_no_login(
            text in "[ -9;-~]{0,30}", login in "[a-z]{1,9}:", control in "[\\x00-\\x1f\\x7f]", wrong in "[!-*,.:-@]",
        ) {
            let encoded = |text: &str| base64(text.as_bytes(), "+/");
            prop_assert!(!is_login(&encoded(&text)), "it has no colon");
            let with_control = format!("{login}{control}x");
            prop_assert!(!is_login(&encoded(&with_control)), "it has a control character");
            prop_assume!(wrong != "=");
            let not_base64 = format!("{}{wrong}", encoded(&login));
            prop_assert!(!is_login(&not_base64), "{not_base64}");
        }
    }

    #[test]
    fn a_header_in_quotes_ends_with_them() {
        for (text, expected) in [
            (
                "curl -H 'Proxy-Authorization: LEAKone two' http://h/",
                "curl -H 'Proxy-Authorization: <redacted>' http://h/",
            ),
            ("curl -H \"Set-Cookie: a=LEAK b\" http://h/", "curl -H \"Set-Cookie: <redacted>\" http://h/"),
            ("{\"Authorization\": \"LEAKone two\", \"a\": 1}", "{\"Authorization\": \"<redacted>\", \"a\": 1}"),
            ("Authorization: LEAKone two", "Authorization: <redacted>"),
        ] {
            assert_eq!(redact_text(text), expected, "{text:?}");
        }
        for escapes in ["", "\\", "\\\\\\", "\\\\\\\\\\\\\\"] {
            let text = |value: &str| format!("{{{escapes}\"Authorization{escapes}\":{escapes}\"{value}{escapes}\"}}");
            assert_eq!(redact_text(&text("LEAKone two")), text("<redacted>"), "{escapes}");
        }
    }

    /// Before `=`, only a quoted name is the name of a header. A name without quotes is that of a variable, whose value
    /// is one word.
    #[test]
    fn a_header_has_a_colon_an_arrow_or_quotes() {
        for (text, expected) in [
            ("'Authorization'=LEAKone LEAKtwo", "'Authorization'=<redacted>"),
            ("'Authorization' = LEAKone LEAKtwo", "'Authorization' = <redacted>"),
            ("authorization=LEAKone LEAKtwo", "authorization=<redacted> LEAKtwo"),
            ("Authorization => LEAKone LEAKtwo", "Authorization => <redacted>"),
            ("'Authorization'-LEAKone LEAKtwo", "'Authorization'-LEAKone LEAKtwo"),
            ("authorization", "authorization"),
        ] {
            assert_eq!(redact_text(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_parameter_of_a_scheme_is_no_credential() {
        for (text, expected) in [
            ("Bearer LEAKab12==", "Bearer <redacted>"),
            ("Bearer LEAKab12", "Bearer <redacted>"),
            ("Bearer error=invalid1", "Bearer error=invalid1"),
            ("Bearer realm=\"api1\"", "Bearer realm=\"api1\""),
            ("Bearer word", "Bearer word"),
        ] {
            assert_eq!(redact_text(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_header_of_cookies_ends_with_its_argument() {
        let args = ["-H", "Cookie: a=LEAK1;", "b=2x"].map(str::to_owned);
        assert_eq!(redact_args(args.to_vec()), ["-H", "Cookie: <redacted>", "b=2x"]);
    }

    #[test]
    fn a_header_of_cookies_may_continue_on_the_next_line() {
        for (text, expected) in [
            ("Cookie: a=1x;\r\n b=2x\r\nc=3", "Cookie: <redacted>\r\n <redacted>\r\nc=3"),
            ("Cookie: a=1x;\rb=2x", "Cookie: <redacted>\r<redacted>"),
            ("Cookie: a=1x;\n\n b=2x", "Cookie: <redacted>\n\n b=2x"),
            ("Cookie: a=1x\n words", "Cookie: <redacted>\n words"),
            ("\"Cookie: a=1x;\"\n b=2x", "\"Cookie: <redacted>\"\n b=2x"),
        ] {
            assert_eq!(redact_text(text), expected, "{text:?}");
        }
    }
}
