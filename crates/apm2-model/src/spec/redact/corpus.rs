//! Measures the secret filter on corpora: committed files of lines with secrets, and of lines that only look like
//! secrets.
//!
//! `cargo test -p apm2-model corpus -- --nocapture` prints the figures.

use crate::spec::redact::{filter, mark::REDACTED, text::BORDER};

/// The number of consecutive bytes of a secret that may occur in the masked line by chance.
const CHANCE_BYTES: usize = 4;

const MASKED: &str = include_str!("../../../tests/corpus/masked.txt");

const PLAIN: &str = include_str!("../../../tests/corpus/plain.txt");

const DECIDED: &str = include_str!("../../../tests/corpus/decided.txt");

const HELD_OUT_MASKED: &str = include_str!("../../../tests/corpus/held_out_masked.txt");

const HELD_OUT_PLAIN: &str = include_str!("../../../tests/corpus/held_out_plain.txt");

/// The minimum numbers of lines in the files of test lines (corpora): lines with secrets, lines without, held-out lines.
const MASKED_MIN: usize = 150;

const PLAIN_MIN: usize = 300;

const HELD_OUT_MIN: usize = 60;

/// The precision and the recall that the filter reached on lines that were not used in its development, in thousandths.
const HELD_OUT_PRECISION: usize = 1000;

const HELD_OUT_RECALL: usize = 983;

fn lines(corpus: &str) -> Vec<String> {
    let lines = corpus.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.replace('␤', "\n").replace('␀', "\0")).collect()
}

/// The result of the filter for a line. A line with argument separators is filtered as arguments.
fn filtered(line: &str) -> String {
    if !line.contains(BORDER) {
        return filter::redact_text(line);
    }
    let args: Vec<String> = line.split(BORDER).map(str::to_owned).collect();
    let masked = filter::redact_args(args.clone());
    assert_eq!(masked.len(), args.len());
    masked.join("\0")
}

/// The line without the marks `«` and `»`, and the secrets between these marks.
fn unmarked(line: &str) -> (String, Vec<String>) {
    let secrets = line.split('«').skip(1).filter_map(|part| Some(part.split_once('»')?.0.to_owned())).collect();
    (line.replace(['«', '»'], ""), secrets)
}

/// The secrets of a line that are still readable after masking.
fn leaks(line: &str) -> Vec<String> {
    let (text, secrets) = unmarked(line);
    assert!(!secrets.is_empty(), "no secret is marked in {line}");
    let masked = filtered(&text);
    let public = line.split(['«', '»']).step_by(2).collect::<Vec<_>>().join("\n");
    let is_left = |secret: &String| {
        let pieces = secret.as_bytes().windows(CHANCE_BYTES.min(secret.len()));
        pieces.filter_map(|piece| std::str::from_utf8(piece).ok()).any(|piece| {
            let is_telling = piece.bytes().all(|byte| byte.is_ascii_alphanumeric());
            is_telling && masked.contains(piece) && !public.contains(piece)
        })
    };
    secrets.into_iter().filter(is_left).map(|secret| format!("{secret:?} is left in {masked:?}")).collect()
}

/// The correctly masked lines, the lines with a secret that was missed, and the lines without a secret that were masked
/// wrongly.
#[derive(Default)]
struct Figures {
    found: usize,
    missed: Vec<String>,
    wrong: Vec<String>,
}

impl Figures {
    fn of(masked: &str, plain: &str) -> Self {
        let mut figures = Self::default();
        for line in lines(masked) {
            let left = leaks(&line);
            if left.is_empty() {
                figures.found += 1;
            }
            figures.missed.extend(left.first().cloned());
        }
        for line in lines(plain) {
            let seen = filtered(&line);
            if seen != line {
                figures.wrong.push(format!("{line:?} became {seen:?}"));
            }
        }
        figures
    }

    /// Precision (the correct part of the masked lines) and recall (the masked part of the lines with secrets), in
    /// thousandths.
    fn precision_and_recall(&self) -> (usize, usize) {
        let of = |part: usize, all: usize| (part * 1000).checked_div(all).unwrap_or(1000);
        (of(self.found, self.found + self.wrong.len()), of(self.found, self.found + self.missed.len()))
    }
}

/// Prints the figures, the missed lines and the wrongly masked lines.
fn report(name: &str, figures: &Figures) {
    let (precision, recall) = figures.precision_and_recall();
    println!("{name}: precision {precision}/1000, recall {recall}/1000");
    figures.missed.iter().for_each(|missed| println!("  missed: {missed}"));
    figures.wrong.iter().for_each(|wrong| println!("  wrong: {wrong}"));
}

#[test]
fn every_line_of_the_corpora_is_masked_as_marked() {
    assert!(lines(MASKED).len() >= MASKED_MIN && lines(PLAIN).len() >= PLAIN_MIN);
    let figures = Figures::of(MASKED, PLAIN);
    report("corpora", &figures);
    assert_eq!(figures.precision_and_recall(), (1000, 1000));
}

/// The held-out lines were written before the filter, and the filter was not adapted to them. The bounds are the values
/// that the filter reached first.
#[test]
fn held_out_lines_are_masked_as_well_as_before() {
    assert!(lines(HELD_OUT_MASKED).len() >= HELD_OUT_MIN && lines(HELD_OUT_PLAIN).len() >= HELD_OUT_MIN);
    let figures = Figures::of(HELD_OUT_MASKED, HELD_OUT_PLAIN);
    report("held out", &figures);
    let (precision, recall) = figures.precision_and_recall();
    assert!(precision >= HELD_OUT_PRECISION && recall >= HELD_OUT_RECALL, "precision {precision}, recall {recall}");
}

#[test]
fn what_is_masked_once_is_masked_no_further() {
    for corpus in [MASKED, PLAIN, HELD_OUT_MASKED, HELD_OUT_PLAIN] {
        for line in lines(corpus) {
            let once = filtered(&unmarked(&line).0);
            assert_eq!(filtered(&once), once);
        }
    }
}

/// The line with `<redacted>` in place of each marked secret.
fn exactly(line: &str) -> String {
    let parts = line.split('«').enumerate().map(|(place, part)| match part.split_once('»') {
        Some((_, after)) if place > 0 => format!("{REDACTED}{after}"),
        _ => part.to_owned(),
    });
    parts.collect()
}

#[test]
fn each_secret_is_replaced_by_one_mark_and_the_rest_stays() {
    for line in [MASKED, DECIDED].into_iter().flat_map(lines) {
        assert_eq!(filtered(&unmarked(&line).0), exactly(&line));
    }
}
