//! Paths that are recorded and sent, which have to be text.

use std::{os::unix::ffi::OsStrExt as _, path::Path};

use crate::{error::CliError, render::escape::escape_bytes};

/// `path` as text; `what` says where it comes from, such as `--cwd`.
///
/// # Errors
/// When it is none: a lossy copy of it would be another path.
pub(crate) fn text<'a>(path: &'a Path, what: &str) -> Result<&'a str, CliError> {
    path.to_str().ok_or_else(|| {
        let shown = escape_bytes(path.as_os_str().as_bytes());
        CliError::usage(format!("{what}: the path {shown} is not UTF-8, and no other can be recorded"))
            .with_hint("rename it, or go there by a symbolic link with another name and give that as a whole path")
    })
}
