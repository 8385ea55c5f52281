//! Byte ranges of a text that are to be masked.

use std::ops::Range;

use crate::spec::redact::{mark::REDACTED, text::BORDER};

/// Byte ranges in any order. The ranges may overlap.
#[derive(Debug, Default)]
pub(crate) struct Spans(Vec<Range<usize>>);

impl Spans {
    /// Adds a range. An empty range is ignored.
    pub(crate) fn add(&mut self, range: Range<usize>) {
        if !range.is_empty() {
            self.0.push(range);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text in each range.
    pub(crate) fn parts<'a>(&self, text: &'a str) -> Vec<&'a str> {
        self.0.iter().filter_map(|range| text.get(range.clone())).collect()
    }

    /// Replaces each range of `text` by the mark `<redacted>`. Ranges that touch become one mark. A range that crosses
    /// the border of two arguments becomes one mark in each argument.
    pub(crate) fn mask(mut self, text: &str) -> String {
        if self.0.is_empty() {
            return text.to_owned();
        }
        // If the text already contains a mark (`<redacted>`), the mark is not split.
        self.0.extend(text.match_indices(REDACTED).map(|(at, mark)| at..at + mark.len()));
        self.0.sort_unstable_by_key(|range| (range.start, range.end));
        let mut masked = String::with_capacity(text.len());
        let mut done = 0;
        let mut ranges = self.0.into_iter().peekable();
        while let Some(Range { start, mut end }) = ranges.next() {
            while let Some(next) = ranges.next_if(|next| next.start <= end) {
                end = end.max(next.end);
            }
            masked.push_str(text.get(done..start).unwrap_or_default());
            let hidden = text.get(start..end).unwrap_or_default();
            let mut is_first = true;
            for piece in hidden.split(BORDER) {
                if !is_first {
                    masked.push(BORDER);
                }
                is_first = false;
                if !piece.is_empty() {
                    masked.push_str(REDACTED);
                }
            }
            done = end;
        }
        masked.push_str(text.get(done..).unwrap_or_default());
        masked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(text: &str, ranges: &[(usize, usize)]) -> String {
        let mut spans = Spans::default();
        ranges.iter().for_each(|(start, end)| spans.add(*start..*end));
        spans.mask(text)
    }

    #[test]
    fn ranges_that_meet_get_one_mark() {
        assert_eq!(masked("abcdef", &[(3, 5), (1, 3)]), "a<redacted>f");
        assert_eq!(masked("abcdef", &[(4, 5), (0, 1)]), "<redacted>bcd<redacted>f");
        assert_eq!(masked("abcdef", &[]), "abcdef");
    }

    #[test]
    fn a_mark_is_not_taken_apart_and_arguments_stay_apart() {
        assert_eq!(masked("a<redacted>b", &[(3, 5)]), "a<redacted>b");
        assert_eq!(masked("ab\0cd\0e", &[(1, 5)]), "a<redacted>\0<redacted>\0e");
    }
}
