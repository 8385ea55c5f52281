//! The ends of runs and other marks in words, and why a process is down.

use apm2_lanes::{
    lane_state::LaneState,
    lanes::Lane,
    mark::{Mark, MarkKind, StopBy},
};
use apm2_model::{
    event::{agent::finding::AgentFinding, kind::RestartRule},
    spec::config::restart::RestartPolicy,
    state::statistics::EndCause,
};

use crate::{
    end_details::{EndDetail, EndDetails},
    render::{
        escape::escape,
        event::rule_words,
        stats::end_words,
        words::{self, counted},
    },
};

/// What happened at a mark.
pub(crate) fn mark_words(mark: &Mark) -> String {
    match &mark.kind {
        MarkKind::Success => "succeeded".to_owned(),
        MarkKind::Start => "started".to_owned(),
        MarkKind::Restart => "restarted".to_owned(),
        MarkKind::StopRequest(by) => format!("stop requested by {}", requester(*by)),
        MarkKind::Unhealthy { failures } => {
            format!("unhealthy after {}", counted(u64::from(*failures), "failed check"))
        }
        MarkKind::Refusal(rule) => format!("gave up: {}", rule_words(rule)),
        MarkKind::Stop(cause, by) => stopped(requester(*by), *cause),
        MarkKind::Kill(cause, by) => format!("{}, after its stop timeout", stopped(requester(*by), *cause)),
        MarkKind::FailedStart(cause) | MarkKind::Crash(cause) => end_words(*cause),
    }
}

/// How a run ended, with its cause as far as it was read. It is escaped.
pub(crate) fn end_with_cause(mark: &Mark, details: &EndDetails) -> String {
    let Some(detail) = details.of(mark) else { return escape(&mark_words(mark)).into_owned() };
    let end = match (&mark.kind, detail) {
        (MarkKind::FailedStart(cause), EndDetail { failure: Some(failure), .. }) => {
            format!("{}: {}", end_words(*cause), failure.message)
        }
        (MarkKind::Stop(cause, by) | MarkKind::Kill(cause, by), EndDetail { stop: Some((actor, reason)), .. }) => {
            let who = if *by == StopBy::Operator { words::actor(actor) } else { requester(*by).to_owned() };
            let reason = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let killed = if matches!(mark.kind, MarkKind::Kill(..)) { ", after its stop timeout" } else { "" };
            format!("{}{killed}{reason}", stopped(&who, *cause))
        }
        _ => mark_words(mark),
    };
    escape(&end).into_owned()
}

/// The last line of output before the end at a mark, escaped; `None` if there is none.
pub(crate) fn last_line(mark: &Mark, details: &EndDetails) -> Option<String> {
    let line = details.of(mark)?.last_line.as_ref()?;
    Some(escape(line.trim()).into_owned())
}

/// The end of a run that was stopped.
pub(crate) fn stopped(by: &str, cause: EndCause) -> String {
    match cause {
        EndCause::Signal(signal) => format!("stopped by {by} with {signal}"),
        cause => format!("stopped by {by}, {}", end_words(cause)),
    }
}

/// Who requested a stop.
pub(crate) const fn requester(by: StopBy) -> &'static str {
    match by {
        StopBy::Operator => "a person",
        StopBy::Health => "its health check",
        StopBy::Policy => "its policy",
        StopBy::Supervisor => "the daemon",
    }
}

/// Why a process that is down does not run again. It is escaped.
pub(crate) fn why_down(lane: &Lane) -> String {
    match (&lane.gave_up, lane.state) {
        // The reason is that of the stop.
        (Some(RestartRule::AgentStopped { .. }), _) => "gave up".to_owned(),
        (Some(rule), _) => format!("gave up: {}", escape(&rule_words(rule))),
        (None, LaneState::Waiting) => "waits for its restart".to_owned(),
        (None, _) if lane.handle.spec.restart.policy == RestartPolicy::Never => {
            "not restarted: policy never".to_owned()
        }
        (None, _) => "not restarted".to_owned(),
    }
}

/// What a supervisor did with an agent that it stopped for good; `None` for another rule.
pub(crate) fn stopped_for_good(rule: &RestartRule) -> Option<String> {
    match rule {
        RestartRule::AgentStopped { finding: finding @ AgentFinding::Budget(_) } => {
            Some(format!("stopped by its budget: {finding}"))
        }
        RestartRule::AgentStopped { finding } => Some(format!("stopped for good: {finding}")),
        _ => None,
    }
}
