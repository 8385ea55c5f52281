//! Finds key blocks: the text from `-----BEGIN …-----` to `-----END …-----`, and single lines that have the length and
//! the characters of a line of a key.

use crate::spec::redact::{
    span::Spans,
    text::{BORDER, Text, is_line_end, position},
};

const BEGIN: &str = "-----BEGIN";

const END: &str = "-----END";

const DASHES: &str = "-----";

/// Labels of blocks that contain no secret, such as certificates.
const OPEN_LABELS: [&str; 2] = ["PUBLIC KEY", "CERTIFICATE"];

/// The greatest number of bytes of a label that are examined.
const LABEL_BYTES_MAX: usize = 64;

/// Lengths of a full line in a key block.
const LINE_LENGTHS: [usize; 4] = [64, 70, 72, 76];

/// Finds the key blocks. A block without an end marker reaches to the end of the text or of its argument. A block
/// without a begin marker starts at the beginning of the text or of its argument.
pub(crate) fn find(text: Text<'_>, spans: &mut Spans) {
    let mut from = 0;
    // Each marker is searched for again only after the last match. Otherwise, many begin markers without an end would
    // take quadratic time.
    let has_dashes = text.may_contain(DASHES) && position(text.text, DASHES, 0).is_some();
    let first = |marker| if has_dashes { position(text.text, marker, 0) } else { None };
    let (mut begin, mut end) = (first(BEGIN), first(END));
    loop {
        begin = begin.and_then(|begin| position(text.text, BEGIN, begin.max(from)));
        end = end.and_then(|end| position(text.text, END, end.max(from)));
        let (start, closer) = match (begin, end) {
            (None, None) => break,
            // The end marker comes first, so its begin marker is missing.
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
        from = stop;
    }
    lone_lines(text, spans);
}

/// The end of the marker whose label begins at `label`.
fn marker_end(text: Text<'_>, label: usize) -> usize {
    let sample = text.sample(label, LABEL_BYTES_MAX);
    let end = sample.bytes().position(is_line_end).unwrap_or(sample.len());
    sample.get(..end).and_then(|sample| sample.find(DASHES)).map_or(label + end, |at| label + at + DASHES.len())
}

/// The beginning of the argument that contains `end`, but not a position before `from`.
fn argument_start(text: Text<'_>, from: usize, end: usize) -> usize {
    end - text.part(from, end).rsplit(BORDER).next().unwrap_or_default().len()
}

/// Finds lines whose last word has exactly the length and the characters of a line of a key.
fn lone_lines(text: Text<'_>, spans: &mut Spans) {
    if LINE_LENGTHS.iter().all(|length| text.text.len() < *length) {
        return;
    }
    for (start, line) in text.lines() {
        let word = line.rsplit([' ', '\t']).next().unwrap_or_default();
        let end = start + line.len();
        if is_key_line(word) {
            spans.add(end - word.len()..end);
        }
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
    use crate::spec::redact::filter::{redact_args, redact_text, secrets_in};

    #[test]
    fn a_block_leaves_one_mark() {
        let key = "a\n-----BEGIN X KEY-----\nLEAK\n-----END X KEY-----\nb";
        assert_eq!(redact_text(key), "a\n<redacted>\nb");
        assert_eq!(redact_text("LEAK\n-----END X KEY-----\nb"), "<redacted>\nb");
        assert_eq!(redact_text("a -----BEGIN X KEY-----\nLEAK\nLEAK"), "a <redacted>");
    }

    /// One pass finds both.
    #[test]
    fn the_end_of_a_block_and_the_beginning_of_another_leave_two_marks() {
        let (rest, begun) = ("LEAK\n-----END X KEY-----", "-----BEGIN X KEY-----\nLEAK");
        for next in [begun.to_owned(), format!("{begun}\n-----END X KEY-----")] {
            assert_eq!(secrets_in(&format!("{rest}\nb\n{next}")), [rest, next.as_str()]);
        }
        assert_eq!(redact_text(&format!("{rest}\nb\n{begun}")), "<redacted>\nb\n<redacted>");
    }

    #[test]
    fn a_block_without_its_other_end_ends_with_its_argument() {
        for (args, expected) in [
            (["a", "LEAK -----END X KEY----- b", "c"], ["a", "<redacted> b", "c"]),
            (["a", "b -----BEGIN X KEY----- LEAK", "c"], ["a", "b <redacted>", "c"]),
            (["-----END X KEY-----", "LEAK -----END X KEY-----", "c"], ["<redacted>", "<redacted>", "c"]),
        ] {
            assert_eq!(redact_args(args.map(str::to_owned).to_vec()), expected);
        }
    }

    #[test]
    fn a_line_of_a_key_is_masked_without_the_words_before_it() {
        let line = format!("{}Ab1+", "Zq7/".repeat(15));
        assert_eq!(line.len(), 64);
        for (text, expected) in [
            (format!("{line}\nx 1: {line}\r\n\t{line}"), "<redacted>\nx 1: <redacted>\r\n\t<redacted>".to_owned()),
            (format!("{line}x\n{}", line.to_ascii_lowercase()), format!("{line}x\n{}", line.to_ascii_lowercase())),
        ] {
            assert_eq!(redact_text(&text), expected);
        }
    }
}
