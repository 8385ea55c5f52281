//! The secret filter: applies all detection methods until no method finds another secret.

use std::borrow::Cow;

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
    settled(text, false).map_or_else(|| REDACTED.to_owned(), Cow::into_owned)
}

/// Masks everything in the arguments of a command, or in a program with its arguments, that looks like a secret. The
/// number of arguments stays the same.
pub(crate) fn redact_args(mut args: Vec<String>) -> Vec<String> {
    if args.is_empty() {
        return args;
    }
    // The argument contains a NUL byte. execve(2) cannot pass such an argument, so it comes from a damaged record.
    args.iter_mut().filter(|arg| arg.contains(BORDER)).for_each(|arg| REDACTED.clone_into(arg));
    let joined = args.join("\0");
    let masked = match settled(&joined, true) {
        Some(Cow::Borrowed(_)) => return args,
        Some(Cow::Owned(masked)) => masked,
        None => String::new(),
    };
    let masked: Vec<String> = masked.split(BORDER).map(str::to_owned).collect();
    if masked.len() == args.len() { masked } else { vec![REDACTED.to_owned(); args.len()] }
}

/// Masks until the text does not change; `None` after too many passes. Recorded text must not change when it is masked
/// again.
fn settled(text: &str, is_args: bool) -> Option<Cow<'_, str>> {
    let mut settled = Cow::Borrowed(text);
    for _ in 0..PASSES_MAX {
        let spans = spans(Text::new(&settled, is_args));
        if spans.is_empty() {
            return Some(settled);
        }
        let masked = spans.mask(&settled);
        if masked == settled {
            return Some(settled);
        }
        settled = Cow::Owned(masked);
    }
    None
}

/// The parts of a value that look like secrets.
pub(crate) fn secrets_in(value: &str) -> Vec<&str> {
    spans(Text::new(value, false)).parts(value)
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
