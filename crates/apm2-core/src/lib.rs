//! How supervised processes are run: process control, output, health checks, credentials, and the supervisor.
//!
//! The data and the decisions are those of `apm2-model`; [`process`] re-exports them beside the process control. This
//! crate knows no storage: a [`process::Recorder`] keeps the events, and the `apm2-ledger` crate has one.
//!
//! What does not live here: bytes on a disk (`apm2-ledger`) and anything that people read (`apm2-ledger-cli`).

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

/// Where the output of a process is kept, how it gets there, and how it is read back.
pub mod log {
    pub use apm2_model::spec::config::log::{LogConfig, NOWHERE};

    pub use crate::output::log::{
        files::{LogFiles, LogsDir, check_targets},
        follow::{LogItem, LogPosition, LogReader},
        last::last_lines_begin,
        meter::OutputMeter,
        retention::{LOGS_AGE_MAX, LOGS_BYTES_MAX, RemovedLogs, Retention},
        since::{OutputSince, output_since},
        threads::LogThreads,
    };
}

/// When a process is started again, and how long that waits.
pub mod restart {
    pub use apm2_model::{
        policy::restart::{RestartDecision, RestartManager, RunEndClass},
        spec::config::restart::{BackoffConfig, OnBoot, RESTARTS_REMEMBERED_MAX, RestartConfig, RestartPolicy},
        state::restart_budget::{RestartBudget, Tally},
    };
}

/// How a process is stopped.
pub mod shutdown {
    pub use apm2_model::{policy::shutdown::ShutdownManager, spec::config::shutdown::ShutdownConfig};
}
