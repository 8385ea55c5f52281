//! The secret filter: applies all detection methods until no method finds another secret.

use crate::spec::redact::{
    assignment, block, command_line, header, login_file,
    mark::REDACTED,
    shape,
    span::Spans,
    text::{BORDER, Text},
    url,
};

/// The greatest number of passes over a text. A text that needs more is masked as a whole.
const PASSES_MAX: usize = 8;

/// Masks everything in `text` that looks like a secret. For reasons, error messages and output lines.
pub fn redact_text(text: &str) -> String {
    settled(text.to_owned(), |text| pass(Text { text, is_args: false })).unwrap_or_else(|| REDACTED.to_owned())
}

/// Masks everything in the arguments of a command, or in a program with its arguments, that looks like a secret. The
/// number of arguments stays the same.
pub(crate) fn redact_args(args: &[String]) -> Vec<String> {
    if args.is_empty() {
        return Vec::new();
    }
    // The argument contains a NUL byte. execve(2) cannot pass such an argument, so it comes from a damaged record.
    let plain = args.iter().map(|arg| if arg.contains(BORDER) { REDACTED } else { arg.as_str() });
    let joined = plain.collect::<Vec<_>>().join("\0");
    let masked = settled(joined, |text| pass(Text { text, is_args: true }));
    let masked: Vec<String> = masked.iter().flat_map(|text| text.split(BORDER)).map(str::to_owned).collect();
    if masked.len() == args.len() { masked } else { vec![REDACTED.to_owned(); args.len()] }
}

/// Applies `mask` until the text does not change; `None` after too many passes. Recorded text must not change when it
/// is masked again.
fn settled(mut text: String, mask: impl Fn(&str) -> String) -> Option<String> {
    for _ in 0..PASSES_MAX {
        let masked = mask(&text);
        if masked == text {
            return Some(masked);
        }
        text = masked;
    }
    None
}

/// The parts of a value that look like secrets.
pub(crate) fn secrets_in(value: &str) -> Vec<&str> {
    spans(Text { text: value, is_args: false }).parts(value)
}

fn pass(text: Text<'_>) -> String {
    spans(text).mask(text.text)
}

fn spans(text: Text<'_>) -> Spans {
    let mut spans = Spans::default();
    block::find(text, &mut spans);
    shape::find(text, &mut spans);
    url::find(text, &mut spans);
    header::find(text, &mut spans);
    assignment::find(text, &mut spans);
    command_line::find(text, &mut spans);
    login_file::find(text, &mut spans);
    spans
}
