//! The values of credentials: fetched at each start, and never kept.

pub(crate) mod profile;

pub use apm2_model::spec::config::credentials::{CredentialConfig, CredentialSource};

pub use crate::credentials::profile::{CredentialError, Resolved, resolve};
