//! Breaks text into lines that fit the terminal.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The smallest number of columns for text. On a narrower terminal, lines are longer than the terminal is wide.
const TEXT_COLUMNS_MIN: usize = 8;

/// `text` in lines of at most `columns` columns, broken between words where possible.
pub(crate) fn wrapped(text: &str, indents: (&str, &str), columns: Option<usize>) -> Vec<String> {
    let Some(columns) = columns else { return vec![format!("{}{text}", indents.0)] };
    let room = columns.saturating_sub(indents.1.width()).max(TEXT_COLUMNS_MIN);
    let (mut lines, mut line) = (Vec::new(), String::new());
    for word in text.split(' ').flat_map(|word| pieces(word, room)) {
        if !line.is_empty() && line.width() + 1 + word.width() > room {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += &word;
    }
    lines.push(line);
    let indent = |index| if index == 0 { indents.0 } else { indents.1 };
    lines.into_iter().enumerate().map(|(index, line)| format!("{}{line}", indent(index))).collect()
}

/// `word` in pieces of at most `room` columns.
fn pieces(word: &str, room: usize) -> Vec<String> {
    let (mut pieces, mut piece, mut width) = (Vec::new(), String::new(), 0);
    for character in word.chars() {
        let columns = character.width().unwrap_or(0);
        if width + columns > room {
            pieces.push(std::mem::take(&mut piece));
            width = 0;
        }
        piece.push(character);
        width += columns;
    }
    pieces.push(piece);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_is_longer_than_the_terminal() {
        let text =
            "It was stopped by 日本語 at 2026-01-31T12:00:00.000Z: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.";
        for columns in 12..100 {
            let lines = wrapped(text, ("  ", "    "), Some(columns));
            assert!(lines.iter().all(|line| line.width() <= columns), "{columns}: {lines:?}");
            let all: String = lines.iter().map(|line| line.trim()).collect();
            assert_eq!(all.replace(' ', ""), text.replace(' ', ""));
        }
        assert_eq!(wrapped(text, ("  ", "    "), None), [format!("  {text}")]);
    }
}
