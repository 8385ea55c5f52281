//! [`Database`]: an open sled database that can be dropped without a panic.

use std::{ops::Deref, path::Path};

use crate::{
    limits::STORE_CACHE_BYTES,
    store::{error::StoreError, guard::guarded},
};

/// An open sled database. All trees and iterators of it must be dropped before.
pub(super) struct Database {
    /// Declared before `last`, so that it is dropped before it.
    handle: sled::Db,
    last: LastHandle,
}

/// The last handle of a database. sled writes and syncs when the last one is dropped, and panics when that fails.
struct LastHandle(Option<sled::Db>);

impl Database {
    /// Opens the database in the directory `path`, or creates it.
    pub(super) fn open(path: &Path) -> Result<Self, StoreError> {
        let config = sled::Config::default()
            .path(path)
            .cache_capacity(STORE_CACHE_BYTES)
            // The periodic flush of sled ignores sync errors and panics when it is dropped, so this crate calls `flush`
            // itself.
            .flush_every_ms(None);
        let handle = guarded(|| Ok(config.open()?))?;
        Ok(Self { last: LastHandle(Some(handle.clone())), handle })
    }

    /// Drops the database. A panic of sled is returned as an error.
    pub(super) fn close(self) -> Result<(), StoreError> {
        let Self { handle, mut last } = self;
        drop(handle);
        last.release()
    }
}

impl Deref for Database {
    type Target = sled::Db;

    fn deref(&self) -> &sled::Db {
        &self.handle
    }
}

impl LastHandle {
    fn release(&mut self) -> Result<(), StoreError> {
        let handle = self.0.take();
        guarded(|| {
            drop(handle);
            Ok(())
        })
    }
}

impl Drop for LastHandle {
    fn drop(&mut self) {
        if let Err(error) = self.release() {
            tracing::warn!(%error, "the store could not be closed; the next opening checks it");
        }
    }
}
