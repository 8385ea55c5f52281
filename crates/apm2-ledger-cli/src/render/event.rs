//! Human-readable output for events, one event per line.

use std::time::Duration;

use apm2_model::{
    event::{
        Event,
        identity::ProcessIdentity,
        kind::{EventKind, OutputSource, RestartRule, SignalTarget, StartTrigger},
    },
    policy::joined::SUPERVISOR,
};

use crate::{
    render::{
        agent::{self, failure},
        escape::escape,
        table::{
            Align::{Left, Right},
            Cell, Layout, Table, cut,
        },
        words::{self, trigger},
        zone::Zone,
    },
    steps::Step,
};

/// Prints a table of events with their transitions.
pub(crate) fn table(steps: &[Step], zone: Zone) -> Table<7> {
    let mut table = Table::new([
        ("SEQ", Right),
        ("TIME", Left),
        ("RUN", Right),
        ("EVENT", Left),
        ("CAUSE", Right),
        ("ACTOR", Left),
        ("DETAILS", Left),
    ]);
    for step in steps {
        let event = &step.event;
        table.push([
            event.seq.to_string().into(),
            zone.time(event.stamp.wall()).into(),
            event.run.to_string().into(),
            name(step).into(),
            event.cause.map_or_else(|| words::NOTHING.to_owned(), |seq| seq.to_string()).into(),
            words::actor(&event.actor).into(),
            Cell::new(details(event, zone)),
        ]);
    }
    table
}

/// Prints one event on a line, for output with no end (`tail -f`).
pub(crate) fn line(step: &Step, name: Option<&str>, layout: Layout) -> String {
    let event = &step.event;
    let text = format!(
        "{:>8}  {}  {:<20}  {:>4}  {:<24}  {:<10}  {}",
        event.seq,
        layout.zone.time(event.stamp.wall()),
        escape(name.unwrap_or(words::NOTHING)),
        event.run,
        self::name(step),
        escape(&words::actor(&event.actor)),
        escape(&details(event, layout.zone)),
    );
    cut(text.trim_end(), layout.width_columns.unwrap_or(usize::MAX))
}

/// The kind of the event. For a transition, also the states before and after the event.
pub(crate) fn name(step: &Step) -> String {
    match step.transition {
        Some((from, to)) => format!("{from} -> {to}"),
        None => step.event.kind.name().to_owned(),
    }
}

/// The details of the event, and the recorded reason.
pub(crate) fn details(event: &Event, zone: Zone) -> String {
    let own = of_kind(&event.kind, zone);
    match &event.reason {
        None => own,
        Some(reason) if own.is_empty() => format!("reason: {reason}"),
        Some(reason) => format!("{own}; reason: {reason}"),
    }
}

/// The details that depend on the kind of the event.
pub(crate) fn of_kind(kind: &EventKind, zone: Zone) -> String {
    use EventKind as K;
    match kind {
        K::Unregistered | K::Running | K::BudgetReset | K::SupervisorStopped => String::new(),
        K::Registered { spec } | K::SpecChanged { spec } => words::command_line(&spec.command, &spec.args),
        K::StartRequested { trigger: why } => trigger(*why),
        K::Starting { identity, trigger } => starting(identity.as_ref(), *trigger),
        K::Unhealthy { failures } => format!("after {}", words::counted(u64::from(*failures), "failed check")),
        K::Stopping { signal, timeout_ms, force_kill: true } => {
            format!("{signal}, {} until SIGKILL", millis(*timeout_ms))
        }
        K::Stopping { signal, timeout_ms, force_kill: false } => format!("{signal}, {} to end", millis(*timeout_ms)),
        K::Stopped { exit } | K::Terminated { exit } => exit.to_string(),
        K::Crashed { cause } => cause.to_string(),
        K::SignalSent { signal, target } => format!("{signal} to {}", target_words(*target)),
        K::SignalFailed { signal, errno } => {
            format!("{signal}: {}", std::io::Error::from_raw_os_error(*errno))
        }
        K::GroupSurvived { pids } => format!("still alive: {}", joined(pids)),
        K::RestartScheduled { attempt, delay_ms } => format!("attempt {attempt}, in {}", millis(*delay_ms)),
        K::RestartRefused { rule } => rule_words(rule),
        K::HealthChanged { healthy, detail } => format!("{}: {detail}", if *healthy { "healthy" } else { "unhealthy" }),
        K::Adopted { identity } => pid(identity),
        K::OutputLeaked { source: OutputSource::Stdout } => "stdout is held by another process".to_owned(),
        K::OutputLeaked { source: OutputSource::Stderr } => "stderr is held by another process".to_owned(),
        K::Sampled { cpu_centipercent, memory_bytes, processes } => {
            let cpu_percent = f64::from(*cpu_centipercent) / 100.0;
            let of = processes.map(|count| format!(", {}", words::counted(u64::from(count), "process")));
            format!("{cpu_percent:.1}% cpu, {} bytes{}", words::count(*memory_bytes), of.unwrap_or_default())
        }
        K::CredentialRotated { profile, variables } => format!("{profile}: {}", variables.join(" ")),
        K::Observed { adapter, detail } if adapter == SUPERVISOR => detail.clone(),
        K::Observed { adapter, detail } => format!("{adapter}: {detail}"),
        K::Agent { report } => agent::details(report, zone),
        K::SupervisorStarted { pid, version } => format!("pid {pid}, version {version}"),
        K::Checkpointed { size, chain } => format!("{}, {}", words::counted(*size, "event"), words::hex(chain)),
        K::StoreRebuilt { cause, set_aside: Some(name) } => format!("{cause}; set aside as {name}"),
        K::StoreRebuilt { cause, set_aside: None } => cause.clone(),
        K::TailCut { segment, offset } => format!("segment {segment}, byte {offset}"),
        // The details are short here, because the table of runs shows them in full.
        K::OutputTail { stdout, stderr } => stderr.last().or(stdout.last()).cloned().unwrap_or_default(),
        K::OutputDropped { source, bytes: 0, cause } => format!("{} from here on: {cause}", source_words(*source)),
        K::OutputDropped { source, bytes, cause } => {
            format!("{}: {} bytes; {cause}", source_words(*source), words::count(*bytes))
        }
        K::PreStopEnded { command, detail, .. } => format!("{command}: {detail}"),
        K::OrphansEnded { processes } => {
            format!("{} outside of its session", words::counted(u64::from(*processes), "process"))
        }
        K::EndUnobserved { not_before, not_after } => {
            format!("ended between {} and {}", zone.time(not_before.wall()), zone.time(not_after.wall()))
        }
    }
}

fn starting(identity: Option<&ProcessIdentity>, why: StartTrigger) -> String {
    match identity {
        Some(identity) => format!("{}, {}", trigger(why), pid(identity)),
        None => format!("{}, no process", trigger(why)),
    }
}

fn pid(identity: &ProcessIdentity) -> String {
    format!("pid {}", identity.pid)
}

fn millis(millis: u64) -> String {
    words::duration(Duration::from_millis(millis))
}

const fn source_words(source: OutputSource) -> &'static str {
    match source {
        OutputSource::Stdout => "stdout",
        OutputSource::Stderr => "stderr",
    }
}

const fn target_words(target: SignalTarget) -> &'static str {
    match target {
        SignalTarget::Process => "the process",
        SignalTarget::Group => "the group",
    }
}

fn joined(pids: &[u32]) -> String {
    pids.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// The rule that refused a restart, in words.
pub(crate) fn rule_words(rule: &RestartRule) -> String {
    match *rule {
        RestartRule::PolicyNever => "the policy is never to restart".to_owned(),
        RestartRule::Succeeded => "it succeeded, and the policy restarts failures".to_owned(),
        RestartRule::BudgetSpent { restarts, max_restarts, window_ms } => {
            format!("{restarts} restarts in {}, and {max_restarts} are allowed", millis(window_ms))
        }
        RestartRule::StopRequested => "a stop was asked for".to_owned(),
        RestartRule::SpawnBudgetSpent { failures, max_restarts, window_ms } => {
            format!("{failures} failed starts in {}, and {max_restarts} restarts are allowed", millis(window_ms))
        }
        RestartRule::AgentFailed { class } => format!("another run would fail in the same way: {}", failure(class)),
        RestartRule::AgentStopped { finding } => format!("it was stopped for good: {finding}"),
        RestartRule::LaunchUnknown => "the values that it was launched with are not known any more".to_owned(),
    }
}
