//! When supervisors ran: reads their starts and ends, and who requested the ends. Prints nothing.

use std::ops::ControlFlow;

use apm2_daemon::client::ClientError;
use apm2_lanes::{
    actions::Action,
    grid::Grid,
    watch::{Watch, WatchFold},
};
use apm2_ledger::{EventQuery, EventsQuestion, KindSet, ReadLedger as _};
use apm2_model::event::{Event, actor::Actor, kind::EventKind, requester::Requester, timestamp::Timestamp};

use crate::{
    moment::Moment,
    render::requests::person,
    source::{LedgerSource, ReadFailure},
    stats::period::Period,
    status::Supervision,
};

/// The events of supervisors.
const SUPERVISOR_KINDS: [&str; 2] = ["supervisor_started", "supervisor_stopped"];

/// The events that opening a ledger records. They are no sign that a supervisor ran before.
const OPENING_KINDS: [&str; 3] = ["checkpointed", "store_rebuilt", "tail_cut"];

/// Largest number of questions about the ends of supervisors: for the last event before a death, and for the requester of an end. For
/// further deaths, the gap begins with the event of a supervisor before it, and further ends have no requester.
const ENDS_ASKED_MAX: u64 = 1000;

/// Events before the end of a supervisor among which one of its own stops is searched.
const STOPS_READ_MAX: u64 = 16;

/// When supervisors ran in a period, before it is known whether one runs now.
#[derive(Debug)]
pub(crate) struct Supervisors {
    watch: WatchFold,
    /// The ends that persons requested.
    pub(crate) actions: Vec<Action>,
    /// The last event before the end of the supervision, if no supervisor recorded anything after it.
    last_event: Option<Timestamp>,
    /// Whether a later event shows whether a supervisor ran at the end of the period.
    is_followed: bool,
}

impl Supervisors {
    /// Reads when supervisors started and ended in the period.
    pub(crate) fn read(source: &LedgerSource, grid: Grid, period: &Period) -> Result<Self, ReadFailure> {
        let (first, last) = period.seqs;
        let mut latest = latest_until(source, first.saturating_sub(1))?;
        let before = match latest.as_ref().filter(|event| is_end(event)) {
            Some(end) => Some((end.stamp, requester(source, end)?)),
            None => None,
        };
        let mut watch = WatchFold::new(grid, before);
        let mut actions = Vec::new();
        // Questions are asked after the events were read, since a source answers one at a time.
        let events = source.events_in_order(&EventsQuestion::all(supervisors(), period.seqs))?;
        let mut asked = 0;
        for event in events {
            let was_ended = latest.as_ref().is_some_and(is_end);
            let may_ask = asked < ENDS_ASKED_MAX;
            if is_end(&event) {
                let by = if may_ask { requester(source, &event)? } else { of_event(&event) };
                asked += 1;
                if person(&by.actor, by.reason.as_deref()).is_some() {
                    actions.push(Action::end_of_supervisor(&event, by.clone()));
                }
                watch.stopped(event.stamp, by);
            } else {
                let before = match &latest {
                    _ if was_ended => None,
                    Some(latest) if !may_ask => Some(latest.stamp),
                    _ => last_before(source, event.seq)?.map(|event| event.stamp),
                };
                asked += u64::from(!was_ended);
                watch.started(event.stamp, before);
            }
            latest = Some(event);
        }
        let next = if last == u64::MAX { None } else { next_after(source, last)? };
        let is_ended = latest.as_ref().is_some_and(is_end);
        let last_event = match &next {
            // It ran at the end of the period, and a ledger without events of supervisors says nothing of them.
            Some(next) if is_end(next) => None,
            Some(next) if !is_ended => last_before(source, next.seq)?,
            None if latest.is_some() && !is_ended => last_before(source, u64::MAX)?,
            _ => None,
        };
        let last_event = last_event.map(|event| event.stamp).filter(|stamp| stamp.wall_ns < period.to.wall_ns);
        Ok(Self { watch, actions, last_event, is_followed: next.is_some() })
    }

    /// When no supervisor ran. `supervision` is whether one runs now.
    pub(crate) fn finish(self, supervision: Supervision) -> Watch {
        let is_silent = self.is_followed || supervision == Supervision::Absent;
        self.watch.finish(self.last_event.filter(|_| is_silent))
    }
}

/// `moment` with whether it is in the past and no supervisor is known to have run then. `supervision` is whether one runs now. If
/// the events of supervisors cannot be read, for instance since an archive is missing, the moment is taken as one at which a
/// supervisor ran.
pub(crate) fn watched(source: &LedgerSource, moment: Moment, supervision: Supervision) -> Result<Moment, ReadFailure> {
    if moment.is_present {
        return Ok(moment);
    }
    let last = || Ok(source.events_in_order(&EventsQuestion::last(EventQuery::default(), (1, moment.seq), 1))?.pop());
    let found = last().and_then(|event| none_at(source, &moment, event.as_ref()));
    let is_unwatched = match found {
        Ok(is_unwatched) => is_unwatched.unwrap_or(supervision == Supervision::Absent),
        Err(ReadFailure::Command(_) | ReadFailure::Daemon(ClientError::Refused { .. })) => false,
        Err(error @ ReadFailure::Daemon(_)) => return Err(error),
    };
    Ok(Moment { is_unwatched, ..moment })
}

/// Whether no supervisor ran at a moment of the past. `event` is the last one before it. `None` if the supervisor that ran before has
/// recorded nothing since, and no other one has: then none ran if none runs now.
pub(crate) fn none_at(
    source: &LedgerSource,
    moment: &Moment,
    event: Option<&Event>,
) -> Result<Option<bool>, ReadFailure> {
    let Some(latest) = latest_until(source, moment.seq)? else { return Ok(Some(false)) };
    if is_end(&latest) {
        return Ok(Some(true));
    }
    let is_of_supervisor = |event: &&Event| !OPENING_KINDS.contains(&event.kind.name());
    if event.filter(is_of_supervisor).is_some_and(|event| moment.now <= event.stamp.wall()) {
        return Ok(Some(false));
    }
    match next_after(source, moment.seq)? {
        Some(next) if is_end(&next) => Ok(Some(false)),
        Some(next) => Ok(Some(last_before(source, next.seq)?.is_none_or(|last| last.seq <= moment.seq))),
        None => Ok(last_before(source, u64::MAX)?.is_some_and(|last| last.seq > moment.seq).then_some(false)),
    }
}

fn supervisors() -> EventQuery {
    EventQuery { kinds: Some(KindSet::named(SUPERVISOR_KINDS)), ..EventQuery::default() }
}

/// The latest start or end of a supervisor up to event `seq`.
fn latest_until(source: &LedgerSource, seq: u64) -> Result<Option<Event>, ReadFailure> {
    Ok(source.events_in_order(&EventsQuestion::last(supervisors(), (1, seq), 1))?.pop())
}

/// The next start or end of a supervisor after event `seq`.
fn next_after(source: &LedgerSource, seq: u64) -> Result<Option<Event>, ReadFailure> {
    let after = EventsQuestion { max: 1, ..EventsQuestion::all(supervisors(), (seq.saturating_add(1), u64::MAX)) };
    Ok(source.events_in_order(&after)?.pop())
}

const fn is_end(event: &Event) -> bool {
    matches!(event.kind, EventKind::SupervisorStopped)
}

fn of_event(event: &Event) -> Requester {
    Requester { actor: event.actor.clone(), reason: event.reason.clone() }
}

/// Who requested the end of a supervisor. Where its event does not say that, the stops of the processes have it as their reason.
fn requester(source: &LedgerSource, end: &Event) -> Result<Requester, ReadFailure> {
    let own = of_event(end);
    if own.reason.is_some() || matches!(own.actor, Actor::Operator { .. }) {
        return Ok(own);
    }
    let kinds = Some(KindSet::named(["stopping", "restart_refused", "supervisor_started"]));
    let query = EventQuery { kinds, ..EventQuery::default() };
    let mut found = None;
    source.events(&EventsQuestion::last(query, (1, end.seq.saturating_sub(1)), STOPS_READ_MAX), &mut |event| {
        if event.stream.is_system() {
            return ControlFlow::Break(());
        }
        let is_person = person(&event.actor, event.reason.as_deref()).is_some();
        if is_person || (found.is_none() && event.actor == Actor::System) {
            found = Some(of_event(&event));
        }
        if is_person { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    Ok(found.unwrap_or(own))
}

/// The last event before event `seq` that a supervisor recorded.
fn last_before(source: &LedgerSource, seq: u64) -> Result<Option<Event>, ReadFailure> {
    let kinds = EventKind::NAMES.into_iter().filter(|kind| !OPENING_KINDS.contains(kind));
    let query = EventQuery { kinds: Some(KindSet::named(kinds)), ..EventQuery::default() };
    let question = EventsQuestion::last(query, (1, seq.saturating_sub(1)), 1);
    Ok(source.events_in_order(&question)?.pop())
}
