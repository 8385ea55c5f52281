//! The storages that are compared. Each makes one record of about 150 bytes durable at each call.

use std::{
    fs::File,
    io::Write as _,
    path::Path,
    sync::{Arc, Mutex},
};

use apm2_ledger::Ledger;

use crate::{
    Result,
    events::{registered, sampled_with_reason, start, stream},
};

/// The record that the plain file and SQLite write. It has the length of an event in the ledger.
const RECORD: [u8; 150] = [0x5A; 150];

pub trait Peer: Send + Sync {
    fn name(&self) -> &'static str;
    /// Returns the function that one of several concurrent callers repeats.
    fn caller(&self, number: usize) -> Box<dyn FnMut() + '_>;
}

pub struct LedgerPeer(Ledger);

impl LedgerPeer {
    pub fn open(dir: &Path) -> Result<Self> {
        Ok(Self(Ledger::open(dir)?))
    }
}

impl Peer for LedgerPeer {
    fn name(&self) -> &'static str {
        "ledger"
    }

    fn caller(&self, number: usize) -> Box<dyn FnMut() + '_> {
        let stream = stream(number as u64);
        let mut version = self.0.reader().stream(stream).expect("stream").map_or(0, |stream| stream.version);
        if version == 0 {
            self.0.append(stream, 0, vec![registered(stream)]).expect("append");
            let [requested, starting] = start(stream, 1);
            self.0.append(stream, 1, requested).expect("append");
            self.0.append(stream, 2, starting).expect("append");
            version = 4;
        }
        Box::new(move || {
            self.0.append(stream, version, vec![sampled_with_reason(stream, 1, version)]).expect("append");
            version += 1;
        })
    }
}

/// A plain file, to which each record is appended with one write(2) and one fdatasync(2).
pub struct PlainFile(Mutex<File>);

impl PlainFile {
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self(Mutex::new(File::create(path)?)))
    }
}

impl Peer for PlainFile {
    fn name(&self) -> &'static str {
        "plain file, write + fdatasync"
    }

    fn caller(&self, _: usize) -> Box<dyn FnMut() + '_> {
        Box::new(|| {
            let mut file = self.0.lock().expect("lock");
            file.write_all(&RECORD).expect("write");
            file.sync_data().expect("sync");
        })
    }
}

/// SQLite with a write-ahead log and full synchronization. Each record is one transaction.
pub struct Sqlite(Arc<Mutex<rusqlite::Connection>>);

impl Sqlite {
    pub fn open(path: &Path) -> Result<Self> {
        let connection = rusqlite::Connection::open(path)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute("CREATE TABLE events (seq INTEGER PRIMARY KEY, body BLOB NOT NULL)", ())?;
        Ok(Self(Arc::new(Mutex::new(connection))))
    }
}

impl Peer for Sqlite {
    fn name(&self) -> &'static str {
        "SQLite, WAL, FULL"
    }

    fn caller(&self, _: usize) -> Box<dyn FnMut() + '_> {
        Box::new(|| {
            let connection = self.0.lock().expect("lock");
            let mut insert = connection.prepare_cached("INSERT INTO events (body) VALUES (?1)").expect("prepare");
            insert.execute((&RECORD[..],)).expect("insert");
        })
    }
}
