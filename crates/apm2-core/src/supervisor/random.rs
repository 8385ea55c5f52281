//! Random numbers for back-off jitter.

/// A random number for the jitter of a back-off, so that processes that failed together are not restarted together.
pub(crate) fn random() -> u32 {
    let [a, b, c, d, ..] = *uuid::Uuid::new_v4().as_bytes();
    u32::from_ne_bytes([a, b, c, d])
}
