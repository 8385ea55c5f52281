//! Deadlines on the monotonic clock of the async runtime.

use std::time::Duration;

use tokio::time::Instant;

/// The deadline that stands for "never", for a duration that is too long for an `Instant`.
const FAR_AWAY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The deadline after `duration`. The duration may be of any length.
pub(crate) fn instant_in(duration: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(duration).unwrap_or_else(|| now + FAR_AWAY)
}
