//! The client of the file descriptor store, as used by the daemon. It starts a store if none runs. It replaces a store
//! that has ended by a new one, to which it sends the same descriptors.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::Duration,
};

use apm2_core::{
    log::LogPosition,
    process::{FdStore, StoredRun, detach},
};
use apm2_ledger::LedgerDir;
use apm2_model::event::identity::ProcessIdentity;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::retry_on_intr,
    net::{Shutdown, SocketAddrUnix, shutdown},
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::{
    address::{FD_STORE_SOCKET, OnExisting, SocketFile, is_unanswered, short},
    fd_store::{
        connect::{Handshake, exchange, handshake, handshake_while_running, listening},
        message::{self, Message, Opcode},
        stored_fds::{StoredFds, stored_run},
    },
};

/// How long to wait for a running store to create its socket again. The store checks its socket once per second.
const SOCKET_MAX: Duration = Duration::from_secs(10);

/// Stores descriptors in a separate process. See the documentation of [`crate::fd_store`].
pub struct FdStoreClient(Arc<Inner>);

struct Inner {
    dir: Arc<LedgerDir>,
    /// The command that starts a store: program and arguments. The standard input of the store is its listening socket.
    command: Vec<std::ffi::OsString>,
    state: Mutex<ClientState>,
}

#[derive(Default)]
struct ClientState {
    connection: Option<Arc<OwnedFd>>,
    /// Whether the store has confirmed that it serves the directory of this ledger. A store of an earlier version
    /// cannot confirm it.
    serves_this_dir: bool,
    /// Whether only a store with this confirmation is used.
    requires_proof: bool,
    /// Duplicates of the stored descriptors, by the marker of the run. If the store has to be replaced, the new store
    /// gets them.
    stored: BTreeMap<String, StoredFds>,
}

impl FdStoreClient {
    /// The store of the ledger in `dir`. The caller must hold the lock of the ledger. If no store runs, `command`
    /// starts one in that directory.
    #[must_use]
    pub fn new(dir: &Arc<LedgerDir>, command: Vec<std::ffi::OsString>) -> Self {
        Self(Arc::new(Inner { dir: Arc::clone(dir), command, state: Mutex::default() }))
    }
}

impl FdStoreClient {
    /// Whether a running store confirms that it serves this directory. Does not start a store.
    pub(crate) fn is_present(&self) -> bool {
        self.existing_connection().is_ok_and(|connection| connection.is_some()) && self.0.state().serves_this_dir
    }

    /// Uses only a store that confirms that it serves this directory. For a copy of a ledger, because its socket file
    /// may lead to the store of the original.
    pub(crate) fn require_proof(&self) {
        let mut state = self.0.state();
        state.requires_proof = true;
        if !state.serves_this_dir
            && let Some(connection) = state.connection.take()
        {
            // kill(2) fails if the store has ended already. This error is ignored.
            let _ = shutdown(&connection, Shutdown::Both);
        }
    }

    /// The connection to a store that already runs.
    fn existing_connection(&self) -> io::Result<Option<Arc<OwnedFd>>> {
        let mut state = self.0.state();
        if let Some(connection) = &state.connection {
            return Ok(Some(Arc::clone(connection)));
        }
        match self.0.handshake() {
            Err(error) if is_unanswered(&error) => Ok(None),
            handshake => Ok(Some(self.0.connected(&mut state, handshake?))),
        }
    }
}

impl Drop for Inner {
    /// shutdown(2) also ends the connection for the thread that watches the store and has a duplicate of the
    /// descriptor.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = state.connection.take() {
            // kill(2) fails if the store has ended already. This error is ignored.
            let _ = shutdown(&connection, Shutdown::Both);
        }
    }
}

impl Inner {
    /// Poisoning of the lock is ignored: a later attempt repairs any state that a panic of another thread can leave.
    fn state(&self) -> MutexGuard<'_, ClientState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message and waits for the answer. If the store has ended or does not answer, starts a new store and
    /// sends the message again.
    fn ask(
        self: &Arc<Self>,
        state: &mut ClientState,
        opcode: Opcode,
        text: &str,
        descriptors: &[BorrowedFd<'_>],
    ) -> io::Result<Message> {
        let connection = self.connection(state)?;
        match exchange(&connection, opcode, text, descriptors) {
            Ok(answer) => Ok(answer),
            Err(error) => {
                tracing::warn!(%error, "the file descriptor store does not answer; starting another one");
                let connection = self.replace(state)?;
                exchange(&connection, opcode, text, descriptors)
            }
        }
    }

    /// The open connection to the store, or a new connection.
    fn connection(self: &Arc<Self>, state: &mut ClientState) -> io::Result<Arc<OwnedFd>> {
        match &state.connection {
            Some(connection) => Ok(Arc::clone(connection)),
            None => self.connect(state),
        }
    }

    /// Connects to the store that an earlier daemon has started, or starts a new store.
    fn connect(self: &Arc<Self>, state: &mut ClientState) -> io::Result<Arc<OwnedFd>> {
        match self.handshake() {
            Ok(handshake) if handshake.serves_this_dir || !state.requires_proof => Ok(self.connected(state, handshake)),
            Ok(_) | Err(_) => self.replace(state),
        }
    }

    /// Connects to the store that runs already, and waits for its socket if the socket file is missing.
    fn handshake(&self) -> io::Result<Handshake> {
        let dir = File::open(self.dir.at())?;
        let address = SocketAddrUnix::new(short(&dir, FD_STORE_SOCKET))?;
        match handshake(&address, &dir) {
            Err(error) if is_unanswered(&error) => match self.running() {
                stores if stores.is_empty() => Err(error),
                stores => handshake_while_running(&address, &dir, stores, SOCKET_MAX),
            },
            handshake => handshake,
        }
    }

    /// The stores of this ledger that run: processes with the same arguments, of any version of the program, as pidfds. A new
    /// store would not have their descriptors.
    fn running(&self) -> Vec<OwnedFd> {
        let Some((_, args)) = self.command.split_first() else { return Vec::new() };
        let store = |entry: std::fs::DirEntry| {
            let line = std::fs::read(entry.path().join("cmdline")).ok()?;
            let is_store =
                line.split(|byte| *byte == 0).skip(1).take(args.len()).eq(args.iter().map(|arg| arg.as_bytes()));
            let pid = Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)?;
            is_store.then(|| pidfd_open(pid, PidfdFlags::empty()).ok()).flatten()
        };
        std::fs::read_dir("/proc").map(|entries| entries.flatten().filter_map(store).collect()).unwrap_or_default()
    }

    /// Starts a new store, and sends it all descriptors that the previous store had.
    fn replace(self: &Arc<Self>, state: &mut ClientState) -> io::Result<Arc<OwnedFd>> {
        if let Some(connection) = state.connection.take() {
            // The previous store may be stopped by a signal. It exits when it is continued, and the thread that watches
            // it ends.
            let _ = shutdown(&connection, Shutdown::Both);
        }
        let dir = File::open(self.dir.at())?;
        let address = SocketAddrUnix::new(short(&dir, FD_STORE_SOCKET))?;
        self.start(&dir)?;
        let handshake = handshake(&address, &dir)?;
        for (run, stored) in &state.stored {
            let descriptors: Vec<_> = stored.descriptors.iter().map(OwnedFd::as_fd).collect();
            exchange(&handshake.connection, Opcode::Hold, &message::hold_text(run, &stored.text), &descriptors)?;
        }
        Ok(self.connected(state, handshake))
    }

    fn connected(self: &Arc<Self>, state: &mut ClientState, handshake: Handshake) -> Arc<OwnedFd> {
        let connection = Arc::new(handshake.connection);
        state.serves_this_dir = handshake.serves_this_dir;
        state.connection = Some(Arc::clone(&connection));
        self.watch(&connection);
        connection
    }

    /// Starts a thread that waits for the end of the store and then replaces the store. Without the store, only the
    /// daemon has the descriptors.
    fn watch(self: &Arc<Self>, connection: &Arc<OwnedFd>) {
        let (inner, watched) = (Arc::downgrade(self), Arc::downgrade(connection));
        let Ok(copy) = connection.try_clone() else { return };
        let waiting = thread::Builder::new().name("apm2-fdstore-end".to_owned()).spawn(move || {
            let mut ended = [PollFd::new(&copy, PollFlags::RDHUP)];
            let polled = retry_on_intr(|| poll(&mut ended, None));
            let (Some(inner), Some(watched)) = (Weak::upgrade(&inner), Weak::upgrade(&watched)) else { return };
            let mut state = inner.state();
            let is_current = state.connection.as_ref().is_some_and(|current| Arc::ptr_eq(current, &watched));
            if polled.is_ok()
                && is_current
                && let Err(error) = inner.replace(&mut state)
            {
                tracing::warn!(%error, "could not start a file descriptor store");
            }
        });
        if let Err(error) = waiting {
            tracing::warn!(%error, "the end of the file descriptor store will be noticed at the next request only");
        }
    }

    /// Starts a store. The socket listens before the process runs, so clients can connect at once.
    fn start(&self, dir: &File) -> io::Result<()> {
        let Some((program, args)) = self.command.split_first() else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no command for a file descriptor store"));
        };
        let mut file = SocketFile::present_in(dir.try_clone()?, FD_STORE_SOCKET);
        let listener = file.make(OnExisting::Replace, listening)?;
        // The store outlives this process and its parent. It therefore gets its own session (setsid(2)), an empty
        // environment, no other descriptors and default signal dispositions. Its working directory is passed as a
        // descriptor, because the path may name another directory by now.
        let mut command = Command::new(program);
        command
            .args(args)
            .env_clear()
            .current_dir(short(dir, ""))
            .stdin(Stdio::from(listener))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        detach(&mut command);
        let mut child = command.spawn()?;
        // Reaps the process of the store.
        thread::Builder::new().name("apm2-fdstore".to_owned()).spawn(move || child.wait())?;
        Ok(())
    }
}

impl FdStore for FdStoreClient {
    fn hold(
        &self,
        run: &str,
        outputs: &[(BorrowedFd<'_>, Option<LogPosition>)],
        pidfd: BorrowedFd<'_>,
        identity: &ProcessIdentity,
    ) -> io::Result<()> {
        let mut state = self.0.state();
        let (mut descriptors, begin): (Vec<_>, Vec<_>) = outputs.iter().copied().unzip();
        descriptors.push(pidfd);
        let text = message::held_text(begin.into_iter(), identity);
        let stored = StoredFds::copy(&descriptors, &text)?;
        check_done(&self.0.ask(&mut state, Opcode::Hold, &message::hold_text(run, &text), &descriptors)?)?;
        // The duplicates are inserted after the store has confirmed the descriptors, so that a new store gets them only
        // once.
        state.stored.insert(run.to_owned(), stored);
        Ok(())
    }

    fn get(&self, run: &str) -> io::Result<Option<StoredRun>> {
        let mut state = self.0.state();
        match stored_run(self.0.ask(&mut state, Opcode::Get, run, &[])?)? {
            Some((held, stored)) => {
                state.stored.insert(run.to_owned(), stored);
                Ok(Some(held))
            }
            None => Ok(None),
        }
    }

    fn peek(&self, run: &str) -> io::Result<Option<StoredRun>> {
        if self.existing_connection()?.is_some() { self.get(run) } else { Ok(None) }
    }

    fn release(&self, run: &str) -> io::Result<()> {
        let mut state = self.0.state();
        state.stored.remove(run);
        check_done(&self.0.ask(&mut state, Opcode::Release, run, &[])?)
    }

    fn held(&self) -> io::Result<Vec<String>> {
        let mut state = self.0.state();
        let Message { text, .. } = self.0.ask(&mut state, Opcode::List, "", &[])?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

fn check_done(answer: &Message) -> io::Result<()> {
    if answer.opcode == Opcode::Done {
        Ok(())
    } else {
        Err(io::Error::other("the file descriptor store refused the request"))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs,
        io::pipe,
        os::{fd::AsFd as _, unix::fs::PermissionsExt as _},
        path::Path,
    };

    use rustix::net::{SocketFlags, accept_with};

    use super::*;
    use crate::fd_store::golden::{self, Side};

    /// A fake store that answers like a store of `version`. A store of version 0 closes the connection at the first
    /// unknown opcode.
    fn play(version: &'static str, dir: &Path, listener: OwnedFd) -> thread::JoinHandle<()> {
        let transcript = golden::transcript(version, dir);
        thread::spawn(move || {
            let (_reader, writer) = pipe().unwrap();
            let mut client = accept_with(&listener, SocketFlags::CLOEXEC).unwrap();
            if version == "v0" {
                assert_eq!(golden::receive(&client), (b"\x062".to_vec(), 0));
                drop(client);
                client = accept_with(&listener, SocketFlags::CLOEXEC).unwrap();
            }
            for message in transcript {
                match message.side {
                    // A client of this version sends the same hello message to a store of any version.
                    Side::Client if message.bytes == b"\x061" => {
                        assert_eq!(golden::receive(&client), (b"\x062".to_vec(), 0));
                    }
                    Side::Client => assert_eq!(golden::receive(&client), (message.bytes, message.descriptors)),
                    Side::Server => golden::send(&client, &message, &writer),
                }
            }
        })
    }

    #[test]
    fn a_store_of_every_version_is_understood() {
        for version in golden::TRANSCRIPTS {
            let dir = tempfile::tempdir().unwrap();
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
            let fd_store = play(version, dir.path(), golden::listener(dir.path()));
            let client = FdStoreClient::new(&Arc::new(LedgerDir::open(dir.path()).unwrap()), Vec::new());
            let hold = golden::transcript(version, dir.path())
                .into_iter()
                .find(|message| message.bytes.first() == Some(&0))
                .unwrap();
            let text = String::from_utf8(hold.bytes.get(1..).unwrap().to_vec()).unwrap();
            let (run, held) = text.split_once('\n').unwrap();
            let (begin, identity) = message::parse_held(held).unwrap();
            let (reader, _writer) = pipe().unwrap();
            let outputs: Vec<_> = begin.iter().map(|at| (reader.as_fd(), *at)).collect();
            assert_eq!(client.is_present(), version == "v2", "{version}");
            assert_eq!(client.held().unwrap(), [""; 0]);
            client.hold(run, &outputs, reader.as_fd(), &identity).unwrap();
            assert_eq!(client.held().unwrap(), [run]);
            let got = client.get(run).unwrap().unwrap();
            assert_eq!(
                (got.outputs.iter().map(|output| output.begins_at).collect::<Vec<_>>(), got.identity),
                (begin, identity)
            );
            client.release(run).unwrap();
            assert!(client.get(run).unwrap().is_none());
            fd_store.join().unwrap();
        }
    }
}
