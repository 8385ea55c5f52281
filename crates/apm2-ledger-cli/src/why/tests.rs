//! Whole pages for each kind of end, refusal, wait and interval without a supervisor, with fixed times.

use std::collections::HashMap;

use apm2_model::{
    event::{
        Event, NewEvent,
        actor::Actor,
        exit::{Evidence as ExitEvidence, Exit, ExitOutcome, RunEnd, SpawnFailure, SpawnStage},
        identity::ProcessIdentity,
        kind::{EventKind, RestartRule, SignalTarget, StartTrigger},
        stream_id::StreamId,
        timestamp::Timestamp,
    },
    signal::Signal,
    spec::{
        ProcessSpec,
        config::restart::{RestartConfig, RestartPolicy},
        id::ProcessId,
        redact::spec::RedactedSpec,
    },
    state::stream::Stream,
};
use uuid::Uuid;

use crate::{
    moment::Moment,
    render::{self, table::Layout, zone::Zone},
    status::StatusContext,
    view::why::WhyView,
    why::{
        cause::UnwatchedProcess,
        chain::chain,
        evidence::{Evidence, SupervisorChange},
    },
};

/// 2026-01-31T12:00:00Z.
const BEGINNING_NS: i64 = 1_769_860_800_000_000_000;
const BOOT: Uuid = Uuid::from_u128(0x0b00_0000_0000_4000_8000_0000_0000_0001);
const NEXT_BOOT: Uuid = Uuid::from_u128(0x0b00_0000_0000_4000_8000_0000_0000_0002);
const TERM: Signal = Signal::TERM;

/// The events of one instance, recorded at fixed times.
struct Script {
    events: Vec<Event>,
    stream: Option<Stream>,
    changes: Vec<SupervisorChange>,
    specs_before: HashMap<u64, ProcessSpec>,
    seconds: u64,
    boot: Uuid,
    seq: u64,
    run: u64,
    spec: ProcessSpec,
}

impl Script {
    /// A process that an operator has registered. A supervisor has recorded its start as event 1.
    fn new(policy: RestartPolicy) -> Self {
        let restart = RestartConfig { policy, max_restarts: 3, ..RestartConfig::default() };
        let id = ProcessId::from_bytes(*Uuid::from_u128(0x0101_0101_0101_4101_8101_0101_0101_0101).as_bytes());
        let spec = ProcessSpec::builder().id(id).name("web").command("serve").restart(restart).build();
        let (events, changes, specs_before) = (Vec::new(), Vec::new(), HashMap::new());
        let mut script = Self {
            events,
            stream: None,
            changes,
            specs_before,
            seconds: 0,
            boot: BOOT,
            seq: 1,
            run: 0,
            spec: spec.clone(),
        };
        script.by(ada(), Some("first"), EventKind::Registered { spec: RedactedSpec::new(&spec) });
        script
    }

    fn stamp(&self) -> Timestamp {
        let wall_ns = BEGINNING_NS + i64::try_from(self.seconds * 1_000_000_000).unwrap();
        Timestamp { wall_ns, boot_ns: self.seconds * 1_000_000_000, boot_id: self.boot }
    }

    fn wait(&mut self, seconds: u64) -> &mut Self {
        self.seconds += seconds;
        self
    }

    fn caused(&mut self, actor: Actor, reason: Option<&str>, cause: Option<u64>, kind: EventKind) -> &mut Self {
        self.seq += 1;
        self.run = kind.run_after(self.run);
        let stream = StreamId { process_id: self.spec.id, instance: 0 };
        let (reason, stamp) = (reason.map(str::to_owned), self.stamp());
        let version = self.events.len() as u64 + 1;
        let event = NewEvent { stream, run: self.run, actor, reason, cause, stamp, kind }.numbered(self.seq, version);
        if let (EventKind::SpecChanged { .. }, Some(stream)) = (&event.kind, &self.stream) {
            self.specs_before.insert(event.seq, stream.handle.spec.clone());
        }
        match &mut self.stream {
            Some(stream) => stream.apply(&event).unwrap(),
            None => self.stream = Some(Stream::begin(&event).unwrap()),
        }
        self.events.push(event);
        self
    }

    fn by(&mut self, actor: Actor, reason: Option<&str>, kind: EventKind) -> &mut Self {
        self.caused(actor, reason, None, kind)
    }

    fn system(&mut self, kind: EventKind) -> &mut Self {
        self.by(Actor::System, None, kind)
    }

    fn start(&mut self, actor: Actor, reason: Option<&str>) -> &mut Self {
        self.by(actor, reason, EventKind::StartRequested { trigger: StartTrigger::Start }).up(StartTrigger::Start)
    }

    fn up(&mut self, trigger: StartTrigger) -> &mut Self {
        let identity = Some(self.identity());
        self.system(EventKind::Starting { identity, trigger }).system(EventKind::Running)
    }

    fn identity(&self) -> ProcessIdentity {
        let pid = 5000 + u32::try_from(self.run).unwrap();
        ProcessIdentity { boot_id: self.boot, pid, start_ticks: u64::from(pid), pid_namespace: None }
    }

    /// Ends the run after `seconds`.
    fn exits(&mut self, seconds: u64, outcome: ExitOutcome) -> &mut Self {
        self.wait(seconds);
        let exit = Exit { outcome, evidence: ExitEvidence::Observed };
        match outcome {
            ExitOutcome::Code(0) => self.system(EventKind::Stopped { exit }),
            _ => self.system(EventKind::Crashed { cause: RunEnd::Exit(exit) }),
        }
    }

    /// The policy schedules a restart, which then begins.
    fn restarts(&mut self, attempt: u32) -> &mut Self {
        let trigger = StartTrigger::Restart { attempt };
        self.scheduled(attempt, 1000).wait(1);
        let cause = Some(self.seq);
        self.caused(Actor::Policy, None, cause, EventKind::StartRequested { trigger }).up(trigger)
    }

    fn scheduled(&mut self, attempt: u32, delay_ms: u64) -> &mut Self {
        let cause = Some(self.seq);
        self.caused(Actor::Policy, None, cause, EventKind::RestartScheduled { attempt, delay_ms })
    }

    fn refused(&mut self, actor: Actor, reason: Option<&str>, rule: RestartRule) -> &mut Self {
        self.by(actor, reason, EventKind::RestartRefused { rule })
    }

    fn stopping(&mut self, actor: Actor, reason: Option<&str>) -> &mut Self {
        self.by(actor, reason, EventKind::Stopping { signal: TERM, timeout_ms: 10_000, force_kill: true })
    }

    fn signalled(&mut self, actor: Actor, reason: Option<&str>, signal: Signal) -> &mut Self {
        self.by(actor, reason, EventKind::SignalSent { signal, target: SignalTarget::Group })
    }

    /// A stop that ends the process with the stop signal after a second.
    fn stops(&mut self, actor: Actor, reason: Option<&str>) -> &mut Self {
        self.stopping(actor.clone(), reason).signalled(actor, reason, TERM).wait(1);
        let exit = Exit {
            outcome: ExitOutcome::Signal { signal: TERM, core_dumped: false },
            evidence: ExitEvidence::Observed,
        };
        self.system(EventKind::Stopped { exit })
    }

    /// A supervisor starts after `seconds`. The one before recorded its stop if `is_stopped`.
    fn supervisor(&mut self, seconds: u64, is_stopped: bool) -> &mut Self {
        let watched_until = Some(self.stamp());
        let kind = if is_stopped { EventKind::SupervisorStopped } else { supervisor_started(100) };
        let before = Some(self.of_system(if is_stopped { self.seq + 1 } else { 1 }, kind));
        self.seq += u64::from(is_stopped);
        self.wait(seconds);
        self.seq += 1;
        let started = self.of_system(self.seq, supervisor_started(200));
        self.changes.push(SupervisorChange { started, before, watched_until });
        self
    }

    fn of_system(&self, seq: u64, kind: EventKind) -> Event {
        let (stream, stamp) = (StreamId::SYSTEM, self.stamp());
        NewEvent { stream, run: 0, actor: Actor::System, reason: None, cause: None, stamp, kind }.numbered(seq, 1)
    }

    /// Recovery finds that the process has ended.
    fn found(&mut self, outcome: ExitOutcome, evidence: ExitEvidence, reason: Option<&str>) -> &mut Self {
        let (not_before, not_after) = (self.changes.last().unwrap().watched_until.unwrap(), self.stamp());
        let cause = RunEnd::Exit(Exit { outcome, evidence });
        self.by(Actor::Recovery, reason, EventKind::Crashed { cause });
        self.by(Actor::Recovery, reason, EventKind::EndUnobserved { not_before, not_after })
    }

    fn page(&self, unwatched: Option<UnwatchedProcess>, width_columns: Option<usize>) -> String {
        let mut text = Vec::new();
        self.with(unwatched, |chain, status| {
            let layout = Layout { width_columns, color: false, zone: Zone::Utc };
            render::why::page(&mut text, status, chain, layout).unwrap();
        });
        String::from_utf8(text).unwrap()
    }

    fn json(&self) -> String {
        let mut text = String::new();
        self.with(None, |chain, status| {
            text = serde_json::to_string_pretty(&WhyView::new(chain, status, None)).unwrap();
        });
        text
    }

    fn with(
        &self,
        unwatched: Option<UnwatchedProcess>,
        print: impl FnOnce(&crate::why::chain::Chain, &crate::status::InstanceStatus<'_>),
    ) {
        let stream = self.stream.clone().unwrap();
        let evidence = Evidence {
            stream,
            events: self.events.clone(),
            has_gap: false,
            changes: self.changes.clone(),
            specs_before: self.specs_before.clone(),
            down_since: None,
        };
        let context = StatusContext::past(Moment::past(self.seq, self.stamp().wall()));
        print(&chain(&evidence, unwatched), &context.status(&evidence.stream));
    }
}

fn ada() -> Actor {
    Actor::Operator { uid: 1000, user: Some("ada".to_owned()), terminal: Some("pts/3".to_owned()) }
}

fn uid(uid: u32) -> Actor {
    Actor::Operator { uid, user: None, terminal: None }
}

fn supervisor_started(pid: u32) -> EventKind {
    EventKind::SupervisorStarted { pid, version: "1.0.0".to_owned() }
}

fn signal(number: u8, core_dumped: bool) -> ExitOutcome {
    ExitOutcome::Signal { signal: Signal::from_number(number).unwrap(), core_dumped }
}

/// The pages of several situations, each under its title.
fn pages<const N: usize>(situations: [(&str, &Script); N]) -> String {
    let page = |(title, script): (&str, &Script)| format!("==== {title}\n{}\n", script.page(None, None));
    situations.into_iter().map(page).collect()
}

/// A script that is up, and then continues with `more`.
fn up(policy: RestartPolicy, more: impl FnOnce(&mut Script) -> &mut Script) -> Script {
    let mut script = Script::new(policy);
    script.start(ada(), Some("nightly"));
    more(&mut script);
    script
}

use RestartPolicy::{Always, Never, OnFailure};

#[test]
fn ends() {
    let failed_spawn = |stage, errno, message: &str| {
        let mut script = Script::new(Never);
        let trigger = StartTrigger::Start;
        script.by(ada(), Some("nightly"), EventKind::StartRequested { trigger });
        script.system(EventKind::Starting { identity: None, trigger });
        let failure = SpawnFailure { stage, errno, message: message.to_owned() };
        script.system(EventKind::Crashed { cause: RunEnd::SpawnFailed(failure) });
        script
    };
    let before_up = || {
        let mut script = Script::new(Never);
        let trigger = StartTrigger::Start;
        let identity = Some(ProcessIdentity { boot_id: BOOT, pid: 5001, start_ticks: 1, pid_namespace: None });
        script.by(ada(), None, EventKind::StartRequested { trigger });
        script.system(EventKind::Starting { identity, trigger });
        script.exits(2, ExitOutcome::Code(1));
        script
    };
    let tail = EventKind::OutputTail {
        stdout: vec!["out".to_owned()],
        stderr: vec!["bad \x1b[2J flag".to_owned(), String::new()],
    };
    let text = pages([
        ("success", &up(OnFailure, |script| script.exits(2, ExitOutcome::Code(0)))),
        ("a code", &up(Never, |script| script.exits(2, ExitOutcome::Code(7)).system(tail))),
        ("a signal", &up(Never, |script| script.exits(62, signal(11, true)))),
        (
            "a signal that a person sent",
            &up(Never, |script| {
                script.wait(1).signalled(uid(7), Some("received SIGQUIT"), Signal::from_number(3).unwrap());
                script.exits(1, signal(3, false))
            }),
        ),
        ("unknown", &up(Never, |script| script.exits(1, ExitOutcome::Unknown))),
        ("before it was up", &before_up()),
        ("exec", &failed_spawn(SpawnStage::Exec, Some(2), "serve: No such file or directory (os error 2)")),
        ("directory", &failed_spawn(SpawnStage::WorkingDirectory, Some(20), "/srv: Not a directory (os error 20)")),
        ("fork", &failed_spawn(SpawnStage::Fork, Some(11), "Resource temporarily unavailable (os error 11)")),
        ("credentials", &failed_spawn(SpawnStage::Credentials, None, "the profile work is not known")),
        ("standard input", &failed_spawn(SpawnStage::Stdin, Some(13), "in.txt: Permission denied (os error 13)")),
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn stops() {
    let killed = |more: fn(&mut Script) -> &mut Script| {
        up(Always, |script| {
            script.stopping(ada(), Some("deploy")).signalled(ada(), Some("deploy"), TERM).wait(10);
            script.signalled(Actor::System, None, Signal::KILL).wait(1);
            let exit = Exit { outcome: signal(9, false), evidence: ExitEvidence::Observed };
            script.system(EventKind::Terminated { exit });
            more(script)
        })
    };
    let text = pages([
        ("by a person", &up(Always, |script| script.wait(60).stops(ada(), Some("deploy")))),
        ("without a name", &up(Always, |script| script.wait(60).stops(uid(1000), None))),
        ("by the daemon", &up(Always, |script| script.stops(Actor::System, Some("`daemon --stop` by ada: upgrade")))),
        ("killed", &killed(|script| script)),
        ("survivors", &killed(|script| script.system(EventKind::GroupSurvived { pids: vec![5002, 5003] }))),
        ("in progress", &up(Always, |script| script.stopping(ada(), Some("deploy")).signalled(ada(), None, TERM))),
        ("before the signal", &up(Always, |script| script.stopping(ada(), None))),
        (
            "a refused signal",
            &up(Always, |script| {
                script
                    .stopping(ada(), None)
                    .signalled(ada(), None, TERM)
                    .system(EventKind::SignalFailed { signal: TERM, errno: 1 })
            }),
        ),
        (
            "started again",
            &up(Always, |script| {
                script.stops(ada(), Some("reload"));
                let (trigger, cause) = (StartTrigger::Start, Some(script.seq));
                script.caused(ada(), Some("reload"), cause, EventKind::StartRequested { trigger }).up(trigger)
            }),
        ),
        (
            "removed",
            &up(Always, |script| script.stops(ada(), None).by(ada(), Some("not needed"), EventKind::Unregistered)),
        ),
        (
            "killed by an earlier stop, then by a signal",
            &up(Always, |script| script.stops(ada(), None).start(uid(7), None).exits(1, signal(9, false))),
        ),
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn restarts_and_refusals() {
    let crash_loop = |script: &mut Script| {
        for attempt in 1..=3 {
            script.exits(2, ExitOutcome::Code(7)).restarts(attempt);
        }
        script.exits(2, ExitOutcome::Code(7));
    };
    let spent = RestartRule::BudgetSpent { restarts: 3, max_restarts: 3, window_ms: 600_000 };
    let spawns = RestartRule::SpawnBudgetSpent { failures: 1, max_restarts: 1, window_ms: 600_000 };
    let refused = |actor: Actor, reason: Option<&'static str>, rule| {
        up(OnFailure, |script| {
            script.exits(2, ExitOutcome::Code(7)).scheduled(1, 1000).wait(1).refused(actor, reason, rule)
        })
    };
    let text = pages([
        ("one restart", &up(OnFailure, |script| script.exits(2, ExitOutcome::Code(7)).restarts(1))),
        (
            "several ends",
            &up(Always, |script| {
                script.exits(2, ExitOutcome::Code(7)).restarts(1).exits(3, signal(11, false)).restarts(2);
                script.exits(4, ExitOutcome::Code(7)).restarts(3)
            }),
        ),
        (
            "budget",
            &up(OnFailure, |script| {
                crash_loop(script);
                script.refused(Actor::Policy, None, spent)
            }),
        ),
        (
            "budget of failed starts",
            &up(OnFailure, |script| script.exits(2, ExitOutcome::Code(7)).refused(Actor::Policy, None, spawns)),
        ),
        ("launch unknown", &refused(Actor::Policy, None, RestartRule::LaunchUnknown)),
        ("policy never, of version 1", &refused(Actor::Policy, None, RestartRule::PolicyNever)),
        ("succeeded, of version 1", &refused(Actor::Policy, None, RestartRule::Succeeded)),
        ("cancelled", &refused(ada(), Some("enough"), RestartRule::StopRequested)),
        ("put off", &refused(Actor::System, Some("`daemon --stop` by ada"), RestartRule::StopRequested)),
        (
            "copy",
            &up(Always, |script| {
                script.exits(1, ExitOutcome::Unknown).refused(
                    Actor::Recovery,
                    Some("this is a copy"),
                    RestartRule::StopRequested,
                )
            }),
        ),
        ("undecided", &up(Always, |script| script.exits(2, ExitOutcome::Code(0)))),
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn waits_and_health() {
    fn unhealthy(script: &mut Script) -> &mut Script {
        let detail = "status 503".to_owned();
        script.wait(30).by(Actor::Health, None, EventKind::HealthChanged { healthy: false, detail });
        script.wait(60).by(Actor::Health, Some("status 503"), EventKind::Unhealthy { failures: 3 })
    }
    let mut unconfirmed = Script::new(Never);
    unconfirmed.by(ada(), Some("nightly"), EventKind::StartRequested { trigger: StartTrigger::Start });
    let mut not_up = Script::new(Never);
    let identity = Some(ProcessIdentity { boot_id: BOOT, pid: 5001, start_ticks: 1, pid_namespace: None });
    let trigger = StartTrigger::Start;
    not_up.by(ada(), None, EventKind::StartRequested { trigger }).system(EventKind::Starting { identity, trigger });
    let text = pages([
        ("registered", &Script::new(Never)),
        ("running", &up(Never, |script| script.wait(5))),
        ("start requested", &unconfirmed),
        ("not up", &not_up),
        ("back-off", &up(OnFailure, |script| script.exits(2, ExitOutcome::Code(7)).scheduled(1, 90_000).wait(30))),
        (
            "failing check",
            &up(Always, |script| {
                let detail = "connection refused".to_owned();
                script.wait(30).by(Actor::Health, None, EventKind::HealthChanged { healthy: false, detail })
            }),
        ),
        ("unhealthy", &up(Never, unhealthy)),
        (
            "a check that succeeds again",
            &up(Never, |script| {
                let kind = EventKind::HealthChanged { healthy: true, detail: "status 200".to_owned() };
                unhealthy(script).wait(5).by(Actor::Health, None, kind)
            }),
        ),
        (
            "restarted when unhealthy",
            &up(OnFailure, |script| {
                unhealthy(script);
                script.stops(Actor::Health, Some("status 503")).restarts(1)
            }),
        ),
        (
            "changed while it runs",
            &up(Never, |script| {
                let spec = RedactedSpec::new(&ProcessSpec { args: vec!["-v".to_owned()], ..script.spec.clone() });
                script.wait(5).by(ada(), Some("more memory"), EventKind::SpecChanged { spec })
            }),
        ),
        (
            "changed and started again",
            &up(Never, |script| {
                let spec = RedactedSpec::new(&ProcessSpec { args: vec!["-v".to_owned()], ..script.spec.clone() });
                script.wait(5).stops(ada(), Some("more memory")).by(
                    ada(),
                    Some("more memory"),
                    EventKind::SpecChanged { spec },
                );
                script.start(ada(), Some("more memory"))
            }),
        ),
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn intervals_without_a_supervisor() {
    let ended = |is_stopped, outcome, evidence| {
        up(Never, |script| script.wait(60).supervisor(180, is_stopped).found(outcome, evidence, None))
    };
    let adopted = |is_stopped| {
        up(Never, |script| {
            let identity = script.identity();
            script.wait(60).supervisor(180, is_stopped).by(Actor::Recovery, None, EventKind::Adopted { identity })
        })
    };
    let (recovered, unknown) = (ExitEvidence::Recovered, ExitEvidence::Unknown);
    let mut never_confirmed = Script::new(Never);
    let trigger = StartTrigger::Start;
    never_confirmed.by(ada(), None, EventKind::StartRequested { trigger }).supervisor(60, false);
    never_confirmed.by(Actor::Recovery, None, EventKind::Starting { identity: None, trigger });
    never_confirmed.by(Actor::Recovery, None, EventKind::Crashed { cause: RunEnd::NeverConfirmed });
    let text = pages([
        ("a code, the daemon died", &ended(false, ExitOutcome::Code(137), recovered)),
        ("a signal, the daemon had stopped", &ended(true, signal(15, false), recovered)),
        ("unknown", &ended(false, ExitOutcome::Unknown, unknown)),
        (
            "a reboot",
            &up(Never, |script| {
                script.wait(60);
                script.supervisor(180, false).boot = NEXT_BOOT;
                script.found(ExitOutcome::Unknown, unknown, Some("the machine was restarted"));
                let trigger = StartTrigger::Boot;
                script.caused(Actor::System, None, Some(6), EventKind::StartRequested { trigger }).up(trigger)
            }),
        ),
        (
            "started again after a shutdown",
            &up(Always, |script| {
                script.stops(Actor::System, Some("`daemon --stop` by ada")).supervisor(60, true);
                let (trigger, cause) = (StartTrigger::Boot, Some(script.seq));
                script.caused(Actor::System, None, cause, EventKind::StartRequested { trigger }).up(trigger)
            }),
        ),
        ("adopted, the daemon died", &adopted(false)),
        ("adopted, the daemon had stopped", &adopted(true)),
        (
            "restarted after it",
            &up(Always, |script| {
                script.supervisor(180, false).found(ExitOutcome::Code(3), recovered, None).restarts(1)
            }),
        ),
        ("never confirmed", &never_confirmed),
    ]);
    insta::assert_snapshot!(text);
}

#[test]
fn a_state_that_no_daemon_updates() {
    let running = up(Always, |script| script.wait(5));
    let waiting = up(Always, |script| script.exits(2, ExitOutcome::Code(7)).scheduled(1, 1000));
    let text = [
        running.page(Some(UnwatchedProcess::Alive), None),
        running.page(Some(UnwatchedProcess::Gone), None),
        running.page(Some(UnwatchedProcess::Unknown), None),
        waiting.page(Some(UnwatchedProcess::AwaitsRestart), None),
    ]
    .join("\n");
    insta::assert_snapshot!(text);
}

#[test]
fn a_long_series_is_one_cause_and_a_long_chain_is_cut() {
    let often = up(Always, |script| {
        for attempt in 1..=40 {
            script.exits(1, ExitOutcome::Code(1)).restarts(attempt);
        }
        script
    });
    let page = often.page(None, None);
    assert!(page.contains("Restarted 40 times in"), "{page}");
    assert_eq!(page.lines().count(), 3, "{page}");

    let unhealthy = up(Always, |script| {
        for attempt in 1..=20 {
            script.by(Actor::Health, Some("status 503"), EventKind::Unhealthy { failures: 3 });
            script.stops(Actor::Health, Some("status 503")).restarts(attempt);
        }
        script
    });
    let page = unhealthy.page(None, None);
    assert!(
        page.ends_with("Earlier causes were left out; `apm2-ledger show web --events all` has all events.\n"),
        "{page}"
    );
}

#[test]
fn recorded_text_cannot_control_a_terminal_and_fits_it() {
    let hostile = up(Always, |script| {
        let actor =
            Actor::Operator { uid: 7, user: Some("eve\x1b[8m".to_owned()), terminal: Some("\r\u{202e}".to_owned()) };
        script.stops(actor, Some("line\nbreak \x1b]0;owned\x07 \u{200b} and a reason that is longer than the line"))
    });
    let page = hostile.page(None, Some(60));
    assert!(page.lines().all(|line| unicode_width::UnicodeWidthStr::width(line) <= 60), "{page}");
    insta::assert_snapshot!(page);
}

#[test]
fn json_has_the_same_chain() {
    let script = up(OnFailure, |script| {
        script.exits(2, ExitOutcome::Code(7)).restarts(1).exits(2, ExitOutcome::Code(7)).restarts(2);
        script.wait(60).supervisor(180, false).found(ExitOutcome::Code(137), ExitEvidence::Recovered, None);
        script.refused(
            Actor::Policy,
            None,
            RestartRule::BudgetSpent { restarts: 2, max_restarts: 2, window_ms: 600_000 },
        )
    });
    let text = script.json();
    insta::assert_snapshot!(text);
}
