//! redb, which syncs each transaction. Each record is one transaction.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use redb::{Database, TableDefinition};

use crate::{
    Result,
    peers::{Peer, Record},
};

const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
const BY_STREAM: TableDefinition<'_, (&[u8], u64), ()> = TableDefinition::new("by_stream");
const BY_TIME: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("by_time");
const BY_KIND: TableDefinition<'_, (u8, u64), ()> = TableDefinition::new("by_kind");

pub struct Redb {
    database: Database,
    seq: AtomicU64,
}

impl Redb {
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { database: Database::create(path)?, seq: AtomicU64::new(0) })
    }

    fn append(&self, record: &Record) -> Result<()> {
        let transaction = self.database.begin_write()?;
        let seq = self.seq.fetch_add(1, Ordering::Relaxed);
        transaction.open_table(EVENTS)?.insert(seq, &record.body[..])?;
        transaction.open_table(BY_STREAM)?.insert((&record.stream[..], seq), ())?;
        transaction.open_table(BY_TIME)?.insert((record.wall_ns, seq), ())?;
        transaction.open_table(BY_KIND)?.insert((record.kind, seq), ())?;
        Ok(transaction.commit()?)
    }
}

impl Peer for Redb {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn caller(&self, caller: usize) -> Box<dyn FnMut() + '_> {
        let mut number = 0;
        Box::new(move || {
            number += 1;
            self.append(&Record::new(caller, number)).expect("append");
        })
    }
}
