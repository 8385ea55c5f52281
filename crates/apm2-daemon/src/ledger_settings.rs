//! The file `settings` in the ledger's directory: how long the ledger keeps its history, as an ecosystem file says.
//!
//! ```text
//! {"version": 1, "group": "/srv/ecosystem.toml", "settings": {"retain": "90days", "max_bytes": 10000000000}}
//! ```
//!
//! `up` sends the settings, and the daemon writes them, so that the next daemon has them when it opens the ledger. A ledger has
//! the settings of one group: those that were sent last.

use std::{io, path::Path, time::Duration};

use apm2_ledger::file;
use serde::{Deserialize, Serialize};

/// The name of the file in the ledger directory.
const FILE: &str = "settings";

/// The version of the format of the file.
const VERSION: u32 = 1;

/// How long a ledger keeps its history, and how large it may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerSettings {
    /// The age from which on events move into an archive; `None` leaves them in the journal.
    #[serde(default, with = "apm2_model::duration::option", skip_serializing_if = "Option::is_none")]
    pub retain: Option<Duration>,
    /// Limit of all files in the ledger's directory, in bytes; `None` for no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
}

/// The content of the file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SettingsFile {
    version: u32,
    /// The group whose settings these are: the path of its ecosystem file.
    group: String,
    settings: LedgerSettings,
}

/// The settings of the ledger in `dir`; the defaults without the file.
///
/// # Errors
/// The file cannot be read, or was written by a newer version of the program.
pub fn settings(dir: &Path) -> io::Result<LedgerSettings> {
    Ok(read(dir)?.map(|file| file.settings).unwrap_or_default())
}

/// Replaces the settings by those of the group. Without settings, those that the group gave before are removed.
///
/// # Errors
/// The file cannot be written or removed.
pub(crate) fn replace(dir: &Path, group: &str, settings: Option<LedgerSettings>) -> io::Result<()> {
    let Some(settings) = settings else { return forget(dir, Some(group)) };
    let file = SettingsFile { version: VERSION, group: group.to_owned(), settings };
    if read(dir).is_ok_and(|known| known.as_ref() == Some(&file)) {
        return Ok(());
    }
    file::replace(dir, FILE, &serde_json::to_vec(&file)?)
}

/// Removes the settings of the group, or all settings without a group.
///
/// # Errors
/// The file cannot be read or removed.
pub(crate) fn forget(dir: &Path, group: Option<&str>) -> io::Result<()> {
    if let Some(group) = group
        && read(dir)?.is_none_or(|file| file.group != group)
    {
        return Ok(());
    }
    match std::fs::remove_file(dir.join(FILE)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn read(dir: &Path) -> io::Result<Option<SettingsFile>> {
    let bytes = match file::read(&dir.join(FILE)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        bytes => bytes?,
    };
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, format!("{FILE}: {why}"));
    let file: SettingsFile = serde_json::from_slice(&bytes).map_err(|error| invalid(error.to_string()))?;
    match file.version {
        VERSION => Ok(Some(file)),
        newer => Err(invalid(format!("version {newer}, and this program knows {VERSION}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_those_that_a_group_sent_last() {
        let dir = tempfile::tempdir().unwrap();
        let of = |max_bytes| LedgerSettings { retain: Some(Duration::from_secs(86_400)), max_bytes };
        assert_eq!(settings(dir.path()).unwrap(), LedgerSettings::default());
        replace(dir.path(), "/a", Some(of(None))).unwrap();
        assert_eq!(settings(dir.path()).unwrap(), of(None));
        replace(dir.path(), "/b", Some(of(Some(7)))).unwrap();
        replace(dir.path(), "/a", None).unwrap();
        assert_eq!(settings(dir.path()).unwrap(), of(Some(7)), "those of another group stay");
        forget(dir.path(), Some("/a")).unwrap();
        assert_eq!(settings(dir.path()).unwrap(), of(Some(7)));
        replace(dir.path(), "/b", None).unwrap();
        assert_eq!(settings(dir.path()).unwrap(), LedgerSettings::default());
        replace(dir.path(), "/b", Some(of(Some(7)))).unwrap();
        forget(dir.path(), None).unwrap();
        assert_eq!(settings(dir.path()).unwrap(), LedgerSettings::default());
    }

    #[test]
    fn the_first_version_of_the_file_is_read_and_a_newer_one_refused() {
        let dir = tempfile::tempdir().unwrap();
        let golden = r#"{"version":1,"group":"/srv/e.toml","settings":{"retain":"1day 1h","max_bytes":10000000000}}"#;
        std::fs::write(dir.path().join(FILE), golden).unwrap();
        let retain = Some(Duration::from_secs(25 * 3600));
        let expected = LedgerSettings { retain, max_bytes: Some(10_000_000_000) };
        assert_eq!(settings(dir.path()).unwrap(), expected);
        replace(dir.path(), "/srv/e.toml", Some(LedgerSettings { max_bytes: None, ..expected })).unwrap();
        replace(dir.path(), "/srv/e.toml", Some(expected)).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join(FILE)).unwrap(), golden);
        std::fs::write(dir.path().join(FILE), golden.replace(":1,", ":2,")).unwrap();
        assert!(settings(dir.path()).is_err());
    }
}
