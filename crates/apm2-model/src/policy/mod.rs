//! The decisions of a supervisor, as pure functions: they depend on their arguments alone, and read no clock and no
//! disk.

pub mod agent;
pub mod agent_budget;
pub mod agent_silence;
pub mod boot;
pub mod health_monitor;
pub mod joined;
pub mod plan;
pub mod restart;
pub mod shutdown;

#[cfg(test)]
mod tests;
