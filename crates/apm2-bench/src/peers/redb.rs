//! redb, which syncs each transaction. Each record is one transaction.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use redb::TableDefinition;

use crate::{
    Result,
    peers::{Database, Record},
};

const EVENTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("events");
const BY_STREAM: TableDefinition<'_, (&[u8], u64), ()> = TableDefinition::new("by_stream");
const BY_TIME: TableDefinition<'_, (u64, u64), ()> = TableDefinition::new("by_time");
const BY_KIND: TableDefinition<'_, (u8, u64), ()> = TableDefinition::new("by_kind");

pub struct Redb {
    database: redb::Database,
    seq: AtomicU64,
}

impl Redb {
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { database: redb::Database::create(path)?, seq: AtomicU64::new(0) })
    }
}

impl Database for Redb {
    fn name(&self) -> &'static str {
        "redb"
    }

    fn append(&self, records: &[Record]) -> Result<()> {
        let transaction = self.database.begin_write()?;
        {
            let mut events = transaction.open_table(EVENTS)?;
            let mut by_stream = transaction.open_table(BY_STREAM)?;
            let mut by_time = transaction.open_table(BY_TIME)?;
            let mut by_kind = transaction.open_table(BY_KIND)?;
            for record in records {
                let seq = self.seq.fetch_add(1, Ordering::Relaxed);
                events.insert(seq, &record.body[..])?;
                by_stream.insert((&record.stream[..], seq), ())?;
                by_time.insert((record.wall_ns, seq), ())?;
                by_kind.insert((record.kind, seq), ())?;
            }
        }
        Ok(transaction.commit()?)
    }
}
