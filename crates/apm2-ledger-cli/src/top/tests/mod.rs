//! The screen with a ledger in memory, fixed times and fixed ids: what it shows, and what keys do.

mod commands;
mod driver;
mod properties;
mod record;
mod time_travel;
mod views;
