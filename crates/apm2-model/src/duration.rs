//! Durations as text: `30s`, `5m`, `1h 30m`.
//!
//! Use with `#[serde(with = "crate::duration")]`. The text form is for TOML and JSON; records hold integer milliseconds
//! and do not use this form.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

/// Writes `duration` as text.
///
/// # Errors
/// Only those of the serializer.
pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*duration))
}

/// Reads a duration from a text such as `250ms`, `30s` or `5m`.
///
/// # Errors
/// The text is not a duration.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text).map_err(|error| D::Error::custom(format!("{text:?} is not a duration: {error}")))
}

/// Optional durations, as [`serialize`] and [`deserialize`] write and read them. Use with `#[serde(default, with = "crate::duration::option")]`.
pub mod option {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    /// Writes `duration` as text, and `None` as null.
    ///
    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.collect_str(&humantime::format_duration(*duration)),
            None => serializer.serialize_none(),
        }
    }

    /// Reads a duration from a text; `None` from null.
    ///
    /// # Errors
    /// The text is not a duration.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| humantime::parse_duration(&text).map_err(D::Error::custom)).transpose()
    }
}

/// `duration` in whole milliseconds, the unit in which durations are recorded. Saturates at the greatest `u64`.
#[must_use]
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Serialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Times {
        #[serde(with = "crate::duration")]
        always: Duration,
        #[serde(default, with = "crate::duration::option")]
        sometimes: Option<Duration>,
    }

    proptest! {
        #[test]
        fn a_duration_reads_back_from_its_text(always in any::<u32>(), sometimes in proptest::option::of(any::<u32>())) {
            let sometimes = sometimes.map(|ms| Duration::from_millis(u64::from(ms)));
            let times = Times { always: Duration::from_micros(u64::from(always)), sometimes };
            let text = serde_json::to_string(&times).unwrap();
            prop_assert_eq!(serde_json::from_str::<Times>(&text).unwrap(), times);
        }
    }

    #[test]
    fn a_duration_is_text_with_units() {
        let times: Times = serde_json::from_str(r#"{"always":"1h 30m","sometimes":"250ms"}"#).unwrap();
        let expected = Times { always: Duration::from_secs(5400), sometimes: Some(Duration::from_millis(250)) };
        assert_eq!(times, expected);
        assert_eq!(serde_json::to_string(&expected).unwrap(), r#"{"always":"1h 30m","sometimes":"250ms"}"#);
        let absent: Times = serde_json::from_str(r#"{"always":"0s"}"#).unwrap();
        assert_eq!(absent, Times { always: Duration::ZERO, sometimes: None });
        for text in [r#"{"always":"soon"}"#, r#"{"always":5}"#, r#"{"always":"1s","sometimes":"soon"}"#] {
            assert!(serde_json::from_str::<Times>(text).is_err(), "{text}");
        }
        let error = serde_json::from_str::<Times>(r#"{"always":"soon"}"#).unwrap_err().to_string();
        assert!(error.contains("\"soon\" is not a duration"), "{error}");
    }

    #[test]
    fn milliseconds_saturate() {
        assert_eq!(millis(Duration::from_micros(2_999)), 2);
        assert_eq!(millis(Duration::MAX), u64::MAX);
    }
}
