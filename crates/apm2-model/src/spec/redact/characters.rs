//! The set of characters of a text, which rules out most of the words that the filter searches for.

/// The bit of a byte: one for each letter, in both cases, and for some signs. Other bytes have none.
const fn bit(byte: u8) -> u32 {
    match byte {
        b'a'..=b'z' => 1 << (byte - b'a'),
        b'A'..=b'Z' => 1 << (byte - b'A'),
        b'=' => 1 << 26,
        b':' => 1 << 27,
        b'>' => 1 << 28,
        b'@' => 1 << 29,
        b'/' => 1 << 30,
        b'-' => 1 << 31,
        _ => 0,
    }
}

/// The letters of a text, without regard to case, and its signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Characters(u32);

impl Characters {
    pub(crate) const fn of(text: &str) -> Self {
        let (mut rest, mut set) = (text.as_bytes(), 0);
        while let [byte, after @ ..] = rest {
            set |= bit(*byte);
            rest = after;
        }
        Self(set)
    }

    /// Whether all of `other` are among these. If not, the text of these does not contain the text of `other`, in any case.
    pub(crate) const fn include(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_can_contain_only_words_of_its_characters() {
        let text = Characters::of("--Name=\u{fc}b");
        for (word, may_contain) in [
            ("name", true),
            ("-NAME=", true),
            ("mb", true),
            ("", true),
            ("\u{fc}", true),
            ("names", false),
            ("n:", false),
        ] {
            assert_eq!(text.include(Characters::of(word)), may_contain, "{word}");
        }
    }
}
