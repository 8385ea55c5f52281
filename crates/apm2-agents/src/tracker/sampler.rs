//! Limits the number of tool calls that are recorded one by one.

use apm2_model::event::{
    agent::{
        event::{AgentEvent, OTHER_TOOLS, SUMMARY_TOOLS_MAX, ToolCount},
        label::Label,
    },
    timestamp::Timestamp,
};

/// Tool calls in one period that are recorded one by one. Those above are in a summary at the end of the period.
pub(crate) const RECORDED_CALLS_MAX: u32 = 60;

/// The length of a period in nanoseconds.
const PERIOD_NS: u64 = 60_000_000_000;

const NANOS_PER_MILLI: u64 = 1_000_000;

/// The calls of a period.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    since: Option<Timestamp>,
    recorded: u32,
    tools: Vec<ToolCount>,
}

impl Sampler {
    /// Whether a call that begins, or that ends without a known beginning, is recorded by itself.
    pub(crate) fn admit(&mut self, now: Timestamp) -> bool {
        if self.since.is_none_or(|since| elapsed(&since, &now) >= PERIOD_NS) {
            self.since = Some(now);
            self.recorded = 0;
        }
        let is_admitted = self.recorded < RECORDED_CALLS_MAX;
        self.recorded = self.recorded.saturating_add(1);
        is_admitted
    }

    /// Counts the end of a call that is not recorded by itself.
    pub(crate) fn count(&mut self, tool: &Label, is_ok: bool) {
        let known = self.tools.iter().position(|count| count.tool == *tool);
        let index = known.unwrap_or_else(|| {
            let is_full = self.tools.len() + 1 >= SUMMARY_TOOLS_MAX;
            let name = if is_full { Label::new(OTHER_TOOLS) } else { Some(tool.clone()) };
            let other = name.unwrap_or_else(|| tool.clone());
            self.tools.iter().position(|count| count.tool == other).unwrap_or_else(|| {
                self.tools.push(ToolCount { tool: other, calls: 0, failed: 0 });
                self.tools.len() - 1
            })
        });
        if let Some(count) = self.tools.get_mut(index) {
            count.calls = count.calls.saturating_add(1);
            count.failed = count.failed.saturating_add(u32::from(!is_ok));
        }
    }

    /// The summary of a period that is over, if calls were not recorded by themselves in it.
    pub(crate) fn summary_if_due(&mut self, now: Timestamp) -> Option<AgentEvent> {
        let is_due = self.since.is_some_and(|since| elapsed(&since, &now) >= PERIOD_NS);
        if is_due { self.summary(now) } else { None }
    }

    /// The summary up to now.
    pub(crate) fn summary(&mut self, now: Timestamp) -> Option<AgentEvent> {
        if self.tools.is_empty() {
            return None;
        }
        let since = self.since.replace(now)?;
        self.recorded = 0;
        let tools = std::mem::take(&mut self.tools);
        Some(AgentEvent::ToolsSummarized { tools, period_ms: elapsed(&since, &now) / NANOS_PER_MILLI })
    }
}

/// Nanoseconds from `earlier` to `now`; on the wall clock if they are of two boots, and 0 if it was set back.
fn elapsed(earlier: &Timestamp, now: &Timestamp) -> u64 {
    now.nanos_since(earlier).unwrap_or_else(|| u64::try_from(now.wall_ns.saturating_sub(earlier.wall_ns)).unwrap_or(0))
}
