//! Who or what caused an event, and a filter for it.

use std::{convert::Infallible, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

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

/// The actors that are asked for.
///
/// As text: `operator`, `policy`, `health`, `recovery`, `system`, `uid:1000` or `1000`, and `user:NAME`. Any other text is a
/// user name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum ActorFilter {
    /// Every operator.
    Operator,
    /// The operator with this user name.
    User(String),
    /// The operator with this user id.
    Uid(u32),
    /// The restart policy.
    Policy,
    /// Health checks.
    Health,
    /// The recovery after a crash of the supervisor.
    Recovery,
    /// The supervisor, or the process itself.
    System,
}

impl ActorFilter {
    /// Whether the filter accepts this actor.
    #[must_use]
    pub fn accepts(&self, actor: &Actor) -> bool {
        match (self, actor) {
            (Self::Operator, Actor::Operator { .. })
            | (Self::Policy, Actor::Policy)
            | (Self::Health, Actor::Health)
            | (Self::Recovery, Actor::Recovery)
            | (Self::System, Actor::System) => true,
            (Self::User(name), Actor::Operator { user, .. }) => user.as_ref() == Some(name),
            (Self::Uid(wanted), Actor::Operator { uid, .. }) => uid == wanted,
            _ => false,
        }
    }
}

impl fmt::Display for ActorFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Operator => f.write_str("operator"),
            Self::User(name) => write!(f, "user:{name}"),
            Self::Uid(uid) => write!(f, "uid:{uid}"),
            Self::Policy => f.write_str("policy"),
            Self::Health => f.write_str("health"),
            Self::Recovery => f.write_str("recovery"),
            Self::System => f.write_str("system"),
        }
    }
}

impl From<&str> for ActorFilter {
    fn from(text: &str) -> Self {
        let uid = text.strip_prefix("uid:").unwrap_or(text);
        match text {
            "operator" => Self::Operator,
            "policy" => Self::Policy,
            "health" => Self::Health,
            "recovery" => Self::Recovery,
            "system" => Self::System,
            _ => match uid.parse() {
                Ok(uid) => Self::Uid(uid),
                Err(_) => Self::User(text.strip_prefix("user:").unwrap_or(text).to_owned()),
            },
        }
    }
}

impl FromStr for ActorFilter {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}

impl From<String> for ActorFilter {
    fn from(text: String) -> Self {
        text.as_str().into()
    }
}

impl From<ActorFilter> for String {
    fn from(filter: ActorFilter) -> Self {
        filter.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(uid: u32, user: &str) -> Actor {
        Actor::Operator { uid, user: Some(user.to_owned()), terminal: None }
    }

    #[test]
    fn each_filter_accepts_its_actors_only() {
        let actors = [
            operator(1000, "ann"),
            operator(0, "policy"),
            Actor::Policy,
            Actor::Health,
            Actor::Recovery,
            Actor::System,
        ];
        for (text, accepted) in [
            ("operator", &[0, 1][..]),
            ("ann", &[0]),
            ("user:ann", &[0]),
            ("1000", &[0]),
            ("uid:1000", &[0]),
            ("uid:0", &[1]),
            ("policy", &[2]),
            ("user:policy", &[1]),
            ("health", &[3]),
            ("recovery", &[4]),
            ("system", &[5]),
            ("bob", &[]),
            ("", &[]),
        ] {
            let filter: ActorFilter = text.parse().unwrap();
            let found: Vec<usize> = (0..actors.len()).filter(|at| filter.accepts(&actors[*at])).collect();
            assert_eq!(found, accepted, "{text:?}");
        }
    }

    #[test]
    fn a_filter_is_read_back_from_its_text() {
        for text in
            ["operator", "user:ann", "user:12", "user:system", "uid:12", "policy", "health", "recovery", "system"]
        {
            let filter: ActorFilter = text.parse().unwrap();
            assert_eq!((filter.to_string(), filter.to_string().parse()), (text.to_owned(), Ok(filter)));
        }
    }
}
