//! Shortens a text that may contain secrets. Secrets are masked first, because the filter does not recognize a part of
//! a secret.

use crate::spec::redact::{known::Known, mark::REDACTED};

impl Known {
    /// Returns at most `chars_max` characters of `text`. The values in `known` and everything that looks like a secret
    /// are masked.
    pub fn redact_and_cut(&self, text: &str, chars_max: usize) -> String {
        cut(&self.redact_text(text), chars_max)
    }
}

/// Returns at most `chars_max` characters of a masked text. A mark (`<redacted>`) is either complete or removed, since
/// a part of a mark would look like text.
fn cut(masked: &str, chars_max: usize) -> String {
    let end = masked.char_indices().nth(chars_max).map_or(masked.len(), |(at, _)| at);
    let ends_later = |(at, mark): &(usize, &str)| end < at + mark.len();
    let end = masked.match_indices(REDACTED).find(ends_later).map_or(end, |(at, _)| end.min(at));
    masked.get(..end).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wherever a text is cut, no part of a secret at that place remains.
    #[test]
    fn no_part_of_a_secret_is_left_where_a_text_is_cut() {
        let secrets = ["ghp_16C7e42F292c6912E7710c838347Ae178B4a", "hunter2-is-my-password", "x7Kp9-second_value"];
        let known = Known::of([("A", secrets[0])]).with_credentials([secrets[1]]);
        let text = format!("{} and {} and TOKEN={} and so on", secrets[0], secrets[1], secrets[2]);
        for length in 0..text.len() + 10 {
            let shown = known.redact_and_cut(&text, length);
            for secret in secrets {
                assert!(!shown.contains(&secret[..4]), "{length}: {shown}");
            }
            assert!(shown.chars().count() <= length);
            let rest = shown.replace(REDACTED, "");
            assert!(!rest.contains('<'), "a mark is torn: {shown}");
        }
        assert_eq!(known.redact_and_cut("plain text", 5), "plain");
        assert_eq!(cut("über", 2), "üb");
        for (length, expected) in [(2, "ab"), (3, "ab"), (11, "ab"), (12, "ab<redacted>"), (14, "ab<redacted>cd")] {
            assert_eq!(cut("ab<redacted>cd", length), expected, "{length}");
        }
    }
}
