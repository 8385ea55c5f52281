//! SQLite with a write-ahead log and full synchronization. Each record is one transaction.

use std::{path::Path, sync::Mutex};

use crate::{
    Result,
    peers::{Database, Record},
};

const SCHEMA: &str = "
    CREATE TABLE events (seq INTEGER PRIMARY KEY, stream BLOB NOT NULL, wall_ns INTEGER NOT NULL, kind INTEGER NOT NULL,
                         body BLOB NOT NULL);
    CREATE INDEX by_stream ON events (stream, seq);
    CREATE INDEX by_time ON events (wall_ns);
    CREATE INDEX by_kind ON events (kind, seq);
";

pub struct Sqlite(Mutex<rusqlite::Connection>);

impl Sqlite {
    pub fn open(path: &Path) -> Result<Self> {
        let connection = rusqlite::Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute_batch(SCHEMA)?;
        Ok(Self(Mutex::new(connection)))
    }
}

impl Database for Sqlite {
    fn name(&self) -> &'static str {
        "SQLite, WAL, FULL"
    }

    fn append(&self, records: &[Record]) -> Result<()> {
        let mut connection = self.0.lock().expect("lock");
        let transaction = connection.transaction()?;
        for Record { stream, wall_ns, kind, body } in records {
            let mut insert = transaction
                .prepare_cached("INSERT INTO events (stream, wall_ns, kind, body) VALUES (?1, ?2, ?3, ?4)")?;
            insert.execute((&stream[..], *wall_ns as i64, kind, &body[..]))?;
        }
        Ok(transaction.commit()?)
    }
}
