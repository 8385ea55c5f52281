//! Messages to the user on standard error.

use std::io::{self, Write};

use crate::{error::PREFIX, render::escape::escape};

/// Writes one line to standard error. A failed write is ignored, since it cannot be reported.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{PREFIX}{}", escape(text));
}
