//! The requests of persons in words.

use apm2_lanes::requests::{Request, RequestKind};
use apm2_model::{event::actor::Actor, policy::joined::Joined};

use crate::render::{escape::escape, words};

/// How the supervisor is named where a process could be.
pub(crate) const DAEMON: &str = "the daemon";

/// How a daemon begins the reason of the stops at its end, if a person asked it to end. The name and the reason follow.
const STOP_OF_DAEMON: &str = "`daemon --stop` by ";

/// The person who made a request, escaped, and the reason that was given; `None` if no person is on record.
pub(crate) fn person<'a>(actor: &Actor, reason: Option<&'a str>) -> Option<(String, Option<&'a str>)> {
    if matches!(actor, Actor::Operator { .. }) {
        return Some((words::actor(actor), reason));
    }
    let recorded = reason?.strip_prefix(STOP_OF_DAEMON)?;
    let (who, reason) = recorded.split_once(": ").map_or((recorded, None), |(who, reason)| (who, Some(reason)));
    Some((escape(who).into_owned(), reason))
}

/// The person who made this request, escaped, and the reason, with the number of the further requests.
pub(crate) fn asked_by(request: &Request<'_>) -> (String, Option<String>) {
    let (actor, reason) = (&request.first.actor, request.first.reason.as_deref());
    let (who, reason) = person(actor, reason).unwrap_or_else(|| (words::actor(actor), reason));
    let further = (request.further > 0).then(|| words::counted(request.further, "more request"));
    let parts: Vec<String> = reason.map(str::to_owned).into_iter().chain(further).collect();
    (who, (!parts.is_empty()).then(|| parts.join("; ")))
}

/// What the person did, before the names of the processes.
pub(crate) const fn did(kind: RequestKind) -> &'static str {
    match kind {
        RequestKind::Join(Joined::Stop) => "joined the stop of",
        RequestKind::Join(Joined::StopOnly) => "cancelled the restart of",
        RequestKind::Join(Joined::Start) => "joined the start of",
        RequestKind::Join(Joined::Restart) => "joined the restart of",
        other => done(other),
    }
}

/// What was done.
pub(crate) const fn done(kind: RequestKind) -> &'static str {
    match kind {
        RequestKind::Add => "added",
        RequestKind::Change => "changed",
        RequestKind::Remove => "removed",
        RequestKind::Start => "started",
        RequestKind::Stop => "stopped",
        RequestKind::Restart => "restarted",
        RequestKind::Join(Joined::Stop) => "stop joined",
        RequestKind::Join(Joined::StopOnly) => "restart cancelled",
        RequestKind::Join(Joined::Start) => "start joined",
        RequestKind::Join(Joined::Restart) => "restart joined",
    }
}

/// The names of several processes: the first ones, and the number of the others.
pub(crate) fn names(names: impl ExactSizeIterator<Item = String>, max: usize) -> String {
    let more = names.len().saturating_sub(max);
    let first: Vec<String> = names.take(max).collect();
    match more {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// The recorded reason in brackets, escaped; empty if none was given.
pub(crate) fn bracketed(reason: Option<&str>) -> String {
    reason.map(|reason| format!(" ({})", escape(reason))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_person_who_ended_a_daemon_is_in_the_reason_of_its_stops() {
        let of_daemon = |reason| person(&Actor::System, Some(reason));
        assert_eq!(of_daemon("`daemon --stop` by ann"), Some(("ann".to_owned(), None)));
        let asked = of_daemon("`daemon --stop` by ann: new kernel: 6.12");
        assert_eq!(asked, Some(("ann".to_owned(), Some("new kernel: 6.12"))));
        assert_eq!(of_daemon("the supervisor received SIGTERM"), None);
        let operator = Actor::Operator { uid: 7, user: Some("bo".to_owned()), terminal: None };
        assert_eq!(person(&operator, None), Some(("bo".to_owned(), None)));
        assert_eq!(person(&Actor::Policy, None), None);
    }
}
