//! One run of an instance: from its start to its end, with the events that record it.

pub(crate) mod command;
pub(crate) mod event_feed;
pub(crate) mod history;
pub(crate) mod instance;
pub(crate) mod look;
pub(crate) mod output_events;
pub(crate) mod pre_stop;
pub(crate) mod resume;
pub(crate) mod run_task;
pub(crate) mod runner;
pub(crate) mod search;
pub(crate) mod signal;
pub(crate) mod start;
pub(crate) mod start_env;
pub(crate) mod stop;
pub(crate) mod stop_phase;
pub(crate) mod stream_view;
pub(crate) mod sweep;
