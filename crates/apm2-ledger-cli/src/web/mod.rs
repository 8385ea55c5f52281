//! The server of the live page. Each request passes [`guard`] before anything else.

pub(crate) mod control;
pub(crate) mod feed;
pub(crate) mod guard;
pub(crate) mod kept_json;
pub(crate) mod routes;
pub(crate) mod secret;
pub(crate) mod server;
pub(crate) mod silent;
pub(crate) mod timed_stream;
