//! The ends of runs and other marks in words, and why a process is down.

use apm2_lanes::{
    lane_state::LaneState,
    lanes::Lane,
    mark::{Mark, MarkKind, StopBy},
    watch::GapCause,
};
use apm2_model::{
    event::{agent::finding::AgentFinding, kind::RestartRule, requester::Requester},
    spec::config::restart::RestartPolicy,
    state::statistics::EndCause,
};

use crate::{
    end_details::{EndDetail, EndDetails, LastLine},
    render::{
        escape::escape,
        event::rule_words,
        requests::{bracketed, person},
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
    match &details.of(mark)?.last_line {
        Some(LastLine::Recorded(line)) => Some(escape(line.trim()).into_owned()),
        _ => None,
    }
}

/// Why there is no last line of the run that ended at a mark; `None` if there is one, or if no process ran.
pub(crate) fn no_last_line(lane: &Lane, mark: &Mark, details: &EndDetails) -> Option<String> {
    match details.of(mark)?.last_line.as_ref()? {
        LastLine::Recorded(_) => None,
        LastLine::Nothing => Some("it wrote nothing".to_owned()),
        LastLine::NotRecorded => {
            let name = lane.handle.display_name();
            Some(format!("no last lines on record: `apm2-ledger logs {}`", escape(&name)))
        }
    }
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

/// How the supervision ended before a gap. It is escaped.
pub(crate) fn supervision_ended(cause: &GapCause) -> String {
    match cause {
        GapCause::Died => "the daemon died".to_owned(),
        GapCause::Stopped(by) => daemon_ended(by),
    }
}

fn daemon_ended(by: &Requester) -> String {
    match (person(&by.actor, by.reason.as_deref()), &by.reason) {
        (Some((who, reason)), _) => format!("{who} stopped the daemon{}", bracketed(reason)),
        (None, Some(reason)) => format!("the daemon was ended in order: {}", escape(reason)),
        (None, None) => "the daemon was ended in order, by whom is not on record".to_owned(),
    }
}

/// Why a process that is down does not run again. `is_watched` is whether a daemon runs. It is escaped.
pub(crate) fn why_down(lane: &Lane, is_watched: bool) -> String {
    match (&lane.gave_up, lane.state) {
        // The reason is that of the stop.
        (Some(RestartRule::AgentStopped { .. }), _) => "gave up".to_owned(),
        (Some(rule), _) => format!("gave up: {}", escape(&rule_words(rule))),
        (None, LaneState::Waiting) if is_watched => "waits for its restart".to_owned(),
        (None, LaneState::Waiting) => "its restart waits for a daemon".to_owned(),
        (None, _) if lane.handle.spec.restart.policy == RestartPolicy::Never => {
            "not restarted: policy never".to_owned()
        }
        (None, _) => match &lane.postponed {
            Some(by) => format!("not restarted: {}", daemon_ended(by)),
            None if is_watched => "not restarted".to_owned(),
            None => "not restarted: no daemon runs".to_owned(),
        },
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
