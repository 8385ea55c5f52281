//! The names of users. A directory service may have to be asked for them, which may take any time.

use std::time::Duration;

use nix::unistd::{Uid, User};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

/// How long a name is waited for. Without it the number of the user is on record all the same.
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(500);

/// Lookups at the same time, those among them that nobody waits for any more.
const LOOKUPS_MAX: usize = 4;

static LOOKUPS: Semaphore = Semaphore::const_new(LOOKUPS_MAX);

/// The name of a user, if it has one and that is known in time.
pub(crate) async fn name_of(uid: Uid) -> Option<String> {
    let lookup = async {
        let permit = LOOKUPS.acquire().await.ok()?;
        let found = spawn_blocking(move || {
            let _permit = permit;
            User::from_uid(uid)
        });
        found.await.ok()?.ok().flatten().map(|user| user.name)
    };
    let found = timeout(LOOKUP_TIMEOUT, lookup).await;
    found.inspect_err(|_| tracing::warn!(%uid, "the name of a user was not found in time")).ok().flatten()
}
