//! Messages for people, on stderr.

use std::io::{self, Write};

use crate::{error::PREFIX, render::escape::escape};

/// Writes one line to standard error. A failure is ignored: no other channel is left to report it on.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{PREFIX}{}", escape(text));
}
