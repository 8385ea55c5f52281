//! Who or what brought an event about.

/// Who or what brought an event about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A person or their script.
    Operator {
        /// Their user id.
        uid: u32,
        /// Their user name, where it is known.
        user: Option<String>,
        /// Their terminal, where there was one.
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
