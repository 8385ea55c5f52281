//! Reads `ecosystem.toml`, the user's list of processes to supervise as a group.
//!
//! The types in `file.rs` have the structure of the file. They are converted to launch specifications; there is no
//! conversion in the other direction.

mod file;
mod invalid_setting;
mod launches;
mod ledger_table;
mod paths;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use apm2_daemon::ledger_settings::LedgerSettings;
use apm2_model::spec::launch::LaunchSpec;

use crate::{
    ecosystem::{file::EcosystemFile, invalid_setting::located, ledger_table::LedgerTable},
    error::CliError,
    utf8,
};

/// Default name of an ecosystem file.
pub(crate) const DEFAULT_FILE: &str = "ecosystem.toml";

/// Maximum size of an ecosystem file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The processes of one ecosystem file.
pub(crate) struct Ecosystem {
    /// Identifier of the group: the absolute path of the file.
    pub(crate) group: String,
    pub(crate) launches: Vec<LaunchSpec>,
    /// The settings of the ledger, if the file has any.
    pub(crate) ledger: Option<LedgerSettings>,
}

/// The group of the file at `path`. The file need not exist.
pub(crate) fn group(path: &Path) -> Result<String, CliError> {
    let whole = fs::canonicalize(path).or_else(|_| std::path::absolute(path));
    let whole = whole.map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?;
    Ok(utf8::text(&whole, "the ecosystem file")?.to_owned())
}

impl Ecosystem {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read or is not valid.
    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        let failed = |what: String| CliError::usage(format!("{}: {what}", path.display()));
        let text = bounded(path).map_err(|error| missing(path, &error))?;
        let text = text.ok_or_else(|| failed(format!("it is larger than {FILE_BYTES_MAX} bytes")))?;
        let group = group(path)?;
        let dir = Path::new(&group).parent().unwrap_or(Path::new("/")).to_owned();
        let file: EcosystemFile = toml::from_str(&text).map_err(|error| failed(located(&text, &error)))?;
        let ledger = file.ledger.as_ref().map(LedgerTable::settings).transpose().map_err(failed)?;
        let launches = file.into_launches(&dir).map_err(|mistake| failed(mistake.located(&text)))?;
        Ok(Self { group, launches, ledger })
    }
}

/// Reads the text of the file; `None` when it is too long. The size is checked while the file is read, since a device
/// or a pipe reports no size.
fn bounded(path: &Path) -> io::Result<Option<String>> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    let is_whole = u64::try_from(text.len()).is_ok_and(|length| length <= FILE_BYTES_MAX);
    Ok(is_whole.then_some(text))
}

fn missing(path: &Path, error: &io::Error) -> CliError {
    CliError::usage(format!("{}: {error}", path.display()))
        .with_hint("name the file: `apm2-ledger up FILE`; `apm2-ledger up --help` shows one")
}
