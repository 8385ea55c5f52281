//! The descriptors of a run that are in the store, as represented in the client.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
};

use apm2_core::process::{StoredOutput, StoredRun};

use crate::fd_store::message::{self, Message, Opcode};

/// Duplicates of the descriptors of a run in the store. If the store has to be replaced, the new store gets them.
pub(crate) struct StoredFds {
    /// The outputs, and after them the pidfd.
    pub(crate) descriptors: Vec<OwnedFd>,
    /// The description of the descriptors, see [`message::held_text`].
    pub(crate) text: String,
}

impl StoredFds {
    /// Duplicates the file descriptors in `descriptors`. `text` is their description.
    pub(crate) fn copy(descriptors: &[BorrowedFd<'_>], text: &str) -> io::Result<Self> {
        let copies = descriptors.iter().map(BorrowedFd::try_clone_to_owned).collect::<io::Result<_>>()?;
        Ok(Self { descriptors: copies, text: text.to_owned() })
    }
}

/// The descriptors of a run from an answer of the store, together with a duplicate of each. `None` when the store does
/// not have the run.
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
