//! Points in time on the clock of the async runtime.

use std::time::Duration;

use tokio::time::Instant;

/// Stands for "never" where a time is too far away to be a point in time.
const FAR_AWAY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The point in time after `duration`, however long that is.
pub(crate) fn instant_in(duration: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(duration).unwrap_or_else(|| now + FAR_AWAY)
}
