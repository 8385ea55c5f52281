//! Derives the chain of causes from the events of an instance. A pure function.

use apm2_model::{
    event::{
        Event,
        actor::Actor,
        agent::outcome::AgentOutcome,
        exit::{Exit, ExitOutcome, RunEnd},
        kind::{EventKind, RestartRule, StartTrigger},
        timestamp::Timestamp,
    },
    signal::Signal,
    spec::config::restart::RestartPolicy,
    state::stream::FollowUp,
};

use crate::why::{
    agent::{account_limited, agent_ended, session_chosen},
    cause::{Cause, CauseKind, EndOfRun, Gap, GapReason, RestartSeries, SignalSource, StopTimes, UnwatchedProcess},
    changed_settings::changed_settings,
    evidence::{Evidence, SupervisorChange},
    run_events::{RunEvents, runs_of, since},
};

/// Largest number of causes in a chain. Older ones are left out.
pub(crate) const CAUSES_MAX: usize = 16;

/// The causes of the state of an instance, the newest first.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Chain {
    pub(crate) causes: Vec<Cause>,
    /// Whether older causes were left out.
    pub(crate) is_cut: bool,
    /// When the instance came into its state, or when the outage in which it is began, if this was read.
    pub(crate) since: Option<Timestamp>,
}

/// The chain of causes of the state in `evidence`. `unwatched` is what is known of the process if no daemon answers.
pub(crate) fn chain(evidence: &Evidence, unwatched: Option<UnwatchedProcess>) -> Chain {
    let mut builder =
        Builder { evidence, runs: runs_of(&evidence.events), causes: Vec::new(), is_cut: evidence.has_gap };
    builder.build(unwatched);
    let Builder { mut causes, mut is_cut, .. } = builder;
    is_cut |= causes.len() > CAUSES_MAX;
    // A cancellation can be recorded before the end of the run.
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.seq));
    causes.truncate(CAUSES_MAX);
    Chain { causes, is_cut, since: evidence.down_since.or_else(|| state_since(evidence)) }
}

/// The time of the last event that changed the state.
fn state_since(evidence: &Evidence) -> Option<Timestamp> {
    let name = evidence.stream.handle.state.name();
    let is_change = |event: &&Event| match &event.kind {
        EventKind::Starting { .. } => name == "starting",
        EventKind::Running => name == "running",
        EventKind::Unhealthy { .. } => name == "unhealthy",
        EventKind::Stopping { .. } => name == "stopping",
        EventKind::Stopped { .. } | EventKind::Crashed { .. } | EventKind::Terminated { .. } => true,
        EventKind::Registered { .. } => true,
        _ => false,
    };
    evidence.events.iter().rev().find(is_change).map(|event| event.stamp)
}

struct Builder<'a> {
    evidence: &'a Evidence,
    runs: Vec<RunEvents<'a>>,
    causes: Vec<Cause>,
    is_cut: bool,
}

impl<'a> Builder<'a> {
    fn build(&mut self, unwatched: Option<UnwatchedProcess>) {
        let runs = std::mem::take(&mut self.runs);
        let Some((last, earlier)) = runs.split_last() else { return };
        self.unwatched(unwatched);
        self.removed();
        if last.number == 0 {
            self.spec_changes(last, false);
            self.after(last);
            self.registered();
            return;
        }
        self.spec_changes(last, false);
        self.after(last);
        self.end(last);
        self.during(last);
        self.start(last, earlier);
    }

    fn push(&mut self, cause: Cause) {
        self.causes.push(cause);
    }

    fn unwatched(&mut self, unwatched: Option<UnwatchedProcess>) {
        if let (Some(process), Some(last)) = (unwatched, self.evidence.events.last()) {
            self.push(Cause {
                actor: Actor::System,
                reason: None,
                ..Cause::of(last, CauseKind::Unwatched { process })
            });
        }
    }

    fn removed(&mut self) {
        if !self.evidence.stream.unregistered {
            return;
        }
        let removed = self.evidence.events.iter().rev().find(|event| event.kind == EventKind::Unregistered);
        self.causes.extend(removed.map(|event| Cause::of(event, CauseKind::Removed)));
    }

    fn registered(&mut self) {
        let first = self.evidence.events.first().filter(|event| event.version == 1);
        self.causes.extend(first.map(|event| Cause::of(event, CauseKind::Registered)));
    }

    /// The latest change of the specification in `run`, which is after the end of the run.
    fn spec_changes(&mut self, run: &RunEvents<'a>, is_applied: bool) {
        let latest = run.spec_changes.last();
        self.causes.extend(latest.map(|event| {
            let changed = match &event.kind {
                EventKind::SpecChanged { spec } => {
                    self.evidence.specs_before.get(&event.seq).map(|before| changed_settings(before, spec))
                }
                _ => None,
            };
            Cause::of(event, CauseKind::SpecChanged { is_applied, changed })
        }));
    }

    /// What followed the end of the latest run.
    fn after(&mut self, run: &RunEvents<'a>) {
        let stream = &self.evidence.stream;
        if let Some(refused) = run.refused
            && let EventKind::RestartRefused { rule } = refused.kind
            && refused.seq > run.scheduled.map_or(0, |scheduled| scheduled.seq)
        {
            let was_scheduled = run.scheduled.is_some();
            let kind = match rule {
                RestartRule::StopRequested => CauseKind::StartCancelled { was_scheduled },
                rule => CauseKind::RestartRefused { rule },
            };
            self.push(Cause::of(refused, kind).with(run.scheduled));
            return;
        }
        match stream.follow_up {
            FollowUp::Restart { attempt, delay_ms, .. } => {
                let due = run.scheduled.map(|event| Cause::of(event, CauseKind::RestartDue { attempt, delay_ms }));
                self.causes.extend(due);
                self.causes.extend(account_limited(run));
            }
            FollowUp::Undecided { unhealthy } => self.causes.extend(self.left_to_policy(run, unhealthy)),
            FollowUp::Nothing => {}
        }
    }

    /// What the restart policy says about the end of a run for which no decision is recorded.
    fn left_to_policy(&self, run: &RunEvents<'a>, unhealthy: bool) -> Option<Cause> {
        let policy = self.evidence.stream.handle.spec.restart.policy;
        let has_exited_with_0 = matches!(run.end()?, RunEnd::Exit(exit) if exit.is_success());
        let agent_end = self.evidence.stream.agent_end();
        let has_succeeded =
            agent_end.map_or(has_exited_with_0, |end| end.outcome == AgentOutcome::Success) && !unhealthy;
        let kind = match policy {
            RestartPolicy::Never => CauseKind::NotRestarted { policy },
            RestartPolicy::OnFailure if has_succeeded => CauseKind::NotRestarted { policy },
            RestartPolicy::OnFailure | RestartPolicy::Always => CauseKind::Undecided { policy },
        };
        let cause = Cause::of(run.ended?, kind);
        Some(Cause { actor: Actor::Policy, reason: None, ..cause })
    }

    /// The end of a run, and the stop in which it ended.
    fn end(&mut self, run: &RunEvents<'a>) {
        if let (Some(ended), Some(end)) = (run.ended, run.end()) {
            if let Some(EventKind::GroupSurvived { pids }) = run.survived.map(|event| &event.kind) {
                let kind = CauseKind::GroupSurvived { pids: pids.clone() };
                self.causes.extend(run.survived.map(|event| Cause::of(event, kind)));
            }
            self.push(self.ended(run, ended, end));
        }
        self.causes.extend(agent_ended(run));
        self.stop(run);
    }

    fn ended(&self, run: &RunEvents<'a>, ended: &Event, end: RunEnd) -> Cause {
        let killed_by = |end: &RunEnd| match end {
            RunEnd::Exit(Exit { outcome: ExitOutcome::Signal { signal, .. }, .. }) => Some(*signal),
            _ => None,
        };
        let sent = killed_by(&end).filter(|_| run.stopping.is_none()).and_then(|signal| run.sent(signal));
        let in_stop = run.stopping.map(|stopping| StopTimes {
            until_end: since(ended, stopping),
            until_kill: run.sent(Signal::KILL).and_then(|kill| since(kill, stopping)),
        });
        let gap = run.unobserved_times().map(|(from, to)| self.gap(ended.seq, from, to));
        let details = EndOfRun {
            end,
            pid: run.pid(),
            lasted: run.lasted(),
            was_up: run.up.is_some() || run.starting.is_none(),
            in_stop,
            signal_sent: sent.map(|event| SignalSource {
                actor: event.actor.clone(),
                at: event.stamp,
                reason: event.reason.clone(),
            }),
            gap,
            last_line: run.last_line(),
        };
        let kill = run.stopping.and_then(|_| run.sent(Signal::KILL));
        let mut cause = Cause::of(ended, CauseKind::Ended(Box::new(details)));
        cause = cause.with(run.unobserved).with(sent).with(kill).with(run.tail);
        if run.unobserved.is_some() {
            cause.add_seqs(self.seqs_of_change(ended.seq));
        }
        cause
    }

    /// The stop request in a run, and the failed health check before it.
    fn stop(&mut self, run: &RunEvents<'a>) {
        if let Some(stopping) = run.stopping
            && let EventKind::Stopping { signal, timeout_ms, force_kill } = stopping.kind
        {
            let failed = run.signal_failed.iter().find_map(|event| match event.kind {
                EventKind::SignalFailed { signal: failed, errno } if failed == signal => Some((*event, errno)),
                _ => None,
            });
            let kind = CauseKind::StopRequested {
                signal,
                timeout_ms,
                force_kill,
                is_in_progress: run.ended.is_none(),
                is_signalled: run.sent(signal).is_some(),
                errno: failed.map(|(_, errno)| errno),
            };
            let sent = run.sent(signal);
            self.push(Cause::of(stopping, kind).with(sent).with(failed.map(|(event, _)| event)));
        }
        if let Some(event) = run.unhealthy
            && let EventKind::Unhealthy { failures } = event.kind
        {
            self.push(Cause::of(event, CauseKind::Unhealthy { failures }));
        }
    }

    /// What happened in a run before its end.
    fn during(&mut self, run: &RunEvents<'a>) {
        if let Some(event) = run.health.filter(|_| run.ended.is_none())
            && let EventKind::HealthChanged { healthy, detail } = &event.kind
        {
            let detail = detail.clone();
            match (healthy, run.unhealthy) {
                (false, None) => self.push(Cause::of(event, CauseKind::HealthFailing { detail })),
                (true, Some(_)) => self.push(Cause::of(event, CauseKind::HealthRecovered { detail })),
                _ => {}
            }
        }
        if let Some(event) = run.adopted.last() {
            self.push(self.adopted(event));
        }
        self.causes.extend(session_chosen(run));
    }

    fn adopted(&self, event: &Event) -> Cause {
        let pid = match &event.kind {
            EventKind::Adopted { identity } => identity.pid,
            _ => 0,
        };
        let from = self.evidence.change_before(event.seq).and_then(|change| change.watched_until);
        let gap = from.map(|from| self.gap(event.seq, from, event.stamp));
        let mut cause = Cause::of(event, CauseKind::Adopted { pid, gap });
        cause.add_seqs(self.seqs_of_change(event.seq));
        cause
    }

    /// The interval without a supervisor before the event `seq` of a recovery.
    fn gap(&self, seq: u64, from: Timestamp, to: Timestamp) -> Gap {
        let change = self.evidence.change_before(seq);
        let pid_of = |event: &Event| match event.kind {
            EventKind::SupervisorStarted { pid, .. } => Some(pid),
            _ => None,
        };
        let before = change.and_then(|change| change.before.as_ref());
        let why = match before.map(|event| &event.kind) {
            _ if from.boot_id != to.boot_id => GapReason::Rebooted,
            Some(EventKind::SupervisorStopped) => GapReason::Stopped,
            Some(_) => GapReason::Died,
            None => GapReason::Unknown,
        };
        let (pid_before, pid_after) = (before.and_then(pid_of), change.and_then(|change| pid_of(&change.started)));
        Gap { from, to, why, pid_before, pid_after }
    }

    fn seqs_of_change(&self, seq: u64) -> Vec<u64> {
        let change = self.evidence.change_before(seq);
        let seqs = |change: &SupervisorChange| {
            [Some(change.started.seq), change.before.as_ref().map(|event| event.seq)].into_iter().flatten().collect()
        };
        change.map(seqs).unwrap_or_default()
    }

    /// Why the run was started, and the causes before that. `earlier` are the runs before it.
    fn start(&mut self, run: &RunEvents<'a>, earlier: &[RunEvents<'a>]) {
        let (mut run, mut earlier) = (run, earlier);
        loop {
            let (Some(requested), Some(trigger)) = (run.requested, run.trigger()) else {
                self.is_cut = true;
                return;
            };
            let previous = earlier.split_last();
            match (trigger, previous) {
                (StartTrigger::Restart { .. }, None) => {
                    self.restarted(run, requested, None);
                    self.is_cut = true;
                    return;
                }
                (StartTrigger::Restart { .. }, Some((before, rest))) => {
                    let plain = earlier.iter().rev().take_while(|run| run.has_plain_end()).count();
                    let in_series = self.series(earlier, plain);
                    if in_series > 1 {
                        let at = earlier.len().saturating_sub(in_series);
                        let (older, ended) = (earlier.get(..at), earlier.get(at..));
                        let (Some(older), Some(ended)) = (older, ended) else { return };
                        self.restarted_often(run, requested, ended);
                        let Some(oldest) = ended.first() else { return };
                        (run, earlier) = (oldest, older);
                    } else {
                        self.restarted(run, requested, before.scheduled);
                        self.spec_changes(before, true);
                        self.end(before);
                        self.during(before);
                        (run, earlier) = (before, rest);
                    }
                }
                (StartTrigger::Start | StartTrigger::Boot, previous) => {
                    self.started(run, requested, trigger, previous.map(|(before, _)| before));
                    return;
                }
            }
            if self.causes.len() > CAUSES_MAX {
                return;
            }
        }
    }

    /// The number of runs at the end of `earlier`, of at most `plain`, that a restart joins to the next one.
    fn series(&self, earlier: &[RunEvents<'a>], plain: usize) -> usize {
        let mut count = 0;
        for run in earlier.iter().rev().take(plain) {
            count += 1;
            if !matches!(run.trigger(), Some(StartTrigger::Restart { .. })) {
                break;
            }
        }
        count
    }

    fn restarted(&mut self, run: &RunEvents<'a>, requested: &Event, scheduled: Option<&Event>) {
        let attempt = match run.trigger() {
            Some(StartTrigger::Restart { attempt }) => attempt,
            _ => 0,
        };
        let delay_ms = scheduled.and_then(|event| match event.kind {
            EventKind::RestartScheduled { delay_ms, .. } => Some(delay_ms),
            _ => None,
        });
        let kind = CauseKind::Restarted { attempt, delay_ms, pid: run.pid() };
        self.push(Cause::of(requested, kind).with(scheduled).with(run.starting));
    }

    /// The restarts after the runs `ended`, the last of which led to `run`.
    fn restarted_often(&mut self, run: &RunEvents<'a>, requested: &Event, ended: &[RunEvents<'a>]) {
        let mut ends: Vec<(RunEnd, u64)> = Vec::new();
        for end in ended.iter().rev().filter_map(RunEvents::end) {
            match ends.iter_mut().find(|(known, _)| *known == end) {
                Some((_, count)) => *count += 1,
                None => ends.push((end, 1)),
            }
        }
        let first = ended.first().and_then(|run| run.scheduled);
        let series = RestartSeries {
            restarts: ended.len() as u64,
            span: first.and_then(|first| since(requested, first)),
            ends,
            last_lasted: ended.last().and_then(RunEvents::lasted),
        };
        let mut cause = Cause::of(requested, CauseKind::RestartedOften(series)).with(run.starting);
        for run in ended {
            cause = cause.with(run.ended).with(run.scheduled);
        }
        self.push(cause);
    }

    /// A start that no policy requested, and what it followed.
    fn started(
        &mut self,
        run: &RunEvents<'a>,
        requested: &Event,
        trigger: StartTrigger,
        before: Option<&RunEvents<'a>>,
    ) {
        if run.starting.is_none() {
            self.push(Cause::of(requested, CauseKind::StartPending { trigger }));
        } else {
            let is_up = run.up.is_some() || run.ended.is_some();
            let kind = CauseKind::Started { trigger, pid: run.pid(), is_up };
            let mut cause = Cause::of(requested, kind).with(run.starting);
            cause.add_seqs(requested.cause.filter(|_| trigger == StartTrigger::Boot));
            self.push(cause);
        }
        let Some(before) = before else { return };
        let is_changed = !before.spec_changes.is_empty();
        self.spec_changes(before, true);
        let is_by_same = before.stopping.is_some_and(|stopping| stopping.actor == requested.actor);
        let is_half = before.ended.is_some_and(|ended| requested.cause == Some(ended.seq));
        match trigger {
            StartTrigger::Boot => self.end(before),
            _ if is_half || (is_changed && is_by_same) => self.stop(before),
            _ => {}
        }
    }
}
