//! How good something is.

use serde::Serialize;

/// How good a state or an answer is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    /// As it should be.
    Good,
    /// A failure.
    Bad,
    /// To be looked at.
    Warn,
    /// Neither.
    #[default]
    Calm,
}
