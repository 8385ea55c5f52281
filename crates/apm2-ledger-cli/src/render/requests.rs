//! The requests of persons in words.

use apm2_lanes::requests::{Request, RequestKind};

use crate::render::escape::escape;

/// Most names in one line.
pub(crate) const NAMES_MAX: usize = 4;

/// What was done.
pub(crate) const fn done(kind: RequestKind) -> &'static str {
    match kind {
        RequestKind::Add => "added",
        RequestKind::Change => "changed",
        RequestKind::Remove => "removed",
        RequestKind::Start => "started",
        RequestKind::Stop => "stopped",
        RequestKind::Restart => "restarted",
    }
}

/// The names of several processes: the first ones, and the number of the others.
pub(crate) fn names(names: impl ExactSizeIterator<Item = String>) -> String {
    let more = names.len().saturating_sub(NAMES_MAX);
    let first: Vec<String> = names.take(NAMES_MAX).collect();
    match more {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// The recorded reason in brackets, escaped; empty if none was given.
pub(crate) fn reason(request: &Request<'_>) -> String {
    request.first.reason.as_ref().map(|reason| format!(" ({})", escape(reason))).unwrap_or_default()
}
