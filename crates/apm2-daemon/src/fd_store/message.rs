//! The protocol of the file descriptor store: one packet (SOCK_SEQPACKET, unix(7)) for each message, with descriptors
//! as ancillary data.
//!
//! ```text
//! word u8 | text in UTF-8      0 hold, 1 get, 2 release, 3 list; answers: 4 done, 5 no
//!                              from version 1 on: 6 hello, text: the version in decimal
//!                              from version 2 on: 7 place; answer: device and inode of the directory that is served, in decimal
//! ```
//!
//! The store outlives the program that started it, so client and store may have different versions. A client first
//! sends hello with the highest version it supports; the answer is the version that both use. A store of version 0 does
//! not know hello and closes the connection. New opcodes are only added at the end. A reader ignores unknown fields at
//! the end of a message.

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

/// Maximum size of a message in bytes. The answer that lists all runs is the longest.
pub(crate) const MESSAGE_BYTES_MAX: usize = 128 << 10;

/// Maximum number of descriptors of a message.
pub(crate) const DESCRIPTORS_MAX: usize = 4;

/// The protocol version. Version 0 does not have [`Opcode::Hello`].
pub(crate) const VERSION: u32 = 2;

/// The opcode, the first byte of a message: a request or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Opcode {
    Hold,
    Get,
    Release,
    List,
    /// The request succeeded.
    Done,
    /// The run is unknown, or the request is invalid.
    Refused,
    /// The client and the store agree on the protocol version.
    Hello,
    /// The client asks which directory the store serves.
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

/// A message of the protocol: opcode, text and descriptors.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) opcode: Opcode,
    pub(crate) text: String,
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Whether the kernel dropped descriptors or text because the buffer was too small (`MSG_CTRUNC`, `MSG_TRUNC`, recv(2)).
    pub(crate) is_cut: bool,
}

/// Sends a message with its descriptors over the connection.
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
    // A signal interrupts a call on a socket with a timeout even with SA_RESTART (signal(7)), so the call is repeated.
    retry_on_intr(|| sendmsg(socket, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// The text that identifies a directory: device and inode.
pub(crate) fn directory_text(dir: &File) -> io::Result<String> {
    let metadata = dir.metadata()?;
    Ok(format!("{} {}", metadata.dev(), metadata.ino()))
}

/// The text of a `hold` request: the marker of the run on a line of its own, then the text of [`held_text`].
pub(crate) fn hold_text(run: &str, held: &str) -> String {
    format!("{run}\n{held}")
}

/// The text that describes the descriptors of a run: the log position at which each output begins, then, on a line of its own,
/// the identity of the process.
pub(crate) fn held_text(begin: impl Iterator<Item = Option<LogPosition>>, identity: &ProcessIdentity) -> String {
    let begin: Vec<String> = begin.map(|at| at.map_or_else(|| "?".to_owned(), position_text)).collect();
    format!("{}\n{}", begin.join(" "), process_text(identity))
}

/// Parses a text from [`held_text`]; `None` if the text is malformed.
pub(crate) fn parse_held(text: &str) -> Option<(Vec<Option<LogPosition>>, ProcessIdentity)> {
    let (begin, process) = text.split_once('\n')?;
    let begin = begin.split_whitespace().map(|at| if at == "?" { Some(None) } else { position_of(at).map(Some) });
    Some((begin.collect::<Option<_>>()?, process_of(process)?))
}

/// The number of descriptors that a text from [`held_text`] describes: one for each output, and the pidfd.
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
    // A store of an earlier version does not send the pid namespace.
    let pid_namespace = words.next().map(str::parse).transpose().ok()?;
    Some(ProcessIdentity { pid, start_ticks, boot_id, pid_namespace })
}

/// Receives a message; `None` when the peer has closed the connection.
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
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not a message of the file descriptor store");
    let opcode = Opcode::of(*first).ok_or_else(invalid)?;
    let text = String::from_utf8(text.to_vec()).map_err(|_| invalid())?;
    let is_cut = received.flags.intersects(ReturnFlags::CTRUNC | ReturnFlags::TRUNC);
    Ok(Some(Message { opcode, text, descriptors, is_cut }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_of_descriptors_is_parsed_as_it_was_written() {
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
