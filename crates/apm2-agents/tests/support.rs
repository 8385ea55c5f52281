//! Captured runs, and events as lines of text.

use std::{fmt::Write as _, fs, path::PathBuf};

use apm2_agents::{
    reader::AgentReader,
    record::{OnRecord, RunOnRecord, SessionOnRecord},
};
use apm2_model::{
    event::{
        agent::{
            event::{AgentEvent, LimitStatus, ToolCall},
            label::Label,
            outcome::AgentOutcome,
            usage::TokenUsage,
        },
        exit::{Evidence, Exit, ExitOutcome},
        kind::OutputSource,
        timestamp::Timestamp,
    },
    signal::Signal,
    spec::agent_kind::AgentKind,
};
use uuid::Uuid;

/// The time between two lines of a test.
pub(crate) const STEP_MS: u64 = 100;

/// A captured run of an agent.
#[derive(Debug, Clone)]
pub(crate) struct Capture {
    pub(crate) agent: String,
    pub(crate) run: String,
    /// The exit code in words of the index; `None` for a run that was still running.
    pub(crate) exit: Option<Exit>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Capture {
    pub(crate) fn kind(&self) -> AgentKind {
        let (kind, _) = [
            (AgentKind::ClaudeCode, "claude-code-"),
            (AgentKind::Codex, "codex-"),
            (AgentKind::Gemini, "gemini-cli-"),
            (AgentKind::OpenCode, "opencode-"),
            (AgentKind::QwenCode, "qwen-code-"),
        ]
        .into_iter()
        .find(|(_, prefix)| self.agent.starts_with(prefix))
        .expect("an agent of the index has a kind");
        kind
    }

    /// The lines: the first one of standard output, then standard error, then the rest. The captures do not have the real order.
    pub(crate) fn lines(&self) -> Vec<(OutputSource, &[u8])> {
        let mut stdout = lines_of(&self.stdout).into_iter().map(|line| (OutputSource::Stdout, line));
        let mut lines: Vec<_> = stdout.next().into_iter().collect();
        lines.extend(lines_of(&self.stderr).into_iter().map(|line| (OutputSource::Stderr, line)));
        lines.extend(stdout);
        lines
    }
}

fn lines_of(bytes: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<_> = bytes.split(|byte| *byte == b'\n').collect();
    if lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    lines
}

pub(crate) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/captures")
}

/// All captured runs, in the order of the index.
pub(crate) fn captures() -> Vec<Capture> {
    let index = fs::read_to_string(folder().join("INDEX.tsv")).expect("the index can be read");
    index
        .lines()
        .skip(1)
        .map(|line| {
            let mut fields = line.split('\t');
            let (agent, run, exit) = (fields.next().unwrap(), fields.next().unwrap(), fields.next().unwrap());
            let path = folder().join(agent);
            Capture {
                agent: agent.to_owned(),
                run: run.to_owned(),
                exit: exit_of(exit),
                stdout: fs::read(path.join(format!("{run}.jsonl"))).expect("a run of the index has output"),
                stderr: fs::read(path.join(format!("{run}.stderr"))).unwrap_or_default(),
            }
        })
        .collect()
}

pub(crate) fn capture(agent: &str, run: &str) -> Capture {
    captures()
        .into_iter()
        .find(|capture| capture.agent == agent && capture.run == run)
        .expect("the run is in the index")
}

fn exit_of(text: &str) -> Option<Exit> {
    let outcome = match text {
        "None" => ExitOutcome::Unknown,
        _ if text.starts_with("SIG") => {
            ExitOutcome::Signal { signal: text.parse::<Signal>().unwrap(), core_dumped: false }
        }
        _ => ExitOutcome::Code(text.parse().ok()?),
    };
    Some(Exit { outcome, evidence: Evidence::Observed })
}

pub(crate) fn exit_code(code: i32) -> Exit {
    Exit { outcome: ExitOutcome::Code(code), evidence: Evidence::Observed }
}

/// The time of the line with this number: 2026-11-25T15:45:00Z and a step for each line.
pub(crate) fn time(line: usize) -> Timestamp {
    let nanos = u64::try_from(line).unwrap() * STEP_MS * 1_000_000;
    Timestamp {
        wall_ns: 1_795_621_500_000_000_000 + i64::try_from(nanos).unwrap(),
        boot_ns: 1_000_000_000 + nanos,
        boot_id: Uuid::from_u128(1),
    }
}

/// Reads all lines of a run without its end.
pub(crate) fn read(reader: &mut AgentReader, lines: &[(OutputSource, &[u8])], first: usize) -> Vec<AgentEvent> {
    let mut events = Vec::new();
    for (number, (source, line)) in lines.iter().enumerate() {
        events.extend(reader.line(*source, line, false, time(first + number)));
    }
    events
}

/// What a ledger has on record after these events of one run.
pub(crate) fn on_record(before: &OnRecord, events: &[AgentEvent]) -> OnRecord {
    let mut record = before.clone();
    let mut run = record.run.take().unwrap_or_default();
    for (number, event) in events.iter().enumerate() {
        fold(&mut record.session, &mut run, event, time(number));
    }
    record.run = Some(run);
    record
}

fn fold(session: &mut Option<SessionOnRecord>, run: &mut RunOnRecord, event: &AgentEvent, now: Timestamp) {
    match event {
        AgentEvent::SessionStarted { session_id, .. } => {
            run.is_session_started = true;
            if session.as_ref().is_none_or(|session| session.id != *session_id) {
                *session =
                    Some(SessionOnRecord { id: session_id.clone(), usage: TokenUsage::default(), cost_micros: 0 });
            }
        }
        AgentEvent::Failed { class, http_status } => run.failed = Some((*class, *http_status)),
        AgentEvent::TurnEnded { usage, cost_micros, .. } => {
            run.failed = None;
            run.turns += 1;
            run.usage = run.usage.plus(*usage);
            if let Some(cost) = cost_micros {
                run.cost_micros = Some(run.cost_micros.unwrap_or(0) + cost);
            }
            if let Some(session) = session {
                session.usage = session.usage.plus(*usage);
                session.cost_micros += cost_micros.unwrap_or(0);
            }
        }
        AgentEvent::ToolStarted { call, .. } => {
            run.tool_calls += 1;
            run.is_finished = false;
            run.open_calls.push((call.clone(), now));
        }
        AgentEvent::ToolEnded { call, .. } => {
            let before = run.open_calls.len();
            run.open_calls.retain(|(open, _)| open.call_id != call.call_id);
            if run.open_calls.len() == before {
                run.tool_calls += 1;
            }
        }
        AgentEvent::ToolsSummarized { tools, .. } => {
            run.tool_calls += tools.iter().map(|count| count.calls).sum::<u32>();
        }
        AgentEvent::PermissionDenied { .. } => run.denials += 1,
        AgentEvent::BackgroundChanged { tasks } => run.background_tasks = *tasks,
        AgentEvent::Finished { turns, .. } => {
            run.agent_turns = *turns;
            run.is_finished = true;
            run.failed = None;
            run.open_calls.clear();
        }
        _ => {}
    }
}

/// An event as one line.
pub(crate) fn text(event: &AgentEvent) -> String {
    let mut line = event.name().to_owned();
    write_fields(&mut line, event);
    line
}

fn label(line: &mut String, key: &str, value: Option<&Label>) {
    if let Some(value) = value {
        let _ = write!(line, " {key}={value}");
    }
}

fn number<T: std::fmt::Display>(line: &mut String, key: &str, value: Option<T>) {
    if let Some(value) = value {
        let _ = write!(line, " {key}={value}");
    }
}

fn call_fields(line: &mut String, call: &ToolCall) {
    let _ = write!(line, " {} {}", call.tool, call.call_id);
    label(line, "server", call.mcp_server.as_ref());
    label(line, "parent", call.parent_call_id.as_ref());
}

pub(crate) fn usage_text(usage: &TokenUsage) -> String {
    let TokenUsage { input, output, cache_read, cache_creation, reasoning } = usage;
    format!("in={input} out={output} read={cache_read} creation={cache_creation} reasoning={reasoning}")
}

fn write_fields(line: &mut String, event: &AgentEvent) {
    let _ = match event {
        AgentEvent::SessionStarted { session_id, model, agent_version, permission_mode, is_resumed, mcp_servers } => {
            let _ = write!(line, " {session_id}");
            label(line, "model", model.as_ref());
            label(line, "version", agent_version.as_ref());
            label(line, "mode", permission_mode.as_ref());
            for server in mcp_servers {
                let status = server.status.as_ref().map_or("", Label::as_str);
                let _ = write!(line, " mcp={}:{status}", server.name);
            }
            line.write_str(if *is_resumed { " resumed" } else { "" })
        }
        AgentEvent::TurnEnded { turn, usage, cost_micros, duration_ms, outcome } => {
            let _ = write!(line, " {turn} {} {}", outcome.name(), usage_text(usage));
            number(line, "cost", *cost_micros);
            number(line, "ms", *duration_ms);
            Ok(())
        }
        AgentEvent::ToolStarted { call, input_bytes } => {
            call_fields(line, call);
            write!(line, " input={input_bytes}")
        }
        AgentEvent::ToolEnded { call, is_ok, exit_code, duration_ms, output_bytes } => {
            call_fields(line, call);
            let _ = write!(line, " {} output={output_bytes}", if *is_ok { "ok" } else { "failed" });
            number(line, "exit", *exit_code);
            number(line, "ms", *duration_ms);
            Ok(())
        }
        AgentEvent::ToolsSummarized { tools, period_ms } => {
            for count in tools {
                let _ = write!(line, " {}={}/{}", count.tool, count.failed, count.calls);
            }
            write!(line, " ms={period_ms}")
        }
        AgentEvent::PermissionDenied { tool, reason } => {
            let _ = write!(line, " {tool}");
            label(line, "reason", reason.as_ref());
            Ok(())
        }
        AgentEvent::Retrying { attempt, attempts_max, delay_ms, http_status, class } => {
            let _ = write!(line, " {} attempt={attempt}", class.name());
            number(line, "max", *attempts_max);
            number(line, "delay", *delay_ms);
            number(line, "http", *http_status);
            Ok(())
        }
        AgentEvent::RateLimited { status, class, window, used_percent, resets_at } => {
            let status = match status {
                LimitStatus::Allowed => "allowed",
                LimitStatus::Warning => "warning",
                LimitStatus::Rejected => "rejected",
            };
            let _ = write!(line, " {status} {}", class.name());
            label(line, "window", window.as_ref());
            number(line, "used", *used_percent);
            number(line, "resets", *resets_at);
            Ok(())
        }
        AgentEvent::Failed { class, http_status } => {
            let _ = write!(line, " {}", class.name());
            number(line, "http", *http_status);
            Ok(())
        }
        AgentEvent::Finished {
            outcome,
            class,
            is_permanent,
            usage,
            cost_micros,
            turns,
            tool_calls,
            denials,
            background_tasks,
            is_reported,
        } => {
            let _ = write!(line, " {}", outcome.name());
            if *outcome != AgentOutcome::Success || class.is_some() {
                let _ = write!(line, " {}", class.map_or("none", |class| class.name()));
            }
            let _ = write!(line, "{}", if *is_permanent { " permanent" } else { "" });
            let _ = write!(line, "{} {}", if *is_reported { "" } else { " unreported" }, usage_text(usage));
            number(line, "cost", *cost_micros);
            write!(line, " turns={turns} tools={tool_calls} denials={denials} background={background_tasks}")
        }
        AgentEvent::BackgroundChanged { tasks } => write!(line, " {tasks}"),
        AgentEvent::LinesSkipped(skipped) => {
            write!(line, " unknown={} invalid={} cut={}", skipped.unknown, skipped.invalid, skipped.cut)
        }
        // The supervisor itself makes all others.
        _ => Ok(()),
    };
}
