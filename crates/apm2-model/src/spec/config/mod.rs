//! The settings of a specification, one file for each group.

pub mod address;
pub mod agent;
pub mod credentials;
pub mod health;
pub mod log;
pub mod restart;
pub mod shutdown;

#[cfg(test)]
mod tests;
