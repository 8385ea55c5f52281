//! The runtime of supervised processes: process control, output, health checks, credentials, and the supervisor.
//!
//! Data types and policies are in `apm2-model`; [`process`] re-exports them beside the process control. This crate has
//! no storage of its own: a [`process::Recorder`] stores the events, and the `apm2-ledger` crate implements one. The
//! texts that users read are in `apm2-ledger-cli`.

pub mod adapter;
pub mod blocking;
pub mod credentials;
pub(crate) mod error;
pub mod health;
pub(crate) mod os;
pub(crate) mod output;
pub mod process;
pub(crate) mod run;
pub mod supervisor;
pub(crate) mod time;

pub use apm2_model::{causes::causes, duration};
pub use os::notify;

/// AI coding agents: their settings, their reports, and the state and the decisions that follow from the reports.
pub mod agent {
    pub use apm2_model::{
        event::agent::{
            breach::{BudgetBreach, BudgetKind, BudgetScope},
            class::FailureClass,
            event::{AgentEvent, AgentPhase, LimitStatus, McpServer, SessionReason, SkippedLines, ToolCall, ToolCount},
            finding::AgentFinding,
            label::Label,
            outcome::AgentOutcome,
            report::{AgentReport, OutputPosition},
            usage::TokenUsage,
        },
        policy::agent::{AgentVerdict, NextSession, next_session, verdict},
        spec::{
            agent_kind::AgentKind,
            config::{
                agent::{AgentChoice, AgentConfig, OnContextFull},
                agent_budget::{AgentBudget, AgentBudgets},
                agent_loop::AgentLoop,
                agent_silence::AgentSilence,
                reaction::Reaction,
            },
        },
        state::{
            agent::{AgentEnd, AgentLimit, AgentSession, AgentState, AgentTotals, ReportedTurns},
            agent_clock::AgentClock,
        },
    };
}

/// Log files for the output of a process: writing, retention and reading.
pub mod log {
    pub use apm2_model::spec::config::log::{LogConfig, NOWHERE};

    pub use crate::output::log::{
        files::{LogFiles, LogsDir, check_targets},
        follow::{LogItem, LogPosition, LogReader},
        last::last_lines_begin,
        meter::OutputMeter,
        retention::{LOGS_AGE_MAX, LOGS_BYTES_MAX, RemovedLogs, Retention, UnusedLogs},
        since::{OutputSince, output_since},
        threads::LogThreads,
    };
}

/// Restart policies and their back-off.
pub mod restart {
    pub use apm2_model::{
        policy::restart::{RestartDecision, RestartManager, RunEndClass},
        spec::config::restart::{BackoffConfig, OnBoot, RESTARTS_REMEMBERED_MAX, RestartConfig, RestartPolicy},
        state::restart_budget::{RestartBudget, Tally},
    };
}

/// The settings of a stop: signal, timeout and pre-stop commands.
pub mod shutdown {
    pub use apm2_model::{policy::shutdown::ShutdownManager, spec::config::shutdown::ShutdownConfig};
}
