//! Characters that have no visible form.
//!
//! The table is the property Default_Ignorable_Code_Point of Unicode 16.0 (DerivedCoreProperties.txt): characters that
//! are not displayed unless a program supports them. The table is in this file because the crates with this property
//! depend on much unrelated data (`icu_properties`) or are parsers (`regex-syntax`). A test compares the table with
//! `regex-syntax`. Control characters are not in it, see `escape.rs`.

/// The first and the last character of each range, in ascending order.
const DEFAULT_IGNORABLE: [(char, char); 17] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fff8}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Whether `character` has the property Default_Ignorable_Code_Point.
pub(crate) fn is_default_ignorable(character: char) -> bool {
    let after = DEFAULT_IGNORABLE.partition_point(|(first, _)| *first <= character);
    let range = after.checked_sub(1).and_then(|place| DEFAULT_IGNORABLE.get(place));
    range.is_some_and(|(_, last)| character <= *last)
}

#[cfg(test)]
mod tests {
    use regex_syntax::hir::{Class, HirKind};

    use super::*;

    #[test]
    fn the_table_is_that_of_unicode() {
        let property = regex_syntax::parse(r"\p{Default_Ignorable_Code_Point}").unwrap();
        let HirKind::Class(Class::Unicode(class)) = property.kind() else { panic!("{property:?}") };
        let ranges: Vec<(char, char)> = class.iter().map(|range| (range.start(), range.end())).collect();
        assert_eq!(ranges, DEFAULT_IGNORABLE);
    }

    #[test]
    fn a_character_is_found_in_its_range_alone() {
        let is_in_a_range = |c: char| DEFAULT_IGNORABLE.iter().any(|(first, last)| (*first..=*last).contains(&c));
        for character in '\0'..=char::MAX {
            assert_eq!(is_default_ignorable(character), is_in_a_range(character), "{character:?}");
        }
    }
}
