//! The keeper's own process: one thread, one loop.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
    path::Path,
    time::{Duration, Instant},
};

use apm2_core::process::raise_descriptor_limit;
use nix::unistd::{Uid, geteuid, getpid, getsid, setsid};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{
        SocketFlags, accept_with,
        sockopt::{Timeout, set_socket_timeout, socket_peercred},
    },
};

use super::message::{self, Message, Word};
use crate::address::{KEEPER_SOCKET, short};

/// How long the keeper stays when nothing is held and nobody is connected.
const IDLE_MAX: Duration = Duration::from_millis(500);

/// Connections at the same time. The owner of the ledger needs one.
const CONNECTIONS_MAX: usize = 4;

/// How long an answer may take to be accepted.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// What is held of one run.
struct Held {
    /// Its outputs, and its process.
    descriptors: Vec<OwnedFd>,
    /// What they are, in the words of whoever gave them.
    text: String,
}

struct Keeper {
    listener: OwnedFd,
    connections: Vec<OwnedFd>,
    held: BTreeMap<String, Held>,
}

/// Holds descriptors for whoever connects to `listener`, until nobody does and none is held, or until `dir`, the ledger's
/// directory, is removed: then nobody will ever ask for them.
///
/// # Errors
/// When the listener or the directory cannot be used.
pub fn keep(listener: OwnedFd, dir: &Path) -> io::Result<()> {
    let dir = File::open(dir)?;
    // Its daemon has seen to that before exec, or a signal to the daemon's session would end it, too.
    if getsid(None).map_err(io::Error::from)? != getpid() {
        setsid().map_err(io::Error::from)?;
    }
    if let Err(error) = raise_descriptor_limit() {
        tracing::debug!(%error, "the limit on open files stays as it is");
    }
    let socket = socket_in(&dir);
    let mut keeper = Keeper { listener, connections: Vec::new(), held: BTreeMap::new() };
    let mut idle_since = Instant::now();
    while idle_since.elapsed() < IDLE_MAX {
        keeper.wait()?;
        // Nobody can ask for anything any more: the ledger is removed, or another keeper has taken this one's place.
        if keeper.connections.is_empty() && (is_removed(&dir) || socket_in(&dir) != socket) {
            return Ok(());
        }
        if !keeper.held.is_empty() || !keeper.connections.is_empty() {
            idle_since = Instant::now();
        }
    }
    Ok(())
}

/// Which socket has the keeper's name.
fn socket_in(dir: &File) -> Option<u64> {
    std::fs::symlink_metadata(short(dir, KEEPER_SOCKET)).ok().map(|metadata| metadata.ino())
}

fn is_removed(dir: &File) -> bool {
    dir.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
}

impl Keeper {
    /// Waits for something to happen, and sees to it.
    fn wait(&mut self) -> io::Result<()> {
        let is_alone = self.connections.is_empty();
        let timeout = is_alone.then_some(Timespec { tv_sec: 0, tv_nsec: i64::from(IDLE_MAX.subsec_nanos()) });
        let mut wanted = vec![PollFd::new(&self.listener, PollFlags::IN)];
        wanted.extend(self.connections.iter().map(|connection| PollFd::new(connection, PollFlags::IN)));
        match poll(&mut wanted, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(()),
            polled => polled?,
        };
        let mut ready: Vec<bool> = wanted.iter().map(|polled| !polled.revents().is_empty()).collect();
        drop(wanted);
        let has_caller = ready.remove(0);
        let mut asked = ready.into_iter();
        let connections = std::mem::take(&mut self.connections);
        for connection in connections {
            if !asked.next().unwrap_or(false) || self.serve(&connection) {
                self.connections.push(connection);
            }
        }
        if has_caller {
            self.accept();
        }
        Ok(())
    }

    fn accept(&mut self) {
        let Ok(connection) = accept_with(&self.listener, SocketFlags::CLOEXEC) else { return };
        let peer = socket_peercred(&connection).map(|peer| Uid::from_raw(peer.uid.as_raw()));
        let is_ours = peer.is_ok_and(|uid| uid == geteuid() || uid.is_root());
        let is_bounded = set_socket_timeout(&connection, Timeout::Send, Some(SEND_TIMEOUT)).is_ok();
        if is_ours && is_bounded && self.connections.len() < CONNECTIONS_MAX {
            self.connections.push(connection);
        }
    }

    /// Answers one message; whether the connection is to be kept.
    fn serve(&mut self, connection: &OwnedFd) -> bool {
        let Ok(Some(message)) = message::receive(connection.as_fd()) else { return false };
        self.answer(connection, message).is_ok()
    }

    fn answer(&mut self, connection: &OwnedFd, message: Message) -> io::Result<()> {
        let Message { word, text, descriptors } = message;
        let done = |text: &str| message::send(connection.as_fd(), Word::Done, text, &[]);
        match word {
            Word::Hold => match text.split_once('\n') {
                Some((run, text)) => {
                    self.held.insert(run.to_owned(), Held { descriptors, text: text.to_owned() });
                    done("")
                }
                None => message::send(connection.as_fd(), Word::No, "", &[]),
            },
            Word::Release => {
                self.held.remove(&text);
                done("")
            }
            Word::List => done(&self.held.keys().map(String::as_str).collect::<Vec<_>>().join("\n")),
            Word::Get => match self.held.get(&text) {
                Some(Held { descriptors, text }) => {
                    let all: Vec<_> = descriptors.iter().map(OwnedFd::as_fd).collect();
                    message::send(connection.as_fd(), Word::Done, text, &all)
                }
                None => message::send(connection.as_fd(), Word::No, "", &[]),
            },
            Word::Hello => match text.parse::<u32>() {
                Ok(version) => done(&version.min(message::VERSION).to_string()),
                Err(_) => message::send(connection.as_fd(), Word::No, "", &[]),
            },
            Word::Done | Word::No => Err(io::Error::from(io::ErrorKind::InvalidData)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::pipe, thread};

    use super::*;
    use crate::keeper::golden::{self, Side};

    /// A client of every version that there was, byte for byte.
    #[test]
    fn every_client_is_answered_as_it_always_was() {
        for version in ["v0", "v1"] {
            let dir = tempfile::tempdir().unwrap();
            let (listener, client) = golden::pair(dir.path());
            let mut keeper = Keeper { listener, connections: Vec::new(), held: BTreeMap::new() };
            let serving = thread::spawn(move || {
                keeper.wait().unwrap();
                while !keeper.connections.is_empty() {
                    keeper.wait().unwrap();
                }
            });
            let (_reader, writer) = pipe().unwrap();
            for message in golden::transcript(version) {
                match message.side {
                    Side::Client => golden::send(&client, &message, &writer),
                    Side::Keeper => assert_eq!(golden::receive(&client), (message.bytes, message.descriptors)),
                }
            }
            drop(client);
            serving.join().unwrap();
        }
    }
}
