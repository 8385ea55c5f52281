//! Why an instance is in its state: the chain of causes, derived from its recorded events.
//!
//! [`evidence`] reads events; [`chain`] derives the causes from them, and [`sentence`] describes each cause in one
//! sentence. The last two are pure functions, which depend on the model only.

pub(crate) mod agent;
pub(crate) mod cause;
pub(crate) mod chain;
pub(crate) mod changed_settings;
pub(crate) mod evidence;
pub(crate) mod run_events;
pub(crate) mod sentence;

#[cfg(test)]
mod tests;
