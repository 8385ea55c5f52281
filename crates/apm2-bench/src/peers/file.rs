//! A plain file with fdatasync(2): what the disk allows.

use std::{
    fs::File,
    io::Write as _,
    os::unix::fs::FileExt as _,
    path::Path,
    sync::{Condvar, Mutex},
};

use crate::{
    Result,
    peers::{Database, Record},
};

/// Length of the file that is filled with zeros before the measurement. The writer continues at its beginning when it
/// has reached the end.
const PREFILLED_BYTES: u64 = 64 << 20;

/// A file to which each record is appended with one write(2) and one fdatasync(2), which also writes the new length.
pub struct GrowingFile(Mutex<File>);

impl GrowingFile {
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self(Mutex::new(File::create(path)?)))
    }
}

impl Database for GrowingFile {
    fn name(&self) -> &'static str {
        "growing file, write + fdatasync"
    }

    fn append(&self, records: &[Record]) -> Result<()> {
        let bytes: Vec<u8> = records.iter().flat_map(|record| &record.body).copied().collect();
        let mut file = self.0.lock().expect("lock");
        file.write_all(&bytes)?;
        Ok(file.sync_data()?)
    }
}

/// A file that was filled before, with group commit: the records of the callers that wait are written with one
/// pwrite(2) and one fdatasync(2).
pub struct PrefilledFile {
    file: File,
    queue: Mutex<Queue>,
    synced: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<u8>,
    /// Number of the batch that the waiting records will be in.
    batch: u64,
    /// Number of batches that are durable.
    durable: u64,
    is_syncing: bool,
    offset: u64,
}

impl PrefilledFile {
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::create(path)?;
        let zeros = vec![0; 1 << 20];
        for at in (0..PREFILLED_BYTES).step_by(zeros.len()) {
            file.write_all_at(&zeros, at)?;
        }
        file.sync_all()?;
        Ok(Self { file, queue: Mutex::default(), synced: Condvar::new() })
    }
}

impl Database for PrefilledFile {
    fn name(&self) -> &'static str {
        "pre-filled file, group commit"
    }

    fn append(&self, records: &[Record]) -> Result<()> {
        let mut queue = self.queue.lock().expect("lock");
        for record in records {
            queue.waiting.extend_from_slice(&record.body);
        }
        let batch = queue.batch;
        while queue.durable <= batch {
            if queue.is_syncing {
                queue = self.synced.wait(queue).expect("lock");
                continue;
            }
            queue.is_syncing = true;
            queue.batch += 1;
            let bytes = std::mem::take(&mut queue.waiting);
            let offset = if queue.offset + bytes.len() as u64 > PREFILLED_BYTES { 0 } else { queue.offset };
            queue.offset = offset + bytes.len() as u64;
            drop(queue);
            self.file.write_all_at(&bytes, offset)?;
            self.file.sync_data()?;
            queue = self.queue.lock().expect("lock");
            queue.durable += 1;
            queue.is_syncing = false;
            self.synced.notify_all();
        }
        Ok(())
    }
}
