//! Looks up user names. The lookup may ask a directory service and take any time (getpwuid(3)).

use std::time::Duration;

use apm2_core::blocking;
use nix::unistd::{Uid, User};
use tokio::{sync::Semaphore, time::timeout};

/// Timeout of a lookup. If the lookup takes longer, only the user id is recorded.
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(500);

/// Maximum number of concurrent lookups. Lookups whose timeout has passed still count.
const LOOKUPS_MAX: usize = 4;

static LOOKUPS: Semaphore = Semaphore::const_new(LOOKUPS_MAX);

/// The name of a user; `None` if the user has no name or the lookup takes too long.
pub(crate) async fn name_of(uid: Uid) -> Option<String> {
    let lookup = async {
        let permit = LOOKUPS.acquire().await.ok()?;
        let found = blocking::spawn(move || {
            let _permit = permit;
            User::from_uid(uid)
        });
        found.await.ok()?.ok().flatten().map(|user| user.name)
    };
    let found = timeout(LOOKUP_TIMEOUT, lookup).await;
    found.inspect_err(|_| tracing::warn!(%uid, "the name of a user was not found in time")).ok().flatten()
}
