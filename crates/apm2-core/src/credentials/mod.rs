//! The values of credentials. They are fetched at each start and never stored.

pub(crate) mod profile;

pub use apm2_model::spec::config::credentials::{CredentialConfig, CredentialSource};

pub use crate::credentials::profile::{CredentialError, Resolved, resolve};
