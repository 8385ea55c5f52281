//! apm2-migrations
