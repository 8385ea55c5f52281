//! A line of text that the user types.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Longest text, in characters.
const CHARS_MAX: usize = 200;

/// A line of text with a cursor.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TextField {
    text: String,
    /// The number of characters before the cursor.
    cursor: usize,
}

impl TextField {
    /// A field with a text, and the cursor after it.
    pub(crate) fn with(text: &str) -> Self {
        let mut field = Self::default();
        field.insert(text);
        field
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The text before and after the cursor.
    pub(crate) fn halves(&self) -> (&str, &str) {
        self.text.split_at(self.byte(self.cursor))
    }

    /// The offset of a character in bytes.
    fn byte(&self, index: usize) -> usize {
        self.text.char_indices().nth(index).map_or(self.text.len(), |(at, _)| at)
    }

    /// Inserts text at the cursor, without control characters and up to the longest text.
    pub(crate) fn insert(&mut self, text: &str) {
        for character in text.chars().filter(|character| !character.is_control()) {
            if self.text.chars().count() >= CHARS_MAX {
                return;
            }
            let at = self.byte(self.cursor);
            self.text.insert(at, character);
            self.cursor += 1;
        }
    }

    /// Edits the text. False if the key does not edit.
    pub(crate) fn press(&mut self, key: &KeyEvent) -> bool {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('u') if is_control => *self = Self::default(),
            KeyCode::Char('w') if is_control => self.remove_word(),
            KeyCode::Char('a') if is_control => self.cursor = 0,
            KeyCode::Char('e') if is_control => self.cursor = self.text.chars().count(),
            KeyCode::Char(character) if !is_control && !key.modifiers.contains(KeyModifiers::ALT) => {
                self.insert(character.encode_utf8(&mut [0; 4]));
            }
            KeyCode::Backspace => self.remove_before(),
            KeyCode::Delete => {
                if self.cursor < self.text.chars().count() {
                    self.text.remove(self.byte(self.cursor));
                }
            }
            KeyCode::Left => self.cursor = self.cursor.saturating_sub(1),
            KeyCode::Right => self.cursor = self.text.chars().count().min(self.cursor + 1),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.text.chars().count(),
            _ => return false,
        }
        true
    }

    fn remove_before(&mut self) {
        if let Some(before) = self.cursor.checked_sub(1) {
            self.text.remove(self.byte(before));
            self.cursor = before;
        }
    }

    /// Removes the word before the cursor, with the blanks after it.
    fn remove_word(&mut self) {
        let before = |field: &Self| field.halves().0.chars().next_back();
        while before(self).is_some_and(char::is_whitespace) {
            self.remove_before();
        }
        while before(self).is_some_and(|character| !character.is_whitespace()) {
            self.remove_before();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(field: &mut TextField, keys: &[(KeyCode, KeyModifiers)]) -> String {
        for (code, modifiers) in keys {
            field.press(&KeyEvent::new(*code, *modifiers));
        }
        let (before, after) = field.halves();
        format!("{before}|{after}")
    }

    #[test]
    fn a_line_is_edited_as_in_a_shell() {
        let plain = |code| (code, KeyModifiers::NONE);
        let control = |character| (KeyCode::Char(character), KeyModifiers::CONTROL);
        let mut field = TextField::with("größer als\x1b 3");
        assert_eq!(typed(&mut field, &[]), "größer als 3|");
        assert_eq!(typed(&mut field, &[control('w'), control('w')]), "größer |");
        assert_eq!(
            typed(&mut field, &[plain(KeyCode::Home), plain(KeyCode::Right), plain(KeyCode::Delete)]),
            "g|ößer "
        );
        assert_eq!(typed(&mut field, &[plain(KeyCode::Char('ü')), plain(KeyCode::Backspace)]), "g|ößer ");
        assert_eq!(typed(&mut field, &[control('e'), control('a'), plain(KeyCode::Backspace)]), "|gößer ");
        assert_eq!(typed(&mut field, &[control('u'), plain(KeyCode::Delete)]), "|");
    }

    #[test]
    fn a_pasted_text_is_cut() {
        assert_eq!(TextField::with(&"é".repeat(1000)).text().chars().count(), CHARS_MAX);
    }
}
