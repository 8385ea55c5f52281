//! How fast lines are read, in time on a processor: other processes do not count. Run with `cargo test --release -p apm2-agents -- --ignored --nocapture throughput`.

use std::fs;

use apm2_agents::{reader::AgentReader, record::OnRecord};
use apm2_model::{event::kind::OutputSource, spec::agent_kind::AgentKind};

use crate::support::{captures, time};

/// Bytes that are read for one figure.
const BYTES: usize = 400_000_000;

/// The time of this thread on a processor, in seconds (proc(5), `schedstat`).
fn processor_time() -> f64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel has statistics of its scheduler");
    let nanos: f64 = text.split(' ').next().unwrap().parse().unwrap();
    nanos / 1e9
}

#[expect(clippy::print_stdout, reason = "a measurement is read by a person")]
fn report(name: &str, kind: AgentKind, lines: &[(OutputSource, Vec<u8>)]) {
    let mut reader = AgentReader::new(kind, 0);
    let per_round: usize = lines.iter().map(|(_, line)| line.len()).sum();
    let rounds = BYTES / per_round.max(1) + 1;
    let begin = processor_time();
    let mut events = 0;
    for round in 0..rounds {
        reader.begin_run(OnRecord::default());
        for (source, line) in lines {
            events += reader.line(*source, line, false, time(round)).len();
        }
    }
    let seconds = processor_time() - begin;
    let megabytes = f64::from(u32::try_from(per_round * rounds / 1000).unwrap()) / 1000.0;
    println!(
        "{name}: {:.0} MB/s, {:.0} events/s",
        megabytes / seconds,
        f64::from(u32::try_from(events).unwrap()) / seconds
    );
}

#[test]
#[ignore = "a measurement"]
fn throughput() {
    for kind in [AgentKind::ClaudeCode, AgentKind::Codex, AgentKind::Gemini, AgentKind::OpenCode, AgentKind::QwenCode] {
        let mut lines = Vec::new();
        for capture in captures().iter().filter(|capture| capture.kind() == kind) {
            lines.extend(capture.lines().into_iter().map(|(source, line)| (source, line.to_vec())));
        }
        report(kind.name(), kind, &lines);
    }
    for length in [1000, 10_000, 1_000_000] {
        let content = "\\\"a line of a file\\\\n".repeat(length / 20);
        let line = format!(
            r#"{{"type":"user","message":{{"role":"user","content":[{{"tool_use_id":"t","type":"tool_result","content":"{content}"}}]}},"session_id":"s"}}"#
        );
        report(
            &format!("a result of {length} bytes"),
            AgentKind::ClaudeCode,
            &[(OutputSource::Stdout, line.into_bytes())],
        );
    }
}
