//! JSON view of the causes of the state of an instance.

use apm2_model::{
    duration::millis,
    event::{
        exit::RunEnd,
        kind::{OutputSource, RestartRule},
    },
    signal::Signal,
    spec::config::restart::RestartPolicy,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::{
    render::{why::headline, zone::Zone},
    status::InstanceStatus,
    view::{
        agent::reset_time,
        event::{ActorView, RuleView},
        exit::{ExitView, SpawnFailureView},
        handle::HandleView,
        notice::Notice,
        run::trigger,
    },
    why::{
        cause::{Cause, CauseKind, EndOfRun, Gap, GapReason, UnwatchedProcess},
        chain::Chain,
        sentence::sentence,
    },
};

/// The state of one process and its causes: output of `why`.
#[derive(Debug, Serialize)]
pub(crate) struct WhyView<'a> {
    handle: HandleView<'a>,
    /// The state in one sentence, for people. Its wording may change.
    text: String,
    /// The time since which the process is in this state; null when it was not read.
    #[serde(serialize_with = "crate::view::time_or_null")]
    since: Option<DateTime<Utc>>,
    /// The causes, the newest first.
    causes: Vec<CauseView<'a>>,
    /// Whether older causes were left out.
    is_cut: bool,
    /// The notice about the ledger; null when it is intact.
    notice: Option<&'a Notice>,
}

impl<'a> WhyView<'a> {
    pub(crate) fn new(chain: &'a Chain, status: &InstanceStatus<'a>, notice: Option<&'a Notice>) -> Self {
        Self {
            handle: HandleView::new(status),
            text: headline(status, chain, Zone::Utc),
            since: chain.since.map(|since| since.wall()),
            causes: chain.causes.iter().map(CauseView::new).collect(),
            is_cut: chain.is_cut,
            notice,
        }
    }
}

/// The JSON object for one cause.
#[derive(Debug, Serialize)]
pub(crate) struct CauseView<'a> {
    kind: &'static str,
    /// The cause in one sentence, for people. Its wording may change.
    text: String,
    /// The time of the main event.
    #[serde(serialize_with = "crate::view::time")]
    at: DateTime<Utc>,
    /// The sequence number of the main event.
    seq: u64,
    /// The sequence numbers of all events that record the cause, ascending.
    seqs: &'a [u64],
    run: u64,
    actor: ActorView<'a>,
    reason: Option<&'a str>,
    #[serde(flatten)]
    detail: Detail<'a>,
}

impl<'a> CauseView<'a> {
    pub(crate) fn new(cause: &'a Cause) -> Self {
        Self {
            kind: cause.kind.name(),
            text: sentence(cause, Zone::Utc),
            at: cause.at.wall(),
            seq: cause.seq,
            seqs: &cause.seqs,
            run: cause.run,
            actor: (&cause.actor).into(),
            reason: cause.reason.as_deref(),
            detail: Detail::new(cause),
        }
    }
}

/// The figures of each kind of cause. Their names differ from the field names of [`CauseView`], with which they are
/// combined.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Detail<'a> {
    Empty {},
    SpecChanged {
        is_applied: bool,
        changed: Option<&'a [&'static str]>,
    },
    Started {
        trigger: &'static str,
        pid: Option<u32>,
        is_up: bool,
    },
    Restarted {
        attempt: u32,
        delay_ms: Option<u64>,
        pid: Option<u32>,
    },
    RestartedOften {
        restarts: u64,
        span_ms: Option<u64>,
        ends: Vec<CountedEndView<'a>>,
        last_duration_ms: Option<u64>,
    },
    RestartDue {
        attempt: u32,
        delay_ms: u64,
        #[serde(serialize_with = "crate::view::time")]
        restart_at: DateTime<Utc>,
    },
    RestartRefused(RuleView),
    StartCancelled {
        was_scheduled: bool,
    },
    Policy {
        policy: RestartPolicy,
    },
    Ended(Box<EndedView<'a>>),
    AgentEnded {
        outcome: &'static str,
        class: Option<&'static str>,
        http_status: Option<u16>,
        #[serde(serialize_with = "crate::view::time_or_null")]
        resets_at: Option<DateTime<Utc>>,
        reported: bool,
    },
    SessionChosen {
        session_id: Option<&'a str>,
        resumed: bool,
        session_reason: &'static str,
    },
    AccountLimited {
        account: &'a str,
        #[serde(serialize_with = "crate::view::time_or_null")]
        resets_at: Option<DateTime<Utc>>,
    },
    GroupSurvived {
        pids: &'a [u32],
    },
    StopRequested {
        signal: Signal,
        timeout_ms: u64,
        force_kill: bool,
        is_in_progress: bool,
        is_signalled: bool,
        errno: Option<i32>,
    },
    Unhealthy {
        failures: u32,
    },
    Health {
        detail: &'a str,
    },
    Adopted {
        pid: u32,
        gap: Option<GapView>,
    },
    Unwatched {
        process: &'static str,
    },
}

impl<'a> Detail<'a> {
    fn new(cause: &'a Cause) -> Self {
        match &cause.kind {
            CauseKind::Registered | CauseKind::Removed => Self::Empty {},
            CauseKind::SpecChanged { is_applied, changed } => {
                Self::SpecChanged { is_applied: *is_applied, changed: changed.as_deref() }
            }
            CauseKind::StartPending { trigger: start } => {
                Self::Started { trigger: trigger(*start).0, pid: None, is_up: false }
            }
            CauseKind::Started { trigger: start, pid, is_up } => {
                Self::Started { trigger: trigger(*start).0, pid: *pid, is_up: *is_up }
            }
            CauseKind::Restarted { attempt, delay_ms, pid } => {
                Self::Restarted { attempt: *attempt, delay_ms: *delay_ms, pid: *pid }
            }
            CauseKind::RestartedOften(series) => Self::RestartedOften {
                restarts: series.restarts,
                span_ms: series.span.map(millis),
                ends: series.ends.iter().map(|(end, count)| CountedEndView { runs: *count, end: end.into() }).collect(),
                last_duration_ms: series.last_lasted.map(millis),
            },
            CauseKind::RestartDue { attempt, delay_ms } => {
                let delay = i64::try_from(*delay_ms).ok().and_then(TimeDelta::try_milliseconds);
                let restart_at = cause.at.wall() + delay.unwrap_or(TimeDelta::MAX);
                Self::RestartDue { attempt: *attempt, delay_ms: *delay_ms, restart_at }
            }
            CauseKind::RestartRefused { rule } => Self::refused(rule),
            CauseKind::StartCancelled { was_scheduled } => Self::StartCancelled { was_scheduled: *was_scheduled },
            CauseKind::NotRestarted { policy } | CauseKind::Undecided { policy } => Self::Policy { policy: *policy },
            CauseKind::Ended(end) => Self::Ended(Box::new(EndedView::new(end))),
            CauseKind::AgentEnded { outcome, class, http_status, resets_at, is_reported } => Self::AgentEnded {
                outcome: outcome.name(),
                class: class.map(|class| class.name()),
                http_status: *http_status,
                resets_at: resets_at.and_then(reset_time),
                reported: *is_reported,
            },
            CauseKind::SessionChosen { session_id, is_resumed, reason } => Self::SessionChosen {
                session_id: session_id.as_deref(),
                resumed: *is_resumed,
                session_reason: reason.name(),
            },
            CauseKind::AccountLimited { account, resets_at } => {
                Self::AccountLimited { account, resets_at: reset_time(*resets_at) }
            }
            CauseKind::GroupSurvived { pids } => Self::GroupSurvived { pids },
            CauseKind::StopRequested { signal, timeout_ms, force_kill, is_in_progress, is_signalled, errno } => {
                Self::StopRequested {
                    signal: *signal,
                    timeout_ms: *timeout_ms,
                    force_kill: *force_kill,
                    is_in_progress: *is_in_progress,
                    is_signalled: *is_signalled,
                    errno: *errno,
                }
            }
            CauseKind::Unhealthy { failures } => Self::Unhealthy { failures: *failures },
            CauseKind::HealthFailing { detail } | CauseKind::HealthRecovered { detail } => Self::Health { detail },
            CauseKind::Adopted { pid, gap } => Self::Adopted { pid: *pid, gap: gap.as_ref().map(GapView::new) },
            CauseKind::Unwatched { process } => Self::Unwatched { process: process_name(*process) },
        }
    }

    fn refused(rule: &RestartRule) -> Self {
        Self::RestartRefused(rule.into())
    }
}

const fn process_name(process: UnwatchedProcess) -> &'static str {
    match process {
        UnwatchedProcess::Alive => "alive",
        UnwatchedProcess::Gone => "gone",
        UnwatchedProcess::Unknown => "unknown",
        UnwatchedProcess::AwaitsRestart => "awaits_restart",
    }
}

/// How a run ended, with the names of the JSON object of a run.
#[derive(Debug, Serialize)]
struct EndView<'a> {
    end: &'static str,
    exit: Option<ExitView>,
    spawn_failure: Option<SpawnFailureView<'a>>,
}

impl<'a> From<&'a RunEnd> for EndView<'a> {
    fn from(end: &'a RunEnd) -> Self {
        let (end, exit, spawn_failure) = match end {
            RunEnd::Exit(exit) => ("exit", Some(exit.into()), None),
            RunEnd::SpawnFailed(failure) => ("spawn_failed", None, Some(failure.into())),
            RunEnd::NeverConfirmed => ("never_confirmed", None, None),
        };
        Self { end, exit, spawn_failure }
    }
}

/// An end with the number of runs that ended so.
#[derive(Debug, Serialize)]
struct CountedEndView<'a> {
    runs: u64,
    #[serde(flatten)]
    end: EndView<'a>,
}

#[derive(Debug, Serialize)]
struct EndedView<'a> {
    #[serde(flatten)]
    end: EndView<'a>,
    pid: Option<u32>,
    duration_ms: Option<u64>,
    was_up: bool,
    /// Time from the stop request to the end; null outside of a stop.
    stop_duration_ms: Option<u64>,
    /// Time from the stop request to SIGKILL, if it was sent.
    kill_after_ms: Option<u64>,
    /// Who sent the signal that ended the process, outside of a stop.
    signal_sent: Option<SignalView<'a>>,
    /// The interval without a supervisor in which the process ended.
    gap: Option<GapView>,
    last_line: Option<LineView<'a>>,
}

#[derive(Debug, Serialize)]
struct SignalView<'a> {
    actor: ActorView<'a>,
    #[serde(serialize_with = "crate::view::time")]
    at: DateTime<Utc>,
    reason: Option<&'a str>,
}

/// The last line of output of a failed run. Secrets are masked.
#[derive(Debug, Serialize)]
struct LineView<'a> {
    source: &'static str,
    line: &'a str,
}

impl<'a> EndedView<'a> {
    fn new(end: &'a EndOfRun) -> Self {
        Self {
            end: (&end.end).into(),
            pid: end.pid,
            duration_ms: end.lasted.map(millis),
            was_up: end.was_up,
            stop_duration_ms: end.in_stop.and_then(|stop| stop.until_end).map(millis),
            kill_after_ms: end.in_stop.and_then(|stop| stop.until_kill).map(millis),
            signal_sent: end.signal_sent.as_ref().map(|sent| SignalView {
                actor: (&sent.actor).into(),
                at: sent.at.wall(),
                reason: sent.reason.as_deref(),
            }),
            gap: end.gap.as_ref().map(GapView::new),
            last_line: end.last_line.as_ref().map(|(source, line)| {
                let source = match source {
                    OutputSource::Stdout => "stdout",
                    OutputSource::Stderr => "stderr",
                };
                LineView { source, line }
            }),
        }
    }
}

/// An interval without a supervisor.
#[derive(Debug, Serialize)]
struct GapView {
    #[serde(serialize_with = "crate::view::time")]
    from: DateTime<Utc>,
    #[serde(serialize_with = "crate::view::time")]
    to: DateTime<Utc>,
    /// Why no supervisor ran: `stopped`, `died`, `rebooted` or `unknown`.
    why: &'static str,
    /// The pid of the supervisor before the interval.
    pid_before: Option<u32>,
    /// The pid of the supervisor after the interval.
    pid_after: Option<u32>,
}

impl GapView {
    fn new(gap: &Gap) -> Self {
        let why = match gap.why {
            GapReason::Stopped => "stopped",
            GapReason::Died => "died",
            GapReason::Rebooted => "rebooted",
            GapReason::Unknown => "unknown",
        };
        let Gap { from, to, pid_before, pid_after, .. } = *gap;
        Self { from: from.wall(), to: to.wall(), why, pid_before, pid_after }
    }
}
