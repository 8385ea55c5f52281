//! Requests: what an operator asked for at once, of one or several processes.

use std::collections::HashMap;

use apm2_model::{event::stream_id::StreamId, policy::joined::Joined};

use crate::actions::Action;

/// Nanoseconds between actions that count as asked for at once.
const AT_ONCE_NS: i64 = 2_000_000_000;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RequestKind {
    /// To supervise processes, without a start.
    Add,
    /// To change specifications.
    Change,
    /// To end the supervision of processes.
    Remove,
    /// To start processes. They may have been added for it.
    Start,
    /// To stop processes, or the supervisor.
    Stop,
    /// To stop and start processes.
    Restart,
    /// A request that joined a stop or a start under way.
    Join(Joined),
}

/// What an operator asked for at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request<'a> {
    /// The kind of the request.
    pub kind: RequestKind,
    /// The first action.
    pub first: &'a Action,
    /// The instances, in the order of their actions.
    pub streams: Vec<StreamId>,
    /// The number of further requests, whatever their reasons: those of the same operator that joined the same at about the same time.
    pub further: u64,
}

impl RequestKind {
    /// The name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Change => "change",
            Self::Remove => "remove",
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::Join(Joined::Stop | Joined::StopOnly) => "stop, joined",
            Self::Join(Joined::Start) => "start, joined",
            Self::Join(Joined::Restart) => "restart, joined",
        }
    }

    fn of(action: &Action) -> Self {
        if let Some(joined) = action.joined {
            return Self::Join(joined);
        }
        match action.kind {
            "registered" => Self::Add,
            "spec_changed" => Self::Change,
            "unregistered" => Self::Remove,
            "start_requested" => Self::Start,
            _ => Self::Stop,
        }
    }
}

/// The requests of which these actions are, in the order of their first actions. The registration of an instance and its first start
/// are one request, as are the stop and the start of a restart.
#[must_use]
pub fn requests(actions: &[Action]) -> Vec<Request<'_>> {
    let kinds = kinds(actions);
    let mut requests: Vec<Request<'_>> = Vec::new();
    // The first request that further actions can belong to.
    let mut open = 0;
    let mut before: Option<&Action> = None;
    let mut joins = Joins::default();
    for (action, kind) in actions.iter().zip(kinds) {
        if let (Some(kind), Some(_)) = (kind, action.joined) {
            joins.add(action, kind, &mut requests);
            continue;
        }
        if before.replace(action).is_some_and(|before| !are_at_once(before, action)) {
            open = requests.len();
        }
        let Some(kind) = kind else { continue };
        match requests.iter_mut().skip(open).find(|request| request.kind == kind) {
            Some(request) if !request.streams.contains(&action.stream) => request.streams.push(action.stream),
            found => {
                // What is asked for again is another request.
                open = if found.is_some() { requests.len() } else { open };
                requests.push(Request { kind, first: action, streams: vec![action.stream], further: 0 });
            }
        }
    }
    requests
}

/// The requests that joined others, of which many can come at once for one process.
#[derive(Default)]
struct Joins<'a> {
    /// The last action of each, and the place of its request.
    latest: HashMap<(StreamId, RequestKind), (&'a Action, usize)>,
}

impl<'a> Joins<'a> {
    /// Counts the action to the request before it that joined the same, or adds a request.
    fn add(&mut self, action: &'a Action, kind: RequestKind, requests: &mut Vec<Request<'a>>) {
        let before = self.latest.get(&(action.stream, kind)).copied();
        let before = before.filter(|(before, _)| is_near(before, action) && before.actor == action.actor);
        let place = before.map_or(requests.len(), |(_, place)| place);
        match requests.get_mut(place) {
            Some(request) => request.further += 1,
            None => requests.push(Request { kind, first: action, streams: vec![action.stream], further: 0 }),
        }
        self.latest.insert((action.stream, kind), (action, place));
    }
}

/// The kind of request of each action; `None` for one that is a part of another one.
fn kinds(actions: &[Action]) -> Vec<Option<RequestKind>> {
    let mut kinds: Vec<Option<RequestKind>> = actions.iter().map(|action| Some(RequestKind::of(action))).collect();
    let mut latest: HashMap<StreamId, usize> = HashMap::new();
    // A request that joined a restart comes between its two halves.
    for (place, action) in actions.iter().enumerate().filter(|(_, action)| action.joined.is_none()) {
        let before = latest.insert(action.stream, place);
        let Some((before, first)) = before.and_then(|before| Some((before, actions.get(before)?))) else { continue };
        let is_start = action.kind == "start_requested" && is_same_operator(first, action);
        let (of_first, of_start) = match first.kind {
            "registered" if is_start && is_near(first, action) => (None, Some(RequestKind::Start)),
            "stopping" if is_start && action.is_second_half => (Some(RequestKind::Restart), None),
            _ => continue,
        };
        for (place, kind) in [(before, of_first), (place, of_start)] {
            if let Some(found) = kinds.get_mut(place) {
                *found = kind;
            }
        }
    }
    kinds
}

fn are_at_once(one: &Action, other: &Action) -> bool {
    is_near(one, other) && is_same_operator(one, other)
}

const fn is_near(one: &Action, other: &Action) -> bool {
    other.at_ns.saturating_sub(one.at_ns) <= AT_ONCE_NS
}

/// Whether the same operator gave the same reason.
fn is_same_operator(one: &Action, other: &Action) -> bool {
    (&one.actor, &one.reason) == (&other.actor, &other.reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{operator, stream};

    fn action(seconds: i64, number: u8, kind: &'static str) -> Action {
        let (at_ns, seq) = (seconds * 1_000_000_000, 1);
        let (stream, actor, reason) = (stream(number), operator(), None);
        Action { at_ns, seq, stream, kind, is_second_half: false, joined: None, actor, reason }
    }

    fn found(actions: &[Action]) -> Vec<(i64, RequestKind, Vec<u8>)> {
        let number = |id: &StreamId| id.process_id.as_bytes()[0];
        let converted = |request: &Request<'_>| {
            let seconds = request.first.at_ns / 1_000_000_000;
            (seconds, request.kind, request.streams.iter().map(number).collect())
        };
        requests(actions).iter().map(converted).collect()
    }

    #[test]
    fn one_up_is_one_request() {
        let kinds = ["registered", "start_requested"];
        let mut actions: Vec<Action> = (1..=3).map(|number| action(0, number, kinds[0])).collect();
        actions.extend((1..=2).map(|number| action(1, number, kinds[1])));
        let expected = vec![(0, RequestKind::Add, vec![3]), (1, RequestKind::Start, vec![1, 2])];
        assert_eq!(found(&actions), expected);
        actions.push(action(60, 3, kinds[1]));
        assert_eq!(found(&actions)[2], (60, RequestKind::Start, vec![3]), "a later start is another request");
    }

    #[test]
    fn what_is_asked_for_again_is_another_request() {
        let actions = [1, 2, 1, 2].map(|number| action(0, number, "start_requested"));
        let expected = vec![(0, RequestKind::Start, vec![1, 2]), (0, RequestKind::Start, vec![1, 2])];
        assert_eq!(found(&actions), expected);
    }

    #[test]
    fn a_restart_is_one_request_however_long_its_stop_takes() {
        let start = Action { is_second_half: true, ..action(40, 1, "start_requested") };
        let actions = [action(0, 1, "stopping"), action(1, 2, "stopping"), start, action(41, 2, "start_requested")];
        let expected = vec![
            (0, RequestKind::Restart, vec![1]),
            (1, RequestKind::Stop, vec![2]),
            (41, RequestKind::Start, vec![2]),
        ];
        assert_eq!(found(&actions), expected);
    }

    #[test]
    fn requests_that_join_a_restart_are_one_entry_whatever_their_reasons() {
        let join = |seconds, number: u8, reason: &str| {
            let joined = Some(Joined::Restart);
            Action { joined, reason: Some(reason.to_owned()), ..action(seconds, number, "observed") }
        };
        let end = Action { is_second_half: true, ..action(3, 1, "start_requested") };
        let actions = [
            action(0, 1, "stopping"),
            join(0, 1, "one"),
            join(1, 1, "two"),
            join(1, 2, "one"),
            join(2, 1, "three"),
            end,
            join(60, 1, "four"),
        ];
        let kind = RequestKind::Join(Joined::Restart);
        let expected =
            [(0, RequestKind::Restart, vec![1]), (0, kind, vec![1]), (1, kind, vec![2]), (60, kind, vec![1])];
        assert_eq!(found(&actions), expected);
        assert_eq!(requests(&actions).iter().map(|request| request.further).collect::<Vec<_>>(), [0, 2, 0, 0]);
    }

    #[test]
    fn requests_of_different_operators_and_reasons_are_apart() {
        let other = Action { reason: Some("new".to_owned()), ..action(0, 2, "stopping") };
        let actions = [action(0, 1, "stopping"), other, action(0, 3, "stopping")];
        assert_eq!(found(&actions).len(), 3);
    }
}
