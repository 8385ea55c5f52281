//! The format of a launch file, in all its versions.
//!
//! ```text
//! version 0   {"spec": …, "base_env": …, …}                      without a version
//! version 1   {"version": 1, "launch": {"spec": …, …}}
//! ```
//!
//! A new optional field needs no new version. A program that does not know the field refuses the file, as it does a file of a
//! newer version: it must not start a process without a part of its specification.

#[cfg(test)]
pub(crate) mod golden;

use apm2_model::spec::launch::LaunchSpec;
use serde::Serialize;
use serde_json::Value;

use crate::launch_form::LaunchForm;

/// The version of the format in which launch files are written.
pub(crate) const VERSION: u64 = 1;

/// Maximum size of a launch file in bytes.
pub(crate) const BYTES_MAX: u64 = 4 << 20;

/// Why a launch file cannot be read. The error quotes no content of the file, which may contain secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnreadableFile {
    /// The file is not valid JSON.
    #[error("it is damaged at line {line}, column {column}; `up` writes it anew")]
    Damaged {
        /// The line of the JSON error, from 1.
        line: usize,
        /// The column of the JSON error, from 1.
        column: usize,
    },
    /// The file is JSON of a known version, but no valid launch.
    #[error("it holds something that this program does not know; use the program that wrote it, or `up` to replace it")]
    Unknown,
    /// The file has a version that this program does not know.
    #[error(
        "it has version {0}, and this program reads 0 to {VERSION}; use the program that wrote it, or `up` to replace it"
    )]
    Newer(u64),
    /// The file is larger than [`BYTES_MAX`].
    #[error("it is larger than {BYTES_MAX} bytes")]
    TooLarge,
}

/// Encodes a launch in the current version.
///
/// # Errors
/// The launch cannot be encoded as JSON, or is larger than [`BYTES_MAX`].
pub(crate) fn encode(launch: &LaunchSpec) -> std::io::Result<Vec<u8>> {
    #[derive(Serialize)]
    struct Versioned<'a> {
        version: u64,
        #[serde(with = "LaunchForm")]
        launch: &'a LaunchSpec,
    }
    let bytes = serde_json::to_vec(&Versioned { version: VERSION, launch })?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length <= BYTES_MAX) {
        Ok(bytes)
    } else {
        Err(std::io::Error::new(std::io::ErrorKind::InvalidData, UnreadableFile::TooLarge))
    }
}

/// Decodes a launch of any version up to the current one.
///
/// # Errors
/// This program cannot read the launch.
pub(crate) fn decode(bytes: &[u8]) -> Result<LaunchSpec, UnreadableFile> {
    if u64::try_from(bytes.len()).is_ok_and(|length| length > BYTES_MAX) {
        return Err(UnreadableFile::TooLarge);
    }
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| UnreadableFile::Damaged { line: error.line(), column: error.column() })?;
    let launch = match value.get("version") {
        None => Some(&value),
        Some(version) => match version.as_u64() {
            Some(VERSION) => value.get("launch"),
            Some(newer) if newer > VERSION => return Err(UnreadableFile::Newer(newer)),
            Some(_) | None => None,
        },
    };
    launch.and_then(|launch| LaunchForm::deserialize(launch).ok()).ok_or(UnreadableFile::Unknown)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf, time::Duration};

    use apm2_model::spec::config::{
        credentials::CredentialSource,
        health::HealthCheck,
        restart::{BackoffConfig, RestartPolicy},
    };

    use super::*;

    fn golden(name: &str) -> Vec<u8> {
        let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../migrations/golden");
        fs::read(dir.join(name)).unwrap()
    }

    #[test]
    fn launches_of_version_0_mean_what_they_meant() {
        let agent = decode(&golden("launch-v0/agent.json")).unwrap();
        assert_eq!(agent.spec.args, ["1000", "--api-key=sk-invented-0001"]);
        assert_eq!(agent.spec.env.get("API_TOKEN").map(String::as_str), Some("invented-token-2"));
        assert_eq!((agent.spec.instances, agent.spec.restart.policy), (2, RestartPolicy::Always));
        let (initial, step, max) = (Duration::from_secs(1), Duration::from_millis(500), Duration::from_secs(60));
        assert_eq!(agent.spec.restart.backoff, BackoffConfig::Linear { initial, step, max });
        assert_eq!(agent.silence_limit, Some(Duration::from_secs(300)));
        assert_eq!(agent.credential_source, Some(CredentialSource::File("/srv/invented/api.env".into())));
        assert_eq!(agent.group.as_deref(), Some("/srv/invented/ecosystem.toml"));
        assert_eq!(agent.spec.shutdown.timeout, Duration::from_secs(3));
        assert!(!agent.spec.shutdown.force_kill);
        for (name, check) in [("checked", "Liveness"), ("scripted", "Script"), ("dialed", "Tcp"), ("agent", "Http")] {
            let launch = decode(&golden(&format!("launch-v0/{name}.json"))).unwrap();
            let is_meant = launch.spec.health.is_some_and(|health| {
                matches!(
                    (check, health.check),
                    ("Liveness", HealthCheck::Liveness)
                        | ("Script", HealthCheck::Script { .. })
                        | ("Tcp", HealthCheck::Tcp { .. })
                        | ("Http", HealthCheck::Http { .. })
                )
            });
            assert!(is_meant, "{name}");
        }
        for name in ["plain", "once"] {
            assert_eq!(decode(&golden(&format!("launch-v0/{name}.json"))).unwrap().spec.name, name);
        }
    }

    /// Every later version must allow that optional fields are absent.
    #[test]
    fn what_is_absent_has_its_default() {
        let id = "00000000-0000-0000-0000-000000000007";
        let text = format!(r#"{{"version":1,"launch":{{"spec":{{"id":"{id}","name":"a","command":"true"}}}}}}"#);
        let launch = decode(text.as_bytes()).unwrap();
        let spec = apm2_model::spec::ProcessSpec::builder().id(id.parse().unwrap()).name("a").command("true");
        assert_eq!(launch, LaunchSpec::new(spec.build()));
    }

    /// A new field changes the bytes without a new version. In this case, these golden files stay as input, and new
    /// golden files are added.
    #[test]
    fn launches_of_version_1_mean_what_they_meant_and_are_written_the_same() {
        for (name, launch) in golden::launches() {
            let bytes = golden(&format!("launch-v1/{name}.json"));
            assert_eq!(decode(&bytes), Ok(launch.clone()), "{name}");
            assert_eq!(String::from_utf8(encode(&launch).unwrap()), String::from_utf8(bytes), "{name}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for name in ["agent", "checked", "scripted", "dialed", "plain", "once"] {
            let launch = decode(&golden(&format!("launch-v0/{name}.json"))).unwrap();
            let bytes = encode(&launch).unwrap();
            assert_eq!(decode(&bytes), Ok(launch), "{name}");
            let value: Value = serde_json::from_slice(&bytes).unwrap();
            assert_eq!(value["version"], VERSION);
        }
    }

    #[test]
    fn what_is_not_known_is_refused_in_words_that_hold_none_of_it() {
        let unknown = UnreadableFile::Unknown;
        let spec = r#""spec":{"id":"00000000-0000-0000-0000-000000000007","name":"a","command":"true"}"#;
        for (text, why) in [
            (r#"{"version":2,"launch":{"spec":"hunter2"}}"#.to_owned(), UnreadableFile::Newer(2)),
            (r#"{"version":18446744073709551615,"hunter2":1}"#.to_owned(), UnreadableFile::Newer(u64::MAX)),
            (format!(r#"{{"version":0,{spec}}}"#), unknown),
            (format!(r#"{{"version":"1","launch":{{{spec}}}}}"#), unknown),
            (format!(r#"{{"version":1,{spec}}}"#), unknown),
            (format!(r#"{{"version":1,"launch":{{{spec},"hunter2":true}}}}"#), unknown),
            (r#"{"version":1}"#.to_owned(), unknown),
            (r#"["hunter2"]"#.to_owned(), unknown),
            (r#"{"spec":"hunter2"}"#.to_owned(), unknown),
            ("{\"spec\":\n hunter2}".to_owned(), UnreadableFile::Damaged { line: 2, column: 2 }),
            (String::new(), UnreadableFile::Damaged { line: 1, column: 0 }),
        ] {
            assert_eq!(decode(text.as_bytes()), Err(why), "{text}");
            assert!(!why.to_string().contains("hunter2"), "{why}");
        }
        let large = vec![b' '; usize::try_from(BYTES_MAX).unwrap() + 1];
        assert_eq!(decode(&large), Err(UnreadableFile::TooLarge));
    }
}
