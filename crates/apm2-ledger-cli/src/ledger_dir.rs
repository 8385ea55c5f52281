//! The default directory of a ledger.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

/// The path of the default ledger below the state directory of the user.
const UNDER_STATE_HOME: &str = "apm2/ledger";

/// The environment variable that sets the ledger directory.
const VARIABLE: &str = "APM2_LEDGER_DIR";

/// The default ledger directory: `$APM2_LEDGER_DIR` if it is not empty, else `$XDG_STATE_HOME/apm2/ledger`, else
/// `~/.local/state/apm2/ledger`. `None` if the user has no home directory.
///
/// A relative `XDG_STATE_HOME` is ignored, as the XDG base directory specification asks for.
pub(crate) fn default_dir() -> Option<PathBuf> {
    named(env::var_os(VARIABLE)).or_else(|| in_home(env::var_os("XDG_STATE_HOME"), env::var_os("HOME")))
}

/// The value of the environment variable; `None` when it is unset or empty.
fn named(variable: Option<OsString>) -> Option<PathBuf> {
    variable.filter(|dir| !dir.is_empty()).map(PathBuf::from)
}

fn in_home(state_home: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let absolute = |value: OsString| Some(PathBuf::from(value)).filter(|path| path.is_absolute());
    state_home
        .and_then(absolute)
        .or_else(|| home.and_then(absolute).map(|home| home.join(Path::new(".local/state"))))
        .map(|state| state.join(UNDER_STATE_HOME))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(state_home: Option<&str>, home: Option<&str>) -> Option<PathBuf> {
        in_home(state_home.map(Into::into), home.map(Into::into))
    }

    #[test]
    fn the_state_directory_wins_over_the_home() {
        assert_eq!(dir(Some("/s"), Some("/h")), Some("/s/apm2/ledger".into()));
        assert_eq!(dir(None, Some("/h")), Some("/h/.local/state/apm2/ledger".into()));
    }

    #[test]
    fn empty_and_relative_directories_are_ignored() {
        assert_eq!(dir(Some(""), Some("/h")), dir(None, Some("/h")));
        assert_eq!(dir(Some("state"), Some("/h")), dir(None, Some("/h")));
        assert_eq!(dir(None, Some("")), None);
        assert_eq!(dir(None, None), None);
    }
}
