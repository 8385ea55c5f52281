//! The decisions of a supervisor: pure functions of their arguments, without a process, a clock or a disk.

pub mod boot;
pub mod health_monitor;
pub mod plan;
pub mod restart;
pub mod shutdown;

#[cfg(test)]
mod tests;
