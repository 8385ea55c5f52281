//! Messages for people, on stderr.

use crate::error::PREFIX;
use std::io::{self, Write};

/// Says one line on standard error. Without a standard error there is nobody to tell.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{PREFIX}{}", crate::render::escape::escape(text));
}
