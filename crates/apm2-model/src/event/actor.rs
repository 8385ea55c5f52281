//! Who or what caused an event.

/// Who or what caused an event: an operator, the restart policy, a health check, a recovery or the system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A person, or a program on their behalf.
    Operator {
        /// The user id of the operator.
        uid: u32,
        /// The user name of the operator, if it is known.
        user: Option<String>,
        /// The terminal of the operator, if the request came from a terminal.
        terminal: Option<String>,
    },
    /// The restart policy caused the event.
    Policy,
    /// A health check caused the event.
    Health,
    /// The recovery after a crash of the supervisor caused the event.
    Recovery,
    /// The supervisor, or the process itself, caused the event.
    System,
}
