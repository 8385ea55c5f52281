//! The nearest existing directory on a path, for a ledger that does not exist yet.

use std::path::Path;

/// The nearest directory on the path `dir` that exists: `dir` itself, or an ancestor.
pub(crate) fn nearest(dir: &Path) -> &Path {
    let existing = dir.ancestors().find(|dir| dir.is_dir()).unwrap_or(Path::new("/"));
    // The parent of a relative path of one component is the empty path.
    if existing.as_os_str().is_empty() { Path::new(".") } else { existing }
}
