//! What is said to the keeper: one packet a message, with descriptors beside it.
//!
//! ```text
//! word u8 | text in UTF-8      0 hold, 1 get, 2 release, 3 list; answers: 4 done, 5 no
//!                              from version 1 on: 6 hello, text: the version in decimal
//!                              from version 2 on: 7 place; answer: device and inode of the directory that is served, in decimal
//! ```
//!
//! A keeper outlives the program that started it, so a client may meet an older one, and the other way round. A client
//! says hello first, with the highest version it speaks; the answer is the version that is spoken. A keeper of version 0
//! knows no hello and closes the connection. Words are only ever added, at the end; whoever reads a text ignores words
//! after those it knows.

use std::{
    fs::File,
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::fs::MetadataExt as _,
    },
};

use apm2_core::log::LogPosition;
use apm2_model::event::identity::ProcessIdentity;
use rustix::{
    io::retry_on_intr,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
        SendFlags, recvmsg, sendmsg,
    },
};

/// Bytes of a message: an answer that lists runs is the longest.
pub(crate) const MESSAGE_BYTES_MAX: usize = 128 << 10;

/// Descriptors of a message.
pub(crate) const DESCRIPTORS_MAX: usize = 4;

/// The version of what is said. Version 0 is without [`Opcode::Hello`].
pub(crate) const VERSION: u32 = 2;

/// What is asked for, or answered, in the first byte of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    Hold,
    Get,
    Release,
    List,
    /// It is done.
    Done,
    /// It is not there, or cannot be done.
    Refused,
    /// Which version is spoken.
    Hello,
    /// Which directory is served.
    Place,
}

impl Opcode {
    const ALL: [Self; 8] =
        [Self::Hold, Self::Get, Self::Release, Self::List, Self::Done, Self::Refused, Self::Hello, Self::Place];

    fn byte(self) -> u8 {
        let place = Self::ALL.iter().position(|opcode| *opcode == self).unwrap_or_default();
        u8::try_from(place).unwrap_or(u8::MAX)
    }

    fn of(byte: u8) -> Option<Self> {
        Self::ALL.get(usize::from(byte)).copied()
    }
}

/// One message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) opcode: Opcode,
    pub(crate) text: String,
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Whether the kernel dropped descriptors, or a part of the text, for want of room (`MSG_CTRUNC`, `MSG_TRUNC`).
    pub(crate) is_cut: bool,
}

/// Sends a message.
pub(crate) fn send(
    socket: BorrowedFd<'_>,
    opcode: Opcode,
    text: &str,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let mut bytes = vec![opcode.byte()];
    bytes.extend_from_slice(text.as_bytes());
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors"));
    }
    // With a time limit a signal breaks off what it would only have interrupted (signal(7)).
    retry_on_intr(|| sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// The text that says which directory is served: device and inode.
pub(crate) fn directory_text(dir: &File) -> io::Result<String> {
    let metadata = dir.metadata()?;
    Ok(format!("{} {}", metadata.dev(), metadata.ino()))
}

/// The text that says which run is to be held, in a line of its own, and what of it.
pub(crate) fn hold_text(run: &str, held: &str) -> String {
    format!("{run}\n{held}")
}

/// The text that says what is held of a run: where each output begins, and, in a line of its own, which process it is.
pub(crate) fn held_text(begin: impl Iterator<Item = Option<LogPosition>>, identity: &ProcessIdentity) -> String {
    let begin: Vec<String> = begin.map(|at| at.map_or_else(|| "?".to_owned(), position_text)).collect();
    format!("{}\n{}", begin.join(" "), process_text(identity))
}

/// What such a text says.
pub(crate) fn parse_held(text: &str) -> Option<(Vec<Option<LogPosition>>, ProcessIdentity)> {
    let (begin, process) = text.split_once('\n')?;
    let begin = begin.split_whitespace().map(|at| if at == "?" { Some(None) } else { position_of(at).map(Some) });
    Some((begin.collect::<Option<_>>()?, process_of(process)?))
}

/// How many descriptors belong to such a text: one for each output, and one for the process.
pub(crate) fn descriptors_of(text: &str) -> Option<usize> {
    let (begin, _) = text.split_once('\n')?;
    Some(begin.split_whitespace().count().saturating_add(1))
}

fn position_text(at: LogPosition) -> String {
    format!("{}:{}", at.generation, at.offset)
}

fn position_of(text: &str) -> Option<LogPosition> {
    let (generation, offset) = text.split_once(':')?;
    Some(LogPosition { generation: generation.parse().ok()?, offset: offset.parse().ok()? })
}

fn process_text(identity: &ProcessIdentity) -> String {
    let namespace = identity.pid_namespace.map(|inode| format!(" {inode}")).unwrap_or_default();
    format!("{} {} {}{namespace}", identity.pid, identity.start_ticks, identity.boot_id)
}

fn process_of(text: &str) -> Option<ProcessIdentity> {
    let mut words = text.split(' ');
    let (pid, start_ticks) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let boot_id = words.next()?.parse().ok()?;
    // Keepers that were given it before it was recorded do not say.
    let pid_namespace = words.next().map(str::parse).transpose().ok()?;
    Some(ProcessIdentity { pid, start_ticks, boot_id, pid_namespace })
}

/// Receives a message; `None` at the end.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<Message>> {
    let mut bytes = vec![0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received =
        retry_on_intr(|| recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC))?;
    let mut descriptors = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(sent) = message {
            descriptors.extend(sent);
        }
    }
    let Some((first, text)) = bytes.get(..received.bytes).and_then(<[u8]>::split_first) else { return Ok(None) };
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not a message of a keeper");
    let opcode = Opcode::of(*first).ok_or_else(invalid)?;
    let text = String::from_utf8(text.to_vec()).map_err(|_| invalid())?;
    let is_cut = received.flags.intersects(ReturnFlags::CTRUNC | ReturnFlags::TRUNC);
    Ok(Some(Message { opcode, text, descriptors, is_cut }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_understood_as_it_was_meant() {
        let identity = ProcessIdentity {
            pid: 7,
            start_ticks: 8,
            boot_id: "00000000-0000-0000-0000-000000000009".parse().unwrap(),
            pid_namespace: None,
        };
        let identity = ProcessIdentity { pid_namespace: None, ..identity };
        assert_eq!(parse_held(&held_text([].into_iter(), &identity)), Some((Vec::new(), identity)));
        let identity = ProcessIdentity { pid_namespace: Some(4_026_531_836), ..identity };
        let begin = [Some(LogPosition { generation: 3, offset: u64::MAX }), None];
        assert_eq!(parse_held(&held_text(begin.into_iter(), &identity)), Some((begin.to_vec(), identity)));
        assert_eq!(parse_held(&held_text([].into_iter(), &identity)), Some((Vec::new(), identity)));
        for text in [
            "",
            "1:1",
            "x\n",
            "1:x\n",
            "1:1\n",
            "1:1\n1 2",
            "1:1\n1 2 x",
            "1:1\n1 2 00000000-0000-0000-0000-000000000009 x",
        ] {
            assert_eq!(parse_held(text), None, "{text:?}");
        }
    }
}
