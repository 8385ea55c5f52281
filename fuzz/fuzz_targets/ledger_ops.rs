//! A ledger against a list.
//!
//! Appends, right and wrong, to a disk that may fail; closing, killing and opening; damage to the journal and to the
//! store. Everything acknowledged is there, in order and unchanged, by every way of reading, or it is said that it is
//! not: never silently shorter, never illegal.

#![no_main]

use apm2_fuzz::world::{Op, World};
use libfuzzer_sys::fuzz_target;

/// Things done to one ledger.
const OPS_MAX: usize = 24;
/// Damaged copies looked at in one history.
const DAMAGED_COPIES_MAX: usize = 2;

fuzz_target!(
    init: {
        // The store panics on bytes that it does not expect, and the ledger catches that: a panic must not end the
        // process before it has left the target.
        drop(std::panic::take_hook());
    },
    |ops: Vec<Op>| {
        let mut world = World::new();
        let mut copies = 0;
        for op in ops.iter().take(OPS_MAX) {
            copies += usize::from(matches!(op, Op::DamageJournal { .. }));
            if copies > DAMAGED_COPIES_MAX {
                break;
            }
            world.perform(op);
        }
        world.finish();
    }
);
