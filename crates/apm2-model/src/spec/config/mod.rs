//! The settings of a specification, one file for each group.

pub mod address;
pub mod agent;
pub mod agent_budget;
mod agent_check;
pub mod agent_loop;
pub mod agent_silence;
pub mod credentials;
pub mod health;
pub mod log;
pub mod reaction;
pub mod restart;
pub mod shutdown;

#[cfg(test)]
mod tests;
