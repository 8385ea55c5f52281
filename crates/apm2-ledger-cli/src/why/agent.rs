//! The causes that an agent reported: the session of a run, and its account of the end.

use apm2_model::event::{
    Event,
    agent::{
        class::FailureClass,
        event::{AgentEvent, LimitStatus, SessionReason},
        label::Label,
    },
    kind::EventKind,
};

use crate::why::{
    cause::{Cause, CauseKind},
    run_events::RunEvents,
};

/// The agent's account of the end of a run, with the limit that ended it.
pub(crate) fn agent_ended(run: &RunEvents<'_>) -> Option<Cause> {
    let event = run.finished?;
    let AgentEvent::Finished { outcome, class, is_reported, .. } = report_of(event)? else { return None };
    let http_status = run.failed.and_then(report_of).and_then(|failed| match failed {
        AgentEvent::Failed { http_status, .. } => *http_status,
        _ => None,
    });
    let is_limited = matches!(class, Some(FailureClass::RateLimit | FailureClass::Overloaded));
    let limit = run.limit.filter(|_| is_limited);
    let resets_at = limit.and_then(report_of).and_then(|limit| match limit {
        AgentEvent::RateLimited { status: LimitStatus::Rejected, class: of, resets_at, .. } if Some(*of) == *class => {
            *resets_at
        }
        _ => None,
    });
    let kind =
        CauseKind::AgentEnded { outcome: *outcome, class: *class, http_status, resets_at, is_reported: *is_reported };
    Some(Cause::of(event, kind).with(run.failed).with(limit))
}

/// The usage limit of another agent of the account, for which the next start waits.
pub(crate) fn account_limited(run: &RunEvents<'_>) -> Option<Cause> {
    let event = run.account?;
    let AgentEvent::AccountLimited { account, resets_at } = report_of(event)? else { return None };
    Some(Cause::of(event, CauseKind::AccountLimited { account: account.to_string(), resets_at: *resets_at }))
}

/// The choice of the session of a run, where it is not the first one.
pub(crate) fn session_chosen(run: &RunEvents<'_>) -> Option<Cause> {
    let event = run.session?;
    let AgentEvent::SessionChosen { session_id, is_resumed, reason } = report_of(event)? else { return None };
    if *reason == SessionReason::First || *reason == SessionReason::NotConfigured {
        return None;
    }
    let session_id = session_id.as_ref().map(Label::to_string);
    Some(Cause::of(event, CauseKind::SessionChosen { session_id, is_resumed: *is_resumed, reason: *reason }))
}

fn report_of(event: &Event) -> Option<&AgentEvent> {
    match &event.kind {
        EventKind::Agent { report } => Some(&report.event),
        _ => None,
    }
}
