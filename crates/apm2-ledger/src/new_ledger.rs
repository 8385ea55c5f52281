//! Completes a new ledger whose journal has all its events: builds the store, and writes the marks of a clean close.

use std::sync::Arc;

use crate::{
    dir,
    error::OpenError,
    head::Head,
    journal::{JOURNAL_DIR, writer::JournalWriter},
    lock::Lock,
    recovery::{Unusable, extent, new_store},
    store::{STORE_DIR, clean_shutdown, error::StoreError},
};

/// Why a new ledger cannot be completed.
pub(crate) enum NewLedgerError {
    /// The store cannot be built. The text says why.
    Store(String),
    /// The entries of the journal cannot be made durable.
    Journal(OpenError),
}

impl From<Unusable> for NewLedgerError {
    fn from(error: Unusable) -> Self {
        Self::Store(error.to_string())
    }
}

impl From<StoreError> for NewLedgerError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}

/// Completes the ledger in the locked directory. All is durable when this returns, but for the name of the directory. Opening
/// the ledger then records nothing.
pub(crate) fn complete(lock: &Arc<Lock>, journal: JournalWriter) -> Result<(), NewLedgerError> {
    let dir = lock.dir().at();
    let (ledger, head) = (journal.ledger(), Head { size: journal.next_seq() - 1, chain: journal.chain() });
    new_store(lock, &journal)?.close()?;
    // The journal creates its next segment in another thread, which ends here.
    drop(journal);
    let journal_dir = dir.join(JOURNAL_DIR);
    dir::sync_name(&journal_dir).map_err(|error| NewLedgerError::Journal(OpenError::io(journal_dir)(error)))?;
    extent::write(dir, ledger, head);
    clean_shutdown::write(dir, &dir.join(STORE_DIR), head);
    Ok(())
}
