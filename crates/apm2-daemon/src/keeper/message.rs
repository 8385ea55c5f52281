//! What is said to the keeper: one packet a message, with descriptors beside it.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// Bytes of a message: an answer that lists runs is the longest.
pub(super) const MESSAGE_BYTES_MAX: usize = 128 << 10;

/// Descriptors of a message.
pub(super) const DESCRIPTORS_MAX: usize = 4;

/// What is asked for, or answered, in the first byte of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    HoldOutputs,
    HoldProcess,
    Get,
    Release,
    List,
    /// It is done.
    Done,
    /// It is not there, or cannot be done.
    No,
}

impl Word {
    const ALL: [Self; 7] =
        [Self::HoldOutputs, Self::HoldProcess, Self::Get, Self::Release, Self::List, Self::Done, Self::No];

    fn byte(self) -> u8 {
        let place = Self::ALL.iter().position(|word| *word == self).unwrap_or_default();
        u8::try_from(place).unwrap_or(u8::MAX)
    }

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}

/// One message.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) word: Word,
    pub(super) text: String,
    pub(super) descriptors: Vec<OwnedFd>,
}

/// Sends a message.
pub(super) fn send(socket: BorrowedFd<'_>, word: Word, text: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut bytes = vec![word.byte()];
    bytes.extend_from_slice(text.as_bytes());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !beside.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    sendmsg(socket, &[IoSlice::new(&bytes)], &mut beside, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Receives a message; `None` at the end.
pub(super) fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<Message>> {
    let mut bytes = vec![0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut beside, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptors = Vec::new();
    for message in beside.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = message {
            descriptors.extend(sent);
        }
    }
    let Some((first, text)) = bytes.get(..received.bytes).and_then(<[u8]>::split_first) else { return Ok(None) };
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not a message of a keeper");
    let word = Word::of(*first).ok_or_else(invalid)?;
    let text = String::from_utf8(text.to_vec()).map_err(|_| invalid())?;
    Ok(Some(Message { word, text, descriptors }))
}
