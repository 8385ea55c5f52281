//! The texts of the cells of the list.

use std::time::Duration;

use apm2_lanes::lane_state::is_down;
use apm2_model::{
    event::agent::event::AgentPhase,
    state::{ProcessState, agent::AgentState},
};

use crate::{
    render::{
        self,
        words::{self, NOTHING},
    },
    status::{InstanceStatus, KernelState},
};

/// A mark for each state, so that states differ in shape, too.
pub(crate) fn mark(status: &InstanceStatus<'_>) -> &'static str {
    match status.state() {
        Ok(_) if is_down(status.stream) => "✖",
        Ok(ProcessState::Starting) => "◔",
        Ok(ProcessState::Running) => "●",
        Ok(ProcessState::Unhealthy) => "▲",
        Ok(ProcessState::Stopping) => "◕",
        Ok(ProcessState::Stopped { .. }) => "○",
        Ok(ProcessState::Crashed { .. }) => "✖",
        Ok(ProcessState::Terminated) => "■",
        Err(KernelState::Gone) => "✖",
        Err(_) => "?",
    }
}

/// The uptime: with seconds in the first hour.
pub(crate) fn uptime(status: &InstanceStatus<'_>) -> String {
    let seconds = status.uptime_secs().and_then(|seconds| u64::try_from(seconds).ok());
    seconds.map_or_else(|| NOTHING.to_owned(), |seconds| words::duration(Duration::from_secs(seconds)))
}

/// A number in a few characters: `999`, `12.3k`, `4.0M`.
pub(crate) fn short_count(number: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    match UNITS.into_iter().find(|(size, _)| number >= *size) {
        None => number.to_string(),
        Some((size, unit)) => {
            let tenths = number / (size / 10);
            if tenths < 1000 {
                format!("{}.{}{unit}", tenths / 10, tenths % 10)
            } else {
                format!("{}{unit}", tenths / 10)
            }
        }
    }
}

/// A number of bytes in at most five characters: `999B`, `1.5K`, `64M`.
pub(crate) fn short_bytes(bytes: u64) -> String {
    let text = words::bytes(bytes);
    let Some((number, unit)) = text.split_once(' ') else { return text };
    let unit = unit.get(..1).unwrap_or_default();
    let number = if number.len() > 3 { number.split('.').next().unwrap_or(number) } else { number };
    format!("{number}{unit}")
}

/// A share of the processor in at most five characters, up to a hundred cores.
pub(crate) fn percent(share: f32) -> String {
    if share < 99.95 { format!("{share:.1}%") } else { format!("{share:.0}%") }
}

/// What an agent does, in a word or two.
pub(crate) fn activity(status: &InstanceStatus<'_>) -> String {
    let Some(agent) = &status.stream.agent else { return String::new() };
    if status.stream.waits_for_limit() {
        return "limit".to_owned();
    }
    if status.stream.handle.state.has_exited() || status.is_doubtful() || status.is_unwatched {
        return ended(agent);
    }
    match (agent.phase, agent.tool()) {
        (AgentPhase::Starting, _) => "starts".to_owned(),
        (AgentPhase::Model, _) => "thinks".to_owned(),
        (AgentPhase::Tool, Some(call)) => format!("→ {}", call.tool),
        (AgentPhase::Tool, None) => "→ a tool".to_owned(),
        (AgentPhase::Finished, _) => ended(agent),
    }
}

fn ended(agent: &AgentState) -> String {
    match agent.end {
        Some(end) => end.class.map_or_else(|| end.outcome.name().to_owned(), |class| class.name().to_owned()),
        None => NOTHING.to_owned(),
    }
}

/// The cost of an agent.
pub(crate) fn cost(agent: &AgentState) -> String {
    if agent.all.cost_micros == 0 { NOTHING.to_owned() } else { render::agent::cost(agent.all.cost_micros) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_numbers_stay_short() {
        let counts = [0, 999, 1000, 12_345, 123_456, 4_000_000, 999_999_999, u64::MAX];
        let short = counts.map(short_count);
        assert_eq!(short[..6], ["0", "999", "1.0k", "12.3k", "123k", "4.0M"]);
        assert_eq!([0.0, 7.04, 99.9, 99.96, 6399.9].map(percent), ["0.0%", "7.0%", "99.9%", "100%", "6400%"]);
        let bytes = [0, 1023, 1536, 64 << 20, 1000 << 20, u64::MAX].map(short_bytes);
        assert_eq!(bytes, ["0B", "1023B", "1.5K", "64M", "1000M", "15E"]);
    }
}
