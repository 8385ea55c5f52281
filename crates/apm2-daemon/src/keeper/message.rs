//! What is said to the keeper: one packet a message, with descriptors beside it.

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{BorrowedFd, OwnedFd},
};

use apm2_core::{log::LogPosition, process::ProcessIdentity};
use rustix::{
    io::retry_on_intr,
    net::{
        RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
        recvmsg, sendmsg,
    },
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
    // With a time limit a signal breaks off what it would only have interrupted (signal(7)).
    retry_on_intr(|| sendmsg(socket, &[IoSlice::new(&bytes)], &mut beside, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// The text that says which process a run has: the run, and the process in a line of its own.
pub(super) fn of_process(run: &str, identity: &ProcessIdentity) -> String {
    format!("{run}\n{}", process_text(identity))
}

/// The run and the process in such a text.
pub(super) fn run_and_process(text: &str) -> Option<(&str, ProcessIdentity)> {
    let (run, process) = text.split_once('\n')?;
    Some((run, process_of(process)?))
}

/// The text that says which run some outputs are of: the run, and where each begins in a line of its own.
pub(super) fn of_outputs(run: &str, begin: impl Iterator<Item = Option<LogPosition>>) -> String {
    let begin: Vec<String> = begin.map(|at| at.map_or_else(|| "?".to_owned(), position_text)).collect();
    format!("{run}\n{}", begin.join(" "))
}

/// The text that says what is held of a run: where each output begins, as it was told, and which process, if any.
pub(super) fn of_held(begin: &str, process: Option<&ProcessIdentity>) -> String {
    format!("{begin}\n{}", process.map(process_text).unwrap_or_default())
}

/// What such a text says.
pub(super) fn held(text: &str) -> Option<(Vec<Option<LogPosition>>, Option<ProcessIdentity>)> {
    let (begin, process) = text.split_once('\n')?;
    let process = if process.is_empty() { None } else { Some(process_of(process)?) };
    let begin = begin.split_whitespace().map(|at| if at == "?" { Some(None) } else { position_of(at).map(Some) });
    Some((begin.collect::<Option<_>>()?, process))
}

fn position_text(at: LogPosition) -> String {
    format!("{}:{}", at.generation, at.offset)
}

fn position_of(text: &str) -> Option<LogPosition> {
    let (generation, offset) = text.split_once(':')?;
    Some(LogPosition { generation: generation.parse().ok()?, offset: offset.parse().ok()? })
}

fn process_text(identity: &ProcessIdentity) -> String {
    format!("{} {} {}", identity.pid, identity.start_ticks, identity.boot_id)
}

fn process_of(text: &str) -> Option<ProcessIdentity> {
    let mut words = text.split(' ');
    let (pid, start_ticks) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    Some(ProcessIdentity { pid, start_ticks, boot_id: words.next()?.parse().ok()? })
}

/// Receives a message; `None` at the end.
pub(super) fn receive(socket: BorrowedFd<'_>) -> io::Result<Option<Message>> {
    let mut bytes = vec![0; MESSAGE_BYTES_MAX];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut beside = RecvAncillaryBuffer::new(&mut space);
    let received =
        retry_on_intr(|| recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut beside, RecvFlags::CMSG_CLOEXEC))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_understood_as_it_was_meant() {
        let identity = ProcessIdentity {
            pid: 7,
            start_ticks: 8,
            boot_id: "00000000-0000-0000-0000-000000000009".parse().unwrap(),
        };
        assert_eq!(run_and_process(&of_process("a/0/1", &identity)), Some(("a/0/1", identity)));
        let begin = [Some(LogPosition { generation: 3, offset: u64::MAX }), None];
        let text = of_outputs("a/0/1", begin.into_iter());
        let (run, told) = text.split_once('\n').unwrap();
        assert_eq!(run, "a/0/1");
        assert_eq!(held(&of_held(told, Some(&identity))), Some((begin.to_vec(), Some(identity))));
        assert_eq!(held(&of_held(told, None)), Some((begin.to_vec(), None)));
        assert_eq!(held(&of_held("", None)), Some((Vec::new(), None)));
        for text in ["", "1:1", "x\n", "1:x\n", "1:1\n1 2", "1:1\n1 2 x"] {
            assert_eq!(held(text), None, "{text:?}");
        }
    }
}
