//! Key blocks: everything between `-----BEGIN …-----` and `-----END …-----`, and single lines with the length and the
//! characters of a line of a key.

use crate::spec::redact::{
    span::Spans,
    text::{Text, is_line_end},
};

const BEGIN: &str = "-----BEGIN";

const END: &str = "-----END";

const DASHES: &str = "-----";

/// Labels of blocks that are no secrets.
const OPEN_LABELS: [&str; 2] = ["PUBLIC KEY", "CERTIFICATE"];

/// The longest label.
const LABEL_BYTES_MAX: usize = 64;

/// Lengths of a full line in a key block.
const LINE_LENGTHS: [usize; 4] = [64, 70, 72, 76];

/// Finds the blocks. One whose end is missing reaches to the end of the text, or of its argument; one whose beginning is
/// missing begins with that.
pub(crate) fn find(text: Text<'_>, spans: &mut Spans) {
    let mut from = 0;
    // Searched again only behind the last match, so that many beginnings without an end take linear time.
    let mut begin = find_from(text, BEGIN, 0);
    let mut end = find_from(text, END, 0);
    loop {
        begin = begin.and_then(|begin| if begin < from { find_from(text, BEGIN, from) } else { Some(begin) });
        end = end.and_then(|end| if end < from { find_from(text, END, from) } else { Some(end) });
        let (start, closer) = match (begin, end) {
            (None, None) => break,
            // An end without a beginning.
            (Some(begin), Some(end)) if end < begin => (argument_start(text, from, end), Some(end)),
            (Some(begin), end) => (begin, end),
            (None, Some(end)) => (argument_start(text, from, end), Some(end)),
        };
        let stop = match closer {
            Some(end) => marker_end(text, end + END.len()),
            None => text.find(start, |byte| byte == 0),
        };
        let label = text.sample(closer.or(begin).unwrap_or(start), LABEL_BYTES_MAX);
        if !OPEN_LABELS.iter().any(|open| label.contains(open)) {
            spans.add(start..stop);
        }
        from = stop.max(start + 1);
    }
    lone_lines(text, spans);
}

fn find_from(text: Text<'_>, what: &str, from: usize) -> Option<usize> {
    text.text.get(from..)?.find(what).map(|at| from + at)
}

/// The end of the marker whose label begins at `label`.
fn marker_end(text: Text<'_>, label: usize) -> usize {
    let sample = text.sample(label, LABEL_BYTES_MAX);
    let end = sample.bytes().position(is_line_end).unwrap_or(sample.len());
    sample.get(..end).and_then(|sample| sample.find(DASHES)).map_or(label + end, |at| label + at + DASHES.len())
}

fn argument_start(text: Text<'_>, from: usize, end: usize) -> usize {
    text.part(from, end).rfind('\0').map_or(from, |at| from + at + 1)
}

/// Lines whose last word is exactly as long as a line of a key, and made of the same characters.
fn lone_lines(text: Text<'_>, spans: &mut Spans) {
    let mut start = 0;
    while start < text.text.len() {
        let end = text.line_end(start);
        let line = text.part(start, end);
        let word_at = line.rfind([' ', '\t']).map_or(0, |at| at + 1);
        if line.get(word_at..).is_some_and(is_key_line) {
            spans.add(start + word_at..end);
        }
        start = end + 1;
    }
}

fn is_key_line(word: &str) -> bool {
    LINE_LENGTHS.contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'='))
        && word.bytes().any(|byte| byte.is_ascii_uppercase())
        && word.bytes().any(|byte| byte.is_ascii_lowercase())
        && word.bytes().any(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use crate::spec::redact::filter::redact_text;

    #[test]
    fn a_block_leaves_one_mark() {
        let key = "a\n-----BEGIN X KEY-----\nLEAK\n-----END X KEY-----\nb";
        assert_eq!(redact_text(key), "a\n<redacted>\nb");
        assert_eq!(redact_text("LEAK\n-----END X KEY-----\nb"), "<redacted>\nb");
        assert_eq!(redact_text("a -----BEGIN X KEY-----\nLEAK\nLEAK"), "a <redacted>");
    }
}
