//! The usage limits of accounts, which the agents of an account share.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use apm2_model::{
    event::{stream_id::StreamId, timestamp::Timestamp},
    policy::agent::reset_for_account,
    state::stream::Stream,
};

/// The usage limit of an account.
#[derive(Debug)]
struct Met {
    /// When it is reset, in seconds since the epoch.
    reset: i64,
    /// The agent that reported it.
    by: StreamId,
}

/// When the usage limit of each account is reset, by the name of the account. It has at most one entry for each name in the settings of
/// supervised agents, and is filled again from the record by a supervisor that takes over.
#[derive(Debug, Default)]
pub(crate) struct Accounts(Mutex<HashMap<String, Met>>);

impl Accounts {
    /// Keeps the limit that the agent of this stream has met, if it names an account. Forgets the limit that this agent reported, if
    /// its run has ended in success since.
    pub(crate) fn note(&self, stream: &Stream) {
        let Some(config) = &stream.handle.spec.agent else { return };
        let (Some(account), Some(agent)) = (&config.account, stream.agent.as_deref()) else { return };
        match reset_for_account(config, agent) {
            Some(reset) => self.met(account, Met { reset, by: stream.id }),
            None if agent.has_succeeded() => self.answered(account, stream.id),
            None => {}
        }
    }

    /// An agent of the account has met a limit. The latest reset of several counts.
    fn met(&self, account: &str, met: Met) {
        let mut limits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if limits.get(account).is_none_or(|known| known.reset <= met.reset) {
            limits.insert(account.to_owned(), met);
        }
    }

    /// Requests of this agent are answered.
    fn answered(&self, account: &str, agent: StreamId) {
        let mut limits = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if limits.get(account).is_some_and(|known| known.by == agent) {
            limits.remove(account);
        }
    }

    /// When the limit of the account is reset, if that is after `now`.
    pub(crate) fn reset_of(&self, account: &str, now: &Timestamp) -> Option<i64> {
        let mut resets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let reset = resets.get(account)?.reset;
        if i128::from(reset) * 1_000_000_000 <= i128::from(now.wall_ns) {
            resets.remove(account);
            return None;
        }
        Some(reset)
    }
}

#[cfg(test)]
mod tests {
    use apm2_model::spec::id::ProcessId;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_latest_reset_of_an_account_counts_until_it_has_passed() {
        let accounts = Accounts::default();
        let at = |seconds: i64| Timestamp { boot_id: Uuid::nil(), boot_ns: 0, wall_ns: seconds * 1_000_000_000 };
        let by = |instance| StreamId { process_id: ProcessId::from_bytes([1; 16]), instance };
        accounts.met("a", Met { reset: 20, by: by(1) });
        accounts.met("a", Met { reset: 10, by: by(2) });
        accounts.answered("a", by(2));
        assert_eq!((accounts.reset_of("a", &at(19)), accounts.reset_of("b", &at(19))), (Some(20), None));
        assert_eq!((accounts.reset_of("a", &at(20)), accounts.reset_of("a", &at(5))), (None, None));
        accounts.met("a", Met { reset: 20, by: by(1) });
        accounts.answered("a", by(1));
        assert_eq!(accounts.reset_of("a", &at(5)), None, "the agent that met it was answered since");
    }
}
