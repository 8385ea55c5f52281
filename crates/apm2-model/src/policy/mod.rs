//! What is decided: pure functions of what they are given.

pub mod boot;
pub mod health_monitor;
pub mod plan;
pub mod restart;
pub mod shutdown;

#[cfg(test)]
mod tests;
