//! Describes each cause in one sentence, with its time, its actor and its reason. Recorded text is escaped.

use std::{io, time::Duration};

use apm2_model::{
    event::{
        actor::Actor,
        agent::outcome::AgentOutcome,
        exit::{Evidence, Exit, ExitOutcome, RunEnd, SpawnFailure, SpawnStage},
        kind::{OutputSource, RestartRule, StartTrigger},
        timestamp::Timestamp,
    },
    spec::config::restart::RestartPolicy,
};
use chrono::TimeDelta;

use crate::{
    render::{
        agent::{failure, session_reason},
        escape::escape,
        event::rule_words,
        words::{self, counted, duration},
        zone::Zone,
    },
    view::agent::reset_time,
    why::cause::{Cause, CauseKind, EndOfRun, Gap, GapReason, RestartSeries, UnwatchedProcess},
};

/// The sentence about `cause`, with times in `zone`.
pub(crate) fn sentence(cause: &Cause, zone: Zone) -> String {
    escape(&ended(&Words { cause, zone }.text())).into_owned()
}

/// `text` with a full stop at its end.
fn ended(text: &str) -> String {
    if text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

/// The actor of an event as the subject or object of a sentence.
pub(crate) fn actor(actor: &Actor) -> String {
    match actor {
        Actor::Operator { uid, user, terminal } => {
            let name = user.clone().unwrap_or_else(|| format!("uid {uid}"));
            terminal.as_ref().map_or_else(|| name.clone(), |terminal| format!("{name} on {terminal}"))
        }
        Actor::Policy => "the restart policy".to_owned(),
        Actor::Health => "the health check".to_owned(),
        Actor::Recovery => "the recovery of a new daemon".to_owned(),
        Actor::System => "the daemon".to_owned(),
    }
}

struct Words<'a> {
    cause: &'a Cause,
    zone: Zone,
}

impl Words<'_> {
    fn text(&self) -> String {
        let (by, at, reason) = (self.by(), self.at(), self.reason());
        match &self.cause.kind {
            CauseKind::Registered => format!("Registered by {by} at {at}, and never started{reason}"),
            CauseKind::Removed => format!("Removed from supervision by {by} at {at}{reason}"),
            CauseKind::SpecChanged { is_applied, changed } => {
                let settings = changed.as_ref().filter(|changed| !changed.is_empty());
                let settings = settings.map_or_else(String::new, |changed| format!(" ({})", changed.join(", ")));
                let applies = if *is_applied { "" } else { ", to apply from the next start on" };
                format!("Its specification{settings} was changed by {by} at {at}{applies}{reason}")
            }
            CauseKind::StartPending { .. } => {
                format!("Its start was requested by {by} at {at}, and the result is not recorded{reason}")
            }
            CauseKind::Started { trigger, pid, is_up } => self.started(*trigger, *pid, *is_up),
            CauseKind::Restarted { attempt, delay_ms, pid } => {
                let delay = delay_ms.map_or_else(String::new, |ms| format!(" after a delay of {}", millis(ms)));
                format!("Restarted by {by} at {at}{delay}: restart {attempt}, {}{reason}", self.run(*pid))
            }
            CauseKind::RestartedOften(series) => self.restarted_often(series),
            CauseKind::RestartDue { attempt, delay_ms } => self.restart_due(*attempt, *delay_ms),
            CauseKind::RestartRefused { rule } => self.refused(rule),
            CauseKind::StartCancelled { was_scheduled } => self.cancelled(*was_scheduled),
            CauseKind::NotRestarted { policy } => {
                format!("Not restarted: its restart policy is {}", policy_words(*policy))
            }
            CauseKind::Undecided { policy } => {
                format!("No decision about a restart is recorded yet; its restart policy is {}", policy_words(*policy))
            }
            CauseKind::Ended(end) => self.ended(end),
            CauseKind::AgentEnded { .. } => self.agent_ended(),
            CauseKind::SessionChosen { session_id, is_resumed, reason } => {
                let verb = if *is_resumed { "went on with" } else { "began" };
                let id = session_id.as_ref().map_or_else(|| "a new session".to_owned(), |id| format!("session {id}"));
                format!("Run {} {verb} {id}{}", self.cause.run, session_reason(*reason))
            }
            CauseKind::AccountLimited { account, resets_at } => {
                let reset = reset_time(*resets_at).map(|time| format!("; it is reset at {}", self.zone.time(time)));
                format!(
                    "At {at} {by} found that the usage limit of account {account} is reached{}",
                    reset.unwrap_or_default()
                )
            }
            CauseKind::GroupSurvived { pids } => {
                let pids: Vec<_> = pids.iter().map(ToString::to_string).collect();
                let number = counted(pids.len() as u64, "process");
                format!("At {at} SIGKILL had not ended {number} of its process group: {}", pids.join(" "))
            }
            CauseKind::StopRequested { .. } => self.stop(),
            CauseKind::Unhealthy { failures } => {
                let checks = counted(u64::from(*failures), "health check");
                format!("Unhealthy since {at}: {checks} in a row failed{reason}")
            }
            CauseKind::HealthRecovered { detail } => {
                format!(
                    "Its health check has succeeded again since {at}, and only a restart ends the state unhealthy: {detail}"
                )
            }
            CauseKind::HealthFailing { detail } => format!("Its health check has failed since {at}: {detail}"),
            CauseKind::Adopted { pid, gap } => self.adopted(*pid, gap.as_ref()),
            CauseKind::Unwatched { process } => self.unwatched(*process),
        }
    }

    fn time(&self, stamp: Timestamp) -> String {
        self.zone.time(stamp.wall())
    }

    fn at(&self) -> String {
        self.time(self.cause.at)
    }

    fn by(&self) -> String {
        actor(&self.cause.actor)
    }

    fn reason(&self) -> String {
        self.cause.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"))
    }

    /// The run with its pid, for parentheses.
    fn run(&self, pid: Option<u32>) -> String {
        let pid = pid.map_or_else(String::new, |pid| format!(", pid {pid}"));
        format!("run {}{pid}", self.cause.run)
    }

    fn agent_ended(&self) -> String {
        let CauseKind::AgentEnded { outcome, class, http_status, resets_at, is_reported } = self.cause.kind else {
            return String::new();
        };
        let (at, run) = (self.at(), self.cause.run);
        let status = http_status.map_or_else(String::new, |status| format!(" (HTTP {status})"));
        let reset = resets_at.and_then(reset_time).map(|time| format!("; it is reset at {}", self.zone.time(time)));
        let why = class.map_or_else(String::new, |class| format!(": {}{status}", failure(class)));
        let what = match (is_reported, outcome) {
            (true, AgentOutcome::Success) => format!("The agent reported success at {at} (run {run})"),
            (true, AgentOutcome::Failure) => format!("The agent reported a failure at {at} (run {run}){why}"),
            (true, AgentOutcome::Aborted) => format!("The agent reported at {at} that it was interrupted (run {run})"),
            (false, _) => format!("The agent ended at {at} without a result (run {run}){why}"),
        };
        format!("{what}{}", reset.unwrap_or_default())
    }

    fn started(&self, trigger: StartTrigger, pid: Option<u32>, is_up: bool) -> String {
        let (by, at, reason, run) = (self.by(), self.at(), self.reason(), self.run(pid));
        let not_up = if is_up { "" } else { ", and not yet up" };
        match trigger {
            StartTrigger::Boot => {
                format!("Started by {by} at {at}, after the start of the daemon ({run}){not_up}{reason}")
            }
            StartTrigger::Start | StartTrigger::Restart { .. } => {
                format!("Started by {by} at {at} ({run}){not_up}{reason}")
            }
        }
    }

    fn restarted_often(&self, series: &RestartSeries) -> String {
        let RestartSeries { restarts, span, ends, last_lasted } = series;
        let span = span.map_or_else(String::new, |span| format!(" in {}", duration(span)));
        let ends: Vec<_> = match ends.as_slice() {
            [(end, _)] => vec![format!("{} each time", end_words(end))],
            several => several.iter().map(|(end, count)| format!("{} {}", end_words(end), times(*count))).collect(),
        };
        let last = last_lasted.map_or_else(String::new, |lasted| format!(", last after {}", duration(lasted)));
        let (by, at, times) = (self.by(), self.at(), times(*restarts));
        format!("Restarted {times}{span} by {by}, because it {}{last}; the last restart was at {at}", listed(&ends))
    }

    fn restart_due(&self, attempt: u32, delay_ms: u64) -> String {
        let at = self.cause.at.wall() + TimeDelta::from_std(Duration::from_millis(delay_ms)).unwrap_or(TimeDelta::MAX);
        let (due, by, decided) = (self.zone.time(at), self.by(), self.at());
        format!("Restart {attempt} is due at {due}: {by} decided at {decided} to wait for {}", millis(delay_ms))
    }

    fn refused(&self, rule: &RestartRule) -> String {
        let (by, at) = (self.by(), self.at());
        match *rule {
            RestartRule::BudgetSpent { restarts, max_restarts, window_ms } => format!(
                "Restart {} in {window} was refused by {by} at {at}: the budget of {} in {window} is spent",
                u64::from(restarts).saturating_add(1),
                counted(u64::from(max_restarts), "restart"),
                window = millis(window_ms),
            ),
            RestartRule::SpawnBudgetSpent { failures, max_restarts, window_ms } => format!(
                "Restart {} after failed starts in {window} was refused by {by} at {at}: the budget of {} in {window} is spent",
                u64::from(failures).saturating_add(1),
                counted(u64::from(max_restarts), "restart"),
                window = millis(window_ms),
            ),
            _ => format!("A restart was refused by {by} at {at}: {}{}", rule_words(rule), self.reason()),
        }
    }

    fn cancelled(&self, was_scheduled: bool) -> String {
        let (by, at, reason) = (self.by(), self.at(), self.reason());
        match (&self.cause.actor, was_scheduled) {
            (Actor::System, _) => format!("Its start was postponed to the next daemon by {by} at {at}{reason}"),
            (_, true) => format!("The scheduled restart was cancelled by {by} at {at}{reason}"),
            (_, false) => format!("A further start was ruled out by {by} at {at}{reason}"),
        }
    }

    fn ended(&self, details: &EndOfRun) -> String {
        let EndOfRun { end, pid, lasted, was_up, in_stop, signal_sent, gap, last_line } = details;
        let (at, run) = (self.at(), self.run(*pid));
        if let Some(gap) = gap {
            return format!(
                "{}. It ended in that time, {} ({run}); this was found at {at}{}{}",
                self.gap(gap),
                how_found(end),
                self.reason(),
                self.line(last_line.as_ref()),
            );
        }
        let mut text = match end {
            RunEnd::SpawnFailed(failure) => {
                format!("It could not be started at {at} ({run}): {}", spawn_words(failure))
            }
            RunEnd::NeverConfirmed => {
                format!(
                    "{} found at {at} that a start has no recorded result and no process ({run})",
                    capital(&self.by())
                )
            }
            RunEnd::Exit(_) => format!("It {} at {at} ({run})", end_words(end)),
        };
        if let Some(lasted) = lasted.filter(|_| in_stop.is_none()) {
            text += &format!(", {} after its start", duration(lasted));
        }
        if !was_up && matches!(end, RunEnd::Exit(_)) {
            text += ", before it was up";
        }
        if let Some(stop) = in_stop {
            if let Some(until_end) = stop.until_end {
                text += &format!(", {} after the stop request", duration(until_end));
            }
            if let Some(until_kill) = stop.until_kill {
                text += &format!("; SIGKILL was sent {} after the request", duration(until_kill));
            }
        }
        if matches!(end, RunEnd::Exit(exit) if exit.evidence == Evidence::Recovered) {
            text += "; its exit status was read from the kernel";
        }
        if let Some(sent) = signal_sent {
            let reason = sent.reason.as_ref().map_or_else(String::new, |reason| format!(" ({reason})"));
            text += &format!("; {} had sent that signal at {}{reason}", actor(&sent.actor), self.time(sent.at));
        }
        text + &self.reason() + &self.line(last_line.as_ref())
    }

    fn line(&self, line: Option<&(OutputSource, String)>) -> String {
        let name = |source: &OutputSource| match source {
            OutputSource::Stdout => "stdout",
            OutputSource::Stderr => "stderr",
        };
        line.map_or_else(String::new, |(source, line)| {
            format!("; its last line on {}: \u{201c}{}\u{201d}", name(source), line.trim())
        })
    }

    fn gap(&self, gap: &Gap) -> String {
        let (from, to) = (self.time(gap.from), self.time(gap.to));
        let pid = gap.pid_before.map_or_else(String::new, |pid| format!(" with pid {pid}"));
        let why = match gap.why {
            GapReason::Stopped => ": the daemon had stopped".to_owned(),
            GapReason::Died => format!(": the daemon{pid} ended without a recorded stop"),
            GapReason::Rebooted => ": the machine was restarted".to_owned(),
            GapReason::Unknown => String::new(),
        };
        format!("No daemon supervised it from {from} to {to}{why}")
    }

    fn adopted(&self, pid: u32, gap: Option<&Gap>) -> String {
        let Some(gap) = gap else {
            return format!("A new daemon took over its process with pid {pid} at {}", self.at());
        };
        let daemon =
            gap.pid_after.map_or_else(|| "a new daemon".to_owned(), |pid| format!("the daemon with pid {pid}"));
        format!("{}; {daemon} then took over its process with pid {pid}, which had run on", self.gap(gap))
    }

    fn stop(&self) -> String {
        let CauseKind::StopRequested { signal, timeout_ms, force_kill, is_in_progress, is_signalled, errno } =
            &self.cause.kind
        else {
            return String::new();
        };
        let (by, at, reason) = (self.by(), self.at(), self.reason());
        let refused = errno.map_or_else(String::new, |errno| {
            format!("; the kernel refused the signal ({})", io::Error::from_raw_os_error(errno))
        });
        if !is_in_progress {
            return format!("Stopped by {by} at {at} with {signal}{refused}{reason}");
        }
        let sent = if *is_signalled { "" } else { ", which is sent after the pre-stop commands" };
        let kill_at = TimeDelta::from_std(Duration::from_millis(*timeout_ms)).unwrap_or(TimeDelta::MAX);
        let kill_at = self.zone.time(self.cause.at.wall() + kill_at);
        let then = if *force_kill {
            format!("; SIGKILL follows at {kill_at} if it has not ended by then")
        } else {
            format!("; its timeout is {}, without SIGKILL", millis(*timeout_ms))
        };
        format!("Its stop was requested by {by} at {at} with {signal}{sent}{then}{refused}{reason}")
    }

    fn unwatched(&self, process: UnwatchedProcess) -> String {
        let last = self.at();
        match process {
            UnwatchedProcess::Alive => {
                format!("No daemon answers; its process still runs, and its last event is of {last}")
            }
            UnwatchedProcess::Gone => {
                format!(
                    "No daemon answers; its process has ended since its last event at {last}, and how is not recorded"
                )
            }
            UnwatchedProcess::Unknown => {
                format!("No daemon answers; its process cannot be checked from here, and its last event is of {last}")
            }
            UnwatchedProcess::AwaitsRestart => {
                format!("No daemon runs to carry out the restart; its last event is of {last}")
            }
        }
    }
}

/// How a run ended, as the predicate of a sentence whose subject is the process.
fn end_words(end: &RunEnd) -> String {
    match end {
        RunEnd::Exit(exit) => exit_words(exit),
        RunEnd::SpawnFailed(failure) => format!("could not be started: {}", spawn_words(failure)),
        RunEnd::NeverConfirmed => "was to be started, without a recorded result".to_owned(),
    }
}

fn exit_words(exit: &Exit) -> String {
    match exit.outcome {
        ExitOutcome::Code(code) => format!("exited with code {code}"),
        ExitOutcome::Signal { signal, core_dumped: true } => format!("was killed by {signal} with a core dump"),
        ExitOutcome::Signal { signal, core_dumped: false } => format!("was killed by {signal}"),
        ExitOutcome::Unknown => "ended in an unknown way".to_owned(),
    }
}

/// How a run ended whose end no supervisor observed.
fn how_found(end: &RunEnd) -> String {
    let known = |exit: &Exit| if exit.evidence == Evidence::Recovered { ", as the kernel still knew" } else { "" };
    match end {
        RunEnd::Exit(exit) => match exit.outcome {
            ExitOutcome::Code(code) => format!("with exit code {code}{}", known(exit)),
            ExitOutcome::Signal { signal, .. } => format!("killed by {signal}{}", known(exit)),
            ExitOutcome::Unknown => "and how is not known".to_owned(),
        },
        RunEnd::SpawnFailed(failure) => spawn_words(failure),
        RunEnd::NeverConfirmed => "and the result of its start is not recorded".to_owned(),
    }
}

fn spawn_words(failure: &SpawnFailure) -> String {
    let stage = match failure.stage {
        SpawnStage::WorkingDirectory => "the working directory cannot be entered",
        SpawnStage::Fork => "no process could be created",
        SpawnStage::Exec => "the program could not be executed",
        SpawnStage::Credentials => "the credentials could not be read",
        SpawnStage::Stdin => "the file for its standard input could not be opened",
    };
    format!("{stage}, {}", failure.message)
}

const fn policy_words(policy: RestartPolicy) -> &'static str {
    match policy {
        RestartPolicy::Never => "never",
        RestartPolicy::OnFailure => "on-failure",
        RestartPolicy::Always => "always",
    }
}

fn millis(millis: u64) -> String {
    duration(Duration::from_millis(millis))
}

fn times(number: u64) -> String {
    match number {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        _ => format!("{} times", words::count(number)),
    }
}

/// `a`, `a and b`, or `a, b and c`.
fn listed(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
