//! A report of an agent, with the agent's kind and the place in its output.

use crate::{event::agent::event::AgentEvent, spec::agent_kind::AgentKind};

/// A position in the captured output of an instance. A supervisor that takes over a process reads on from there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutputPosition {
    /// The generation of the log file, counted from 1.
    pub generation: u64,
    /// The offset in the file, in bytes.
    pub offset: u64,
}

/// A report of an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentReport {
    /// The kind of the agent.
    pub agent: AgentKind,
    /// What it reports.
    pub event: AgentEvent,
    /// The end of the last line of the standard output that was read for this report and the reports before it.
    pub read_to: OutputPosition,
}
