//! fjall, with a sync of its journal after each record.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering},
};

use fjall::{Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::{
    Result,
    peers::{Database, Record},
};

pub struct Fjall {
    database: fjall::Database,
    events: Keyspace,
    by_stream: Keyspace,
    by_time: Keyspace,
    by_kind: Keyspace,
    seq: AtomicU64,
}

impl Fjall {
    pub fn open(path: &Path) -> Result<Self> {
        let database = fjall::Database::builder(path).open()?;
        let keyspace = |name| database.keyspace(name, KeyspaceCreateOptions::default);
        let (events, by_stream) = (keyspace("events")?, keyspace("by_stream")?);
        let (by_time, by_kind) = (keyspace("by_time")?, keyspace("by_kind")?);
        Ok(Self { database, events, by_stream, by_time, by_kind, seq: AtomicU64::new(0) })
    }
}

impl Database for Fjall {
    fn name(&self) -> &'static str {
        "fjall"
    }

    fn append(&self, records: &[Record]) -> Result<()> {
        let mut batch = self.database.batch();
        for record in records {
            let seq = self.seq.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            batch.insert(&self.events, seq, &record.body[..]);
            batch.insert(&self.by_stream, [&record.stream[..], &seq].concat(), []);
            batch.insert(&self.by_time, [record.wall_ns.to_be_bytes(), seq].concat(), []);
            batch.insert(&self.by_kind, [&[record.kind][..], &seq].concat(), []);
        }
        batch.commit()?;
        Ok(self.database.persist(PersistMode::SyncData)?)
    }
}
