//! Converts paths to UTF-8. Paths that are recorded or sent must be UTF-8.

use std::{os::unix::ffi::OsStrExt as _, path::Path};

use crate::{error::CliError, render::escape::escape_bytes};

/// Converts `path` to UTF-8. `what` names the source of the path in the error message, such as `--cwd`.
///
/// # Errors
/// The path is not UTF-8. A lossy conversion would be the name of another path.
pub(crate) fn text<'a>(path: &'a Path, what: &str) -> Result<&'a str, CliError> {
    path.to_str().ok_or_else(|| {
        let shown = escape_bytes(path.as_os_str().as_bytes());
        CliError::usage(format!("{what}: the path {shown} is not UTF-8, and no other can be recorded"))
            .with_hint("rename it, or give the absolute path of a symbolic link to it whose name is UTF-8")
    })
}
