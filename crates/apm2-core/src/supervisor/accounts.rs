//! The usage limits of accounts, which the agents of an account share.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use apm2_model::{event::timestamp::Timestamp, policy::agent::reset_for_account, state::stream::Stream};

/// When the usage limit of each account is reset, by the name of the account. It has at most one entry for each name in the settings of
/// supervised agents, and is filled again from the record by a supervisor that takes over.
#[derive(Debug, Default)]
pub(crate) struct Accounts(Mutex<HashMap<String, i64>>);

impl Accounts {
    /// Keeps the limit that the agent of this stream has met, if it names an account.
    pub(crate) fn note(&self, stream: &Stream) {
        let config = stream.handle.spec.agent.as_ref();
        let met = config.and_then(|config| {
            Some((config.account.as_deref()?, reset_for_account(config, stream.agent.as_deref()?)?))
        });
        if let Some((account, reset)) = met {
            self.met(account, reset);
        }
    }

    /// An agent of the account has met a limit that is reset at this time, in seconds since the epoch.
    fn met(&self, account: &str, reset: i64) {
        let mut resets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = resets.entry(account.to_owned()).or_insert(reset);
        *known = reset.max(*known);
    }

    /// When the limit of the account is reset, if that is after `now`.
    pub(crate) fn reset_of(&self, account: &str, now: &Timestamp) -> Option<i64> {
        let mut resets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let reset = *resets.get(account)?;
        if i128::from(reset) * 1_000_000_000 <= i128::from(now.wall_ns) {
            resets.remove(account);
            return None;
        }
        Some(reset)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn the_latest_reset_of_an_account_counts_until_it_has_passed() {
        let accounts = Accounts::default();
        let at = |seconds: i64| Timestamp { boot_id: Uuid::nil(), boot_ns: 0, wall_ns: seconds * 1_000_000_000 };
        accounts.met("a", 20);
        accounts.met("a", 10);
        assert_eq!((accounts.reset_of("a", &at(19)), accounts.reset_of("b", &at(19))), (Some(20), None));
        assert_eq!((accounts.reset_of("a", &at(20)), accounts.reset_of("a", &at(5))), (None, None));
    }
}
