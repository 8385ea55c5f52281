//! The storages that are compared. Each makes one record of about 150 bytes durable at each call, and can find the
//! records of one stream, of a time and of a kind, as the ledger can.

mod file;
mod fjall;
mod ledger;
mod redb;
mod sqlite;

use std::{path::Path, sync::Arc};

use apm2_core::process::{Clock as _, SystemClock};

use crate::Result;

/// A storage that is measured.
pub trait Peer: Send + Sync {
    fn name(&self) -> &'static str;

    /// Returns the function that one of several concurrent callers repeats. It makes one record durable.
    fn caller(&self, number: usize) -> Box<dyn FnMut() + '_>;
}

/// A storage other than the ledger.
pub trait Database: Send + Sync {
    fn name(&self) -> &'static str;

    /// Makes the records durable in one transaction.
    fn append(&self, records: &[Record]) -> Result<()>;
}

impl<D: Database> Peer for D {
    fn name(&self) -> &'static str {
        Database::name(self)
    }

    fn caller(&self, caller: usize) -> Box<dyn FnMut() + '_> {
        let mut number = 0;
        Box::new(move || {
            number += 1;
            self.append(&[Record::new(caller, number)]).expect("append");
        })
    }
}

/// The index of each peer in the list of [`open_all`].
pub const LEDGER: usize = 0;
pub const PREFILLED: usize = 1;
pub const SQLITE: usize = 3;

/// Opens each storage in a directory of its own below `parent`.
pub fn open_all(parent: &Path) -> Result<Vec<Arc<dyn Peer>>> {
    Ok(vec![
        Arc::new(ledger::LedgerPeer::open(&parent.join("ledger"))?),
        Arc::new(file::PrefilledFile::open(&parent.join("prefilled"))?),
        Arc::new(file::GrowingFile::open(&parent.join("growing"))?),
        Arc::new(sqlite::Sqlite::open(&parent.join("sqlite"))?),
        Arc::new(redb::Redb::open(&parent.join("redb"))?),
        Arc::new(fjall::Fjall::open(&parent.join("fjall"))?),
    ])
}

/// Opens the database with number `number` of those whose size is compared, in a directory of its own below `parent`;
/// `None` after the last one.
pub fn open_database(number: usize, parent: &Path) -> Result<Option<Box<dyn Database>>> {
    Ok(match number {
        0 => Some(Box::new(sqlite::Sqlite::open(&parent.join("sqlite"))?)),
        1 => Some(Box::new(redb::Redb::open(&parent.join("redb"))?)),
        2 => Some(Box::new(fjall::Fjall::open(&parent.join("fjall"))?)),
        3 => Some(Box::new(file::GrowingFile::open(&parent.join("file"))?)),
        _ => None,
    })
}

/// A record that the peers write.
pub struct Record {
    pub stream: [u8; 16],
    pub wall_ns: u64,
    pub kind: u8,
    pub body: Vec<u8>,
}

impl Record {
    /// Record `number` of a caller. It has the length of an event in the ledger, and random bytes, which do not compress.
    pub fn new(caller: usize, number: u64) -> Self {
        let mut state = (caller as u64) << 32 | number;
        let mut body = vec![0; 150];
        for byte in &mut body {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = (state >> 56) as u8;
        }
        let wall_ns = SystemClock.now().wall_ns.cast_unsigned();
        let stream = crate::events::stream(caller as u64).process_id;
        Self { stream: *stream.as_bytes(), wall_ns, kind: number as u8 % 8, body }
    }
}
