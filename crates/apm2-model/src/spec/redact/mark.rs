//! The mark that replaces a secret in a text.

/// The mark that replaces a secret in a text.
pub const REDACTED: &str = "<redacted>";
