//! The originator of an event.

/// The originator of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A person, or a program on their behalf.
    Operator {
        /// Their user id.
        uid: u32,
        /// Their user name, if it is known.
        user: Option<String>,
        /// Their terminal, if the request came from one.
        terminal: Option<String>,
    },
    /// The restart policy.
    Policy,
    /// A health check.
    Health,
    /// Recovery after a crash of the supervisor.
    Recovery,
    /// The supervisor, or the process itself.
    System,
}
