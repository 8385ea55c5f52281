//! The calls of tools: those in progress, their number, and the same call again and again.

use apm2_model::{
    event::{
        agent::{
            event::{AgentEvent, ToolCall},
            label::Label,
        },
        timestamp::Timestamp,
    },
    state::agent::OPEN_CALLS_MAX as RECORDED_CALLS_MAX,
};

use super::sampler::Sampler;
use crate::names;

/// Calls in progress that are kept. A call above that is counted and recorded at its end only.
const OPEN_CALLS_MAX: usize = 256;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// The beginning of a call.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) call: ToolCall,
    pub(crate) input_bytes: u64,
    /// A hash of the tool and its arguments.
    pub(crate) hash: u64,
}

/// The end of a call.
#[derive(Debug)]
pub(crate) struct CallEnd {
    pub(crate) call_id: Label,
    /// What the line of the end says of the tool; used if the beginning was not seen.
    pub(crate) tool: Option<ToolCall>,
    pub(crate) is_ok: bool,
    pub(crate) exit_code: Option<i32>,
    /// The duration where the agent says it; used if the beginning was not seen.
    pub(crate) duration_ms: Option<u64>,
    pub(crate) output_bytes: u64,
    /// A hash of the tool and its arguments, for an agent that prints only the end.
    pub(crate) hash: Option<u64>,
}

#[derive(Debug)]
struct Open {
    call: ToolCall,
    since: Timestamp,
    is_recorded: bool,
}

/// The calls of a run.
#[derive(Debug, Default)]
pub(crate) struct Tools {
    open: Vec<Open>,
    calls: u32,
    sampler: Sampler,
    last_hash: Option<u64>,
    repeats: u32,
}

impl Tools {
    pub(crate) fn restore(&mut self, calls: u32, open: Vec<(ToolCall, Timestamp)>) {
        self.calls = calls;
        self.open = open.into_iter().map(|(call, since)| Open { call, since, is_recorded: true }).collect();
    }

    /// The number of calls of the run.
    pub(crate) const fn calls(&self) -> u32 {
        self.calls
    }

    /// How often the last call was made in a row, with the same arguments.
    pub(crate) const fn repeats(&self) -> u32 {
        self.repeats
    }

    /// The tool of the call that began last and is in progress.
    pub(crate) fn in_progress(&self) -> Option<&Label> {
        self.open.last().map(|open| &open.call.tool)
    }

    /// The call in progress, if there is one only.
    pub(crate) fn only_call(&self) -> Option<&Label> {
        match self.open.as_slice() {
            [open] => Some(&open.call.call_id),
            _ => None,
        }
    }

    /// The tool of a call in progress.
    pub(crate) fn tool_of(&self, call_id: &Label) -> Option<&Label> {
        self.open.iter().find(|open| open.call.call_id == *call_id).map(|open| &open.call.tool)
    }

    /// A call began. It is summarized, not recorded, where as many recorded calls are in progress as the state on record keeps: that
    /// counts a call again at its end whose begin it has not kept.
    pub(crate) fn started(&mut self, call: Call, now: Timestamp) -> Option<AgentEvent> {
        if self.tool_of(&call.call.call_id).is_some() || self.open.len() >= OPEN_CALLS_MAX {
            return None;
        }
        self.count(Some(call.hash));
        let recorded = self.open.iter().filter(|open| open.is_recorded).count();
        let is_recorded = recorded < RECORDED_CALLS_MAX && self.sampler.admit(now);
        let event =
            is_recorded.then(|| AgentEvent::ToolStarted { call: call.call.clone(), input_bytes: call.input_bytes });
        self.open.push(Open { call: call.call, since: now, is_recorded });
        event
    }

    pub(crate) fn ended(&mut self, end: CallEnd, now: Timestamp) -> Option<AgentEvent> {
        let index = self.open.iter().position(|open| open.call.call_id == end.call_id);
        let (call, is_recorded, duration_ms) = if let Some(index) = index {
            let open = self.open.remove(index);
            (open.call, open.is_recorded, now.nanos_since(&open.since).map(|nanos| nanos / NANOS_PER_MILLI))
        } else {
            self.count(end.hash);
            let unnamed =
                || ToolCall { call_id: end.call_id, tool: names::tool(None), mcp_server: None, parent_call_id: None };
            (end.tool.unwrap_or_else(unnamed), self.sampler.admit(now), end.duration_ms)
        };
        if !is_recorded {
            self.sampler.count(&call.tool, end.is_ok);
            return None;
        }
        let CallEnd { is_ok, exit_code, output_bytes, .. } = end;
        Some(AgentEvent::ToolEnded { call, is_ok, exit_code, duration_ms, output_bytes })
    }

    /// The turn is over: calls in progress will not end any more. `calls` is the agent's own count.
    pub(crate) fn close(&mut self, calls: u32) {
        self.open.clear();
        self.calls = self.calls.max(calls);
    }

    /// Calls that the agent itself has summarized.
    pub(crate) const fn add(&mut self, calls: u32) {
        self.calls = self.calls.saturating_add(calls);
    }

    pub(crate) fn summary_if_due(&mut self, now: Timestamp) -> Option<AgentEvent> {
        self.sampler.summary_if_due(now)
    }

    pub(crate) fn summary(&mut self, now: Timestamp) -> Option<AgentEvent> {
        self.sampler.summary(now)
    }

    fn count(&mut self, hash: Option<u64>) {
        self.calls = self.calls.saturating_add(1);
        let is_again = hash.is_some() && hash == self.last_hash;
        self.repeats = if is_again { self.repeats.saturating_add(1) } else { 1 };
        self.last_hash = hash;
    }
}
