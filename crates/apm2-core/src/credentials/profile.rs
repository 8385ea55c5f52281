//! Fetches the values of a credential profile at each start. The values are not stored.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    fmt,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use apm2_model::spec::{
    config::credentials::{CredentialConfig, CredentialSource},
    name::is_shell_variable_name,
};
use nix::unistd::geteuid;
use rustix::fs::{FileType, Mode, OFlags, fstat, open};

use crate::{blocking, os::hook};

/// Largest size of a credential file, in bytes.
const FILE_BYTES_MAX: u64 = 64 << 10;

/// Time limit of a command that prints credentials.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);

/// Permission bits of the group and of other users.
const OTHERS: u32 = 0o077;

/// Why the values of a profile could not be fetched. The error contains no values.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// The profile is not defined.
    #[error("credential profile {0:?} is not defined")]
    NoSource(String),
    /// The credential file cannot be read.
    #[error("credential file {path}: {source}")]
    File {
        /// The path of the credential file.
        path: PathBuf,
        /// The I/O error of the read.
        source: io::Error,
    },
    /// The credential file cannot be used: other users may read or replace it, or it is not a regular file of
    /// acceptable size.
    #[error("credential file {path}: {why}")]
    Unsafe {
        /// The path of the credential file.
        path: PathBuf,
        /// Why the file cannot be used.
        why: &'static str,
    },
    /// The command that prints credentials failed.
    #[error("credential command {0}")]
    Command(String),
    /// A key of the specification has no value in the source.
    #[error("credential profile {profile:?} has no {key:?}{place}")]
    MissingKey {
        /// The name of the profile.
        profile: String,
        /// The key without a value.
        key: String,
        /// The place that was searched, with a leading blank for the error text; may be empty.
        place: &'static str,
    },
}

/// Environment variables with their secret values. `Debug` shows only the names.
pub struct Resolved(BTreeMap<String, OsString>);

impl Resolved {
    /// The variables with their values.
    #[must_use]
    pub fn into_variables(self) -> Vec<(String, OsString)> {
        self.0.into_iter().collect()
    }
}

impl fmt::Debug for Resolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// Fetches the credential values for `config`. If a command prints the values, it runs in `cwd`, or in the supervisor's
/// working directory without `cwd`.
///
/// # Errors
/// There is no source, the source cannot be read, or it lacks a key of `config`.
pub async fn resolve(
    source: Option<&CredentialSource>,
    config: &CredentialConfig,
    cwd: Option<&Path>,
) -> Result<Resolved, CredentialError> {
    let profile = &config.profile;
    let found = match source {
        None => return Err(CredentialError::NoSource(profile.clone())),
        Some(CredentialSource::File(path)) => SourceValues::Set(pairs(&read_file(path).await?)),
        Some(CredentialSource::Command(words)) => printed(words, cwd).await?,
        Some(CredentialSource::Environment) => SourceValues::Environment,
    };
    let place = if matches!(found, SourceValues::Environment) { ENVIRONMENT_PLACE } else { "" };
    let missing = |key: &String| CredentialError::MissingKey { profile: profile.clone(), key: key.clone(), place };
    let value = |key: &String| found.get(key).ok_or_else(|| missing(key));
    let variables = config.variables.iter().map(|(variable, key)| Ok((variable.clone(), value(key)?)));
    variables.collect::<Result<_, _>>().map(Resolved)
}

/// The text for a key that is missing in the supervisor's environment: names the variable that was searched.
const ENVIRONMENT_PLACE: &str =
    " in the environment of the supervisor (one that a command started has no variable of the command's)";

/// The values that a credential source provides.
enum SourceValues {
    Set(BTreeMap<String, String>),
    /// The source has only one value, which is used for every key of the profile.
    One(String),
    Environment,
}

impl SourceValues {
    fn get(&self, key: &str) -> Option<OsString> {
        match self {
            Self::Set(pairs) => pairs.get(key).map(OsString::from),
            Self::One(value) => Some(value.into()),
            Self::Environment => env::var_os(key),
        }
    }
}

/// Reads a file on a blocking thread.
async fn read_file(path: &Path) -> Result<String, CredentialError> {
    let owned = path.to_owned();
    let text = blocking::step(move || read(&owned)).await;
    text.unwrap_or_else(|source| Err(CredentialError::File { path: path.to_owned(), source }))
}

/// Reads a file that no other user may read.
fn read(path: &Path) -> Result<String, CredentialError> {
    let failed = |source: io::Error| CredentialError::File { path: path.to_owned(), source };
    let refuse = |why| Err(CredentialError::Unsafe { path: path.to_owned(), why });
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = open(path, flags, Mode::empty()).map_err(|errno| failed(errno.into()))?;
    let stat = fstat(&file).map_err(|errno| failed(errno.into()))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return refuse("it is not a regular file");
    }
    if stat.st_uid != geteuid().as_raw() && stat.st_uid != 0 {
        return refuse("it belongs to another user");
    }
    if stat.st_mode & OTHERS != 0 {
        return refuse("others may read it; chmod 0600 it");
    }
    let mut text = String::new();
    std::fs::File::from(file).take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(failed)?;
    // A file that is too large is refused, because a value that is cut would be wrong.
    if u64::try_from(text.len()).is_ok_and(|bytes| bytes > FILE_BYTES_MAX) {
        return refuse("it is larger than 64 KiB");
    }
    Ok(text)
}

/// The output of a command: `KEY=VALUE` lines, or one value in its first line.
async fn printed(words: &[String], cwd: Option<&Path>) -> Result<SourceValues, CredentialError> {
    let Some((program, args)) = words.split_first() else {
        return Err(CredentialError::Command("is empty".to_owned()));
    };
    let mut command = hook::command(program, args);
    if let Some(cwd) = cwd {
        command.current_dir(cwd);
    }
    let printed = hook::run(command, COMMAND_TIMEOUT)
        .await
        .map_err(|why| CredentialError::Command(format!("{program:?} {why}")))?;
    // Output that is too large is refused, because a value that is cut would be wrong.
    if hook::is_cut(&printed) {
        return Err(CredentialError::Command(format!("{program:?} printed 64 KiB or more")));
    }
    // The output is not quoted in the error, because it may contain a value.
    let text = String::from_utf8(printed)
        .map_err(|_| CredentialError::Command(format!("{program:?} printed bytes that are not UTF-8")))?;
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    // A token in the first line may end with `=`. A single line with an empty value is therefore treated as a token and
    // not as a pair.
    let is_pair = |line: &str| pair(line).is_some_and(|(_, value)| !value.is_empty());
    if lines().find(|line| !line.starts_with('#')).is_some_and(is_pair) {
        return Ok(SourceValues::Set(pairs(&text)));
    }
    lines()
        .next()
        .map(|line| SourceValues::One(line.to_owned()))
        .ok_or_else(|| CredentialError::Command(format!("{program:?} printed nothing")))
}

/// The `KEY=VALUE` lines of a text. Other lines are ignored.
fn pairs(text: &str) -> BTreeMap<String, String> {
    text.lines().map(str::trim).filter(|line| !line.starts_with('#')).filter_map(pair).collect()
}

fn pair(line: &str) -> Option<(String, String)> {
    let (key, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
    let key = key.trim();
    let value = value.trim();
    let unquoted = ['"', '\''].iter().find_map(|quote| value.strip_prefix(*quote)?.strip_suffix(*quote));
    is_shell_variable_name(key).then(|| (key.to_owned(), unquoted.unwrap_or(value).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_a_shell_would_mean_them() {
        let read = pairs("# comment\nA=1\nexport B = \"two words\"\n\nC='x=y'\nnot a pair\n1-2=no\n");
        let expected = [("A", "1"), ("B", "two words"), ("C", "x=y")];
        assert_eq!(read, expected.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect());
    }
}
