//! The descriptors of a run that are in the store, as the client has them.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use apm2_core::process::{StoredOutput, StoredRun};

use crate::fd_store::message::{self, Message, Opcode};

/// Duplicates of the descriptors of a run, which a replacement of the store gets.
pub(crate) struct StoredFds {
    /// The outputs, then the pidfd.
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Their description, see [`message::held_text`].
    pub(crate) text: String,
}

impl StoredFds {
    /// Duplicates `descriptors`, which `text` describes.
    pub(crate) fn copy(descriptors: &[BorrowedFd<'_>], text: &str) -> io::Result<Self> {
        let copies = descriptors.iter().map(BorrowedFd::try_clone_to_owned).collect::<io::Result<_>>()?;
        Ok(Self { descriptors: copies, text: text.to_owned() })
    }
}

/// The descriptors of a run in the answer of the store, and a duplicate of each; `None` when it does not hold the run.
pub(crate) fn stored_run(message: Message) -> io::Result<Option<(StoredRun, StoredFds)>> {
    let Message { opcode, text, descriptors, is_cut } = message;
    if opcode != Opcode::Done {
        return Ok(None);
    }
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "incomplete answer of the file descriptor store");
    let (begin, identity) = message::parse_held(&text).filter(|_| !is_cut).ok_or_else(invalid)?;
    let borrowed: Vec<_> = descriptors.iter().map(OwnedFd::as_fd).collect();
    let stored = StoredFds::copy(&borrowed, &text)?;
    let mut pipes = descriptors;
    let pidfd = pipes.pop().filter(|_| pipes.len() == begin.len()).ok_or_else(invalid)?;
    let outputs = pipes.into_iter().zip(begin).map(|(pipe, begins_at)| StoredOutput { pipe, begins_at }).collect();
    Ok(Some((StoredRun { outputs, pidfd, identity }, stored)))
}
