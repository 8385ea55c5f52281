//! Why an agent failed, in classes that a policy can act on.

/// The class of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureClass {
    /// The credentials are missing or were refused.
    Auth,
    /// The account has no credit.
    Billing,
    /// A limit of requests, of tokens or of the subscription is used up until a reset time.
    RateLimit,
    /// The server has no capacity at the moment.
    Overloaded,
    /// The conversation does not fit into the context window of the model.
    Context,
    /// The model does not exist, or the account may not use it.
    Model,
    /// The server could not be reached.
    Network,
    /// The server failed, or its answer broke off.
    Server,
    /// The limit of turns was reached.
    Turns,
    /// A limit of cost or tokens was reached.
    Budget,
    /// A tool failed, so that the agent could not go on.
    Tool,
    /// The run was interrupted, for example by a signal.
    Aborted,
    /// The session to resume does not exist, or is in use.
    ResumeInvalid,
    /// The agent was not allowed to do what it needed.
    Permission,
    /// None of the other classes.
    Unknown,
}

impl FailureClass {
    /// All classes.
    pub const ALL: [Self; 15] = [
        Self::Auth,
        Self::Billing,
        Self::RateLimit,
        Self::Overloaded,
        Self::Context,
        Self::Model,
        Self::Network,
        Self::Server,
        Self::Turns,
        Self::Budget,
        Self::Tool,
        Self::Aborted,
        Self::ResumeInvalid,
        Self::Permission,
        Self::Unknown,
    ];

    /// The name of the class in `snake_case`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Billing => "billing",
            Self::RateLimit => "rate_limit",
            Self::Overloaded => "overloaded",
            Self::Context => "context",
            Self::Model => "model",
            Self::Network => "network",
            Self::Server => "server",
            Self::Turns => "turns",
            Self::Budget => "budget",
            Self::Tool => "tool",
            Self::Aborted => "aborted",
            Self::ResumeInvalid => "resume_invalid",
            Self::Permission => "permission",
            Self::Unknown => "unknown",
        }
    }
}
