//! Random operations on a ledger, compared with a list of the expected events.
//!
//! The operations are: valid and invalid appends, I/O errors, closing, killing and opening the ledger, and damage to
//! the journal and to the store. After each operation, every way of reading must return all acknowledged events in
//! order and unchanged, or report an error. Missing or invalid events without an error are a bug.

#![no_main]

use apm2_fuzz::world::{Op, World};
use libfuzzer_sys::fuzz_target;

/// The highest number of operations on one ledger.
const OPS_MAX: usize = 24;
/// The highest number of damaged copies that are checked for one input.
const DAMAGED_COPIES_MAX: usize = 2;

fuzz_target!(
    init: {
        // The store can panic on damaged files, and the ledger catches such a panic. So the panic hook of libfuzzer,
        // which would abort the process, is removed.
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
