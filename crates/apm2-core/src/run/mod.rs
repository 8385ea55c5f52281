//! One run of an instance, from its start to its end, and the record of it.

pub(crate) mod actor;
pub(crate) mod event_feed;
pub(crate) mod history;
pub(crate) mod instance;
pub(crate) mod pre_stop;
pub(crate) mod resume;
pub(crate) mod runner;
