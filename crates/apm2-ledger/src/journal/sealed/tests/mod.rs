//! Sealed segments of random events, damaged in every way, and one that is kept.

mod damage;
mod golden;
mod questions;
mod sample;
mod size;
