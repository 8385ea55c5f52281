//! The table `[ledger]` of an `ecosystem.toml`: how long the ledger keeps its history.

use std::time::Duration;

use apm2_daemon::ledger_settings::LedgerSettings;
use serde::Deserialize;

/// The shortest age at which events move into an archive.
const RETAIN_MIN: Duration = Duration::from_secs(60 * 60);

/// The units of a size, in bytes: powers of 1000, and powers of 1024 with an `i`.
const UNITS: [(&str, u64); 9] = [
    ("B", 1),
    ("kB", 1000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// The table `[ledger]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LedgerTable {
    #[serde(default, with = "apm2_model::duration::option")]
    retain: Option<Duration>,
    #[serde(default, alias = "max-bytes")]
    max_bytes: Option<Size>,
}

/// A size in bytes, as a number or as a text such as `10GB`.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a size is a number of bytes, or a text such as \"10GB\" or \"512MiB\"")]
enum Size {
    Bytes(u64),
    Text(String),
}

impl Size {
    fn bytes(&self) -> Option<u64> {
        let text = match self {
            Self::Bytes(bytes) => return Some(*bytes),
            Self::Text(text) => text.trim(),
        };
        let digits = text.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let unit = unit.trim_start();
        let (_, factor) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
        number.parse::<u64>().ok()?.checked_mul(*factor)
    }
}

impl LedgerTable {
    pub(crate) fn settings(&self) -> Result<LedgerSettings, String> {
        if self.retain.is_some_and(|age| age < RETAIN_MIN) {
            return Err("ledger.retain: the age is at least 1h".to_owned());
        }
        let bytes = |size: &Size| {
            size.bytes().filter(|bytes| *bytes > 0).ok_or("ledger.max_bytes: a size is like 10GB or 512MiB".to_owned())
        };
        Ok(LedgerSettings { retain: self.retain, max_bytes: self.max_bytes.as_ref().map(bytes).transpose()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_units() {
        let table = |text: &str| toml::from_str::<LedgerTable>(text).map(|table| table.settings());
        let sizes = [
            ("7", 7),
            ("'10GB'", 10_000_000_000),
            ("'10 gb'", 10_000_000_000),
            ("'3KiB'", 3072),
            ("'1TiB'", 1 << 40),
            ("'5 B'", 5),
        ];
        for (text, bytes) in sizes {
            for key in ["max_bytes", "max-bytes"] {
                let found = table(&format!("{key} = {text}")).unwrap().unwrap();
                assert_eq!(found, LedgerSettings { retain: None, max_bytes: Some(bytes) }, "{text}");
            }
        }
        for text in ["'GB'", "'10'", "'1.5GB'", "'-1GB'", "'10XB'", "0", "'99999999999TiB'"] {
            assert!(table(&format!("max_bytes = {text}")).unwrap().is_err(), "{text}");
        }
        for text in ["max_bytes = -1", "max_bytes = true", "keep = '1d'", "retain = 'soon'"] {
            assert!(table(text).is_err(), "{text}");
        }
        let settings = table("retain = '90d'").unwrap().unwrap();
        assert_eq!(settings.retain, Some(Duration::from_secs(90 * 86_400)));
        assert!(table("retain = '59m'").unwrap().is_err());
    }
}
