//! Errors in `ecosystem.toml`, with the line of the setting and without the values of environment variables.

use toml::de::DeTable;

/// A parse error with its line number. The text of the line is left out, because it may contain the value of an
/// environment variable.
pub(crate) fn located(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| line_at(text, span.start));
    let message = without_value(error.message());
    line.map_or_else(|| message.clone(), |line| format!("line {line}: {message}"))
}

/// Removes the value from a message such as `invalid type: string "hunter2", expected a map`. The kind of the value and
/// the expected type stay.
fn without_value(message: &str) -> String {
    for what in ["invalid type: ", "invalid value: "] {
        let Some(found) = message.strip_prefix(what) else { continue };
        // The value may contain any text. The part after the last comma contains only the expected type, and no part of
        // the value.
        let (value, expected) = found.rsplit_once(", expected ").unwrap_or((found, "something else"));
        let kind = value.split(['"', '`']).next().unwrap_or_default().trim_end();
        return format!("{what}{kind}, expected {expected}");
    }
    message.to_owned()
}

/// An invalid setting: its position in the file, and the reason.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidSetting {
    /// Index of the process in the file.
    pub(crate) process: Option<usize>,
    /// The keys that lead from the process to the setting.
    pub(crate) keys: &'static [&'static str],
    pub(crate) why: String,
}

impl InvalidSetting {
    /// An error in one setting of a process.
    pub(crate) fn at(keys: &'static [&'static str]) -> impl Fn(String) -> Self {
        move |why| Self { process: None, keys, why }
    }

    /// The error message with the line of the setting. If the setting is not in the file, the line is that of its
    /// nearest parent table.
    pub(crate) fn located(self, text: &str) -> String {
        let line = self.process.and_then(|process| line_of(text, process, self.keys));
        line.map_or_else(|| self.why.clone(), |line| format!("line {line}: {}", self.why))
    }
}

impl From<String> for InvalidSetting {
    fn from(why: String) -> Self {
        Self { process: None, keys: &[], why }
    }
}

/// The line of a setting of a process, counted from 1; `None` if the setting is not in the file.
fn line_of(text: &str, process: usize, keys: &[&str]) -> Option<usize> {
    let file = DeTable::parse(text).ok()?;
    let (_, processes) = file.get_ref().iter().find(|(key, _)| key.get_ref() == "process")?;
    let mut value = processes.get_ref().as_array()?.get(process)?;
    let mut start = value.span().start;
    for name in keys {
        let Some(table) = value.get_ref().as_table() else { break };
        let Some((key, below)) = table.iter().find(|(key, _)| key.get_ref() == name) else { break };
        start = key.span().start;
        value = below;
    }
    Some(line_at(text, start))
}

fn line_at(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or_default().matches('\n').count() + 1
}
