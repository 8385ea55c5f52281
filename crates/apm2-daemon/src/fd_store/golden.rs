//! Tests with recorded conversations with stores of every version, in `migrations/golden/keeper-v*.txt`. Each line has
//! a side (client or store), a number of descriptors, and bytes.

use std::{
    fs::{self, File},
    io::{IoSlice, IoSliceMut, PipeWriter},
    mem::MaybeUninit,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, recvmsg, sendmsg, socket_with,
};

use crate::{
    address::{FD_STORE_SOCKET, short},
    fd_store::message,
};

/// The names of the recordings. Version 1 existed before identities of processes contained the pid namespace, so it has
/// a second recording.
pub(crate) const TRANSCRIPTS: [&str; 4] = ["v0", "v1", "v1-pid-namespace", "v2"];

/// The directory in the recordings: device and inode.
const PLACE: &str = "66305 4242";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

#[derive(Debug)]
pub(crate) struct GoldenMessage {
    pub(crate) side: Side,
    pub(crate) descriptors: usize,
    pub(crate) bytes: Vec<u8>,
}

/// The recording of version `version`. Its directory is replaced by `dir`, the directory that is served.
pub(crate) fn transcript(version: &str, dir: &Path) -> Vec<GoldenMessage> {
    let served = message::directory_text(&File::open(dir).unwrap()).unwrap();
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../migrations/golden");
    let text = fs::read_to_string(golden.join(format!("keeper-{version}.txt"))).unwrap();
    text.lines()
        .map(|line| {
            let mut words = line.split(' ');
            let side = if words.next() == Some(">") { Side::Client } else { Side::Server };
            let descriptors = words.next().unwrap().parse().unwrap();
            let hex = words.next().unwrap().as_bytes();
            let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
            let mut bytes: Vec<u8> = hex.chunks(2).map(byte).collect();
            if bytes.get(1..) == Some(PLACE.as_bytes()) {
                bytes.truncate(1);
                bytes.extend_from_slice(served.as_bytes());
            }
            GoldenMessage { side, descriptors, bytes }
        })
        .collect()
}

fn socket() -> OwnedFd {
    socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap()
}

fn address(dir: &File) -> SocketAddrUnix {
    SocketAddrUnix::new(short(dir, FD_STORE_SOCKET)).unwrap()
}

/// The listening socket of a store for `dir`.
pub(crate) fn listener(dir: &Path) -> OwnedFd {
    let (dir, listener) = (File::open(dir).unwrap(), socket());
    bind(&listener, &address(&dir)).unwrap();
    listen(&listener, 4).unwrap();
    listener
}

/// Like [`listener`], together with a connection to the socket.
pub(crate) fn pair(dir: &Path) -> (OwnedFd, OwnedFd) {
    let (listener, client) = (listener(dir), socket());
    connect(&client, &address(&File::open(dir).unwrap())).unwrap();
    (listener, client)
}

/// Sends a recorded message, with duplicates of `descriptor` in place of the recorded descriptors.
pub(crate) fn send(socket: &OwnedFd, said: &GoldenMessage, descriptor: &PipeWriter) {
    let descriptors = vec![descriptor.as_fd(); said.descriptors];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
    }
    sendmsg(socket, &[IoSlice::new(&said.bytes)], &mut ancillary, SendFlags::NOSIGNAL).unwrap();
}

/// The bytes of the next message, and the number of descriptors in it.
pub(crate) fn receive(socket: &OwnedFd) -> (Vec<u8>, usize) {
    let mut bytes = vec![0; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received =
        recvmsg(socket, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, RecvFlags::CMSG_CLOEXEC).unwrap().bytes;
    bytes.truncate(received);
    let sent = ancillary.drain().map(|message| match message {
        RecvAncillaryMessage::ScmRights(sent) => sent.count(),
        _ => 0,
    });
    (bytes, sent.sum())
}
