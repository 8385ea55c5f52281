//! The process of the file descriptor store. It has one thread with one poll(2) loop.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    time::{Duration, Instant},
};

use apm2_core::process::raise_descriptor_limit;
use nix::unistd::{getpid, getsid, setsid};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{
        SocketFlags, accept_with,
        sockopt::{Timeout, set_socket_timeout},
    },
    process::{DumpableBehavior, set_dumpable_behavior},
};

use crate::{
    address::{ACCEPT_PAUSE, FD_STORE_SOCKET, OnExisting, SocketFile, SocketLocation},
    fd_store::{
        connect::listening,
        message::{self, Message, Opcode},
    },
    peer::{is_trusted, peer_uid},
};

/// How long the store runs without descriptors and without a connection.
const IDLE_MAX: Duration = Duration::from_millis(500);

/// Interval of the checks whether the socket file still exists.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of connections. A daemon needs only one connection.
const CONNECTIONS_MAX: usize = 4;

/// Timeout for sending an answer.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// The descriptors of one run.
struct HeldRun {
    /// The outputs, and after them the pidfd.
    descriptors: Vec<OwnedFd>,
    /// The description of the descriptors, as the client sent it. The store does not interpret it.
    text: String,
}

struct FdStoreServer {
    /// The ledger directory.
    dir: File,
    listener: OwnedFd,
    /// After accept(2) has failed, no connection is accepted before this time.
    paused_until: Option<Instant>,
    connections: Vec<OwnedFd>,
    held: BTreeMap<String, HeldRun>,
}

/// Holds descriptors for the clients of `listener`. Returns when there are no descriptors and no clients, or when
/// `dir`, the ledger directory, was removed: no later daemon can then ask for the descriptors. Normally the working
/// directory is the ledger directory. Daemons of earlier versions start the store in `/`; in this case, `dir` is
/// opened.
///
/// # Errors
/// The listener or the directory cannot be used.
pub fn serve_descriptors(listener: OwnedFd, dir: &Path) -> io::Result<()> {
    let root = Path::new("/");
    let is_root = std::env::current_dir().is_ok_and(|here| here == root);
    let dir = File::open(if is_root { dir } else { Path::new(".") })?;
    std::env::set_current_dir(root)?;
    let served = dir.try_clone()?;
    let mut file = SocketFile::present_in(dir, FD_STORE_SOCKET);
    // Normally, the daemon creates the session before execve(2). Without a session of its own, the store would be ended
    // by signals to the session of the daemon.
    if getsid(None).map_err(io::Error::from)? != getpid() {
        setsid().map_err(io::Error::from)?;
    }
    // Other processes of the user must not have access to the descriptors (ptrace(2), `/proc/<pid>/fd`).
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    if let Err(error) = raise_descriptor_limit() {
        tracing::debug!(%error, "the limit on open files stays as it is");
    }
    let mut fd_store =
        FdStoreServer { dir: served, listener, paused_until: None, connections: Vec::new(), held: BTreeMap::new() };
    let mut idle_since = Instant::now();
    while idle_since.elapsed() < IDLE_MAX {
        fd_store.wait()?;
        match file.location() {
            SocketLocation::Own => {}
            // Without the socket file, the next daemon would start another store, which does not have these
            // descriptors. A failed attempt to restore the file is repeated at the next check.
            SocketLocation::Missing => {
                fd_store.listener = file.make(OnExisting::Keep, listening).unwrap_or(fd_store.listener)
            }
            // The ledger was removed, or another store has replaced this store. No client will connect any more.
            SocketLocation::NoDirectory | SocketLocation::Taken if fd_store.connections.is_empty() => return Ok(()),
            SocketLocation::NoDirectory | SocketLocation::Taken => {}
        }
        if !fd_store.held.is_empty() || !fd_store.connections.is_empty() {
            idle_since = Instant::now();
        }
    }
    Ok(())
}

impl FdStoreServer {
    /// Waits for a connection or a message, and handles it.
    fn wait(&mut self) -> io::Result<()> {
        let max = if self.connections.is_empty() { IDLE_MAX } else { LOOK_INTERVAL };
        let pause = self.paused_until.map(|until| until.saturating_duration_since(Instant::now()));
        let pause = pause.filter(|pause| !pause.is_zero());
        let timeout = Timespec::try_from(pause.map_or(max, |pause| pause.min(max))).ok();
        let of_listener = if pause.is_none() { PollFlags::IN } else { PollFlags::empty() };
        let mut wanted = vec![PollFd::new(&self.listener, of_listener)];
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
        let accepted = accept_with(&self.listener, SocketFlags::CLOEXEC);
        self.paused_until = accepted.is_err().then(|| Instant::now() + ACCEPT_PAUSE);
        let Ok(connection) = accepted else { return };
        let is_ours = peer_uid(&connection).is_ok_and(is_trusted);
        let is_bounded = set_socket_timeout(&connection, Timeout::Send, Some(SEND_TIMEOUT)).is_ok();
        if is_ours && is_bounded && self.connections.len() < CONNECTIONS_MAX {
            self.connections.push(connection);
        }
    }

    /// Answers one message. Returns whether the connection stays open.
    fn serve(&mut self, connection: &OwnedFd) -> bool {
        let Ok(Some(message)) = message::receive(connection.as_fd()) else { return false };
        self.answer(connection, message).is_ok()
    }

    fn answer(&mut self, connection: &OwnedFd, message: Message) -> io::Result<()> {
        let Message { opcode, text, descriptors, is_cut } = message;
        let done = |text: &str| message::send(connection.as_fd(), Opcode::Done, text, &[]);
        match opcode {
            Opcode::Hold => match text.split_once('\n') {
                // The request succeeds only if all descriptors have arrived.
                Some((_, held)) if is_cut || message::descriptors_of(held) != Some(descriptors.len()) => {
                    message::send(connection.as_fd(), Opcode::Refused, "", &[])
                }
                Some((run, text)) => {
                    self.held.insert(run.to_owned(), HeldRun { descriptors, text: text.to_owned() });
                    done("")
                }
                None => message::send(connection.as_fd(), Opcode::Refused, "", &[]),
            },
            Opcode::Release => {
                self.held.remove(&text);
                done("")
            }
            Opcode::List => done(&self.held.keys().map(String::as_str).collect::<Vec<_>>().join("\n")),
            Opcode::Get => match self.held.get(&text) {
                Some(HeldRun { descriptors, text }) => {
                    let all: Vec<_> = descriptors.iter().map(OwnedFd::as_fd).collect();
                    message::send(connection.as_fd(), Opcode::Done, text, &all)
                }
                None => message::send(connection.as_fd(), Opcode::Refused, "", &[]),
            },
            Opcode::Hello => match text.parse::<u32>() {
                Ok(version) => done(&version.min(message::VERSION).to_string()),
                Err(_) => message::send(connection.as_fd(), Opcode::Refused, "", &[]),
            },
            Opcode::Place => done(&message::directory_text(&self.dir)?),
            Opcode::Done | Opcode::Refused => Err(io::Error::from(io::ErrorKind::InvalidData)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{io::pipe, thread};

    use super::*;
    use crate::fd_store::golden::{self, Side};

    /// Replays the recorded conversation of each protocol version. The answers must be identical.
    #[test]
    fn a_client_of_every_version_gets_the_same_answers() {
        for version in golden::TRANSCRIPTS {
            let dir = tempfile::tempdir().unwrap();
            let (listener, client) = golden::pair(dir.path());
            let served = File::open(dir.path()).unwrap();
            let mut fd_store = FdStoreServer {
                dir: served,
                listener,
                paused_until: None,
                connections: Vec::new(),
                held: BTreeMap::new(),
            };
            let serving = thread::spawn(move || {
                fd_store.wait().unwrap();
                while !fd_store.connections.is_empty() {
                    fd_store.wait().unwrap();
                }
            });
            let (_reader, writer) = pipe().unwrap();
            for message in golden::transcript(version, dir.path()) {
                match message.side {
                    Side::Client => golden::send(&client, &message, &writer),
                    Side::Server => assert_eq!(golden::receive(&client), (message.bytes, message.descriptors)),
                }
            }
            drop(client);
            serving.join().unwrap();
        }
    }
}
