//! The daemon's side of the keeper: it starts one where there is none, and gives a new one what the old one held.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    thread,
    time::{Duration, Instant},
};

use apm2_core::{
    log::LogPosition,
    process::{FdStore, StoredOutput, StoredRun, detach},
};
use apm2_ledger::LedgerDir;
use apm2_model::event::identity::ProcessIdentity;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::{Errno, retry_on_intr},
    net::{
        AddressFamily, Shutdown, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, shutdown, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};

use crate::{
    address::{FD_STORE_SOCKET, OnExisting, SocketFile, is_unanswered, short},
    fd_store::message::{self, Message, Opcode},
};

/// How long the keeper may take for an answer. It does nothing but answer: one that takes longer is stuck, and replaced.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(500);

/// The same for what a daemon before this one has left: nobody else has it, so it is waited for.
const LEGACY_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a keeper is given to make its socket again. It looks after it once a second.
const SOCKET_MAX: Duration = Duration::from_secs(3);

/// How often it is tried meanwhile.
const SOCKET_POLL: Duration = Duration::from_millis(20);

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4;

/// A holder of outputs in a process of its own.
pub struct FdStoreClient(Arc<Inner>);

struct Inner {
    dir: Arc<LedgerDir>,
    /// The program that becomes the keeper, with its arguments. Its stdin is the listening socket.
    command: Vec<std::ffi::OsString>,
    state: Mutex<ClientState>,
}

#[derive(Default)]
struct ClientState {
    connection: Option<Arc<OwnedFd>>,
    /// Whether the keeper has said that it serves this very directory. One of an earlier version does not say.
    serves_this_dir: bool,
    /// Whether one that does not say so is left alone.
    requires_proof: bool,
    /// What the keeper was given, for another one if it dies.
    stored: BTreeMap<String, StoredFds>,
}

struct StoredFds {
    /// The outputs, and the process.
    descriptors: Vec<OwnedFd>,
    /// What they are.
    text: String,
}

impl StoredFds {
    fn copy(descriptors: &[BorrowedFd<'_>], text: &str) -> io::Result<Self> {
        let copies = descriptors.iter().map(BorrowedFd::try_clone_to_owned).collect::<io::Result<_>>()?;
        Ok(Self { descriptors: copies, text: text.to_owned() })
    }
}

impl FdStoreClient {
    /// The keeper of the ledger in `dir`, of which the caller is the owner. `command` starts one where there is none, in that
    /// directory.
    #[must_use]
    pub fn new(dir: &Arc<LedgerDir>, command: Vec<std::ffi::OsString>) -> Self {
        Self(Arc::new(Inner { dir: Arc::clone(dir), command, state: Mutex::default() }))
    }
}

impl FdStoreClient {
    /// Whether a keeper answers that serves this very directory. None is started to be asked.
    pub(crate) fn is_present(&self) -> bool {
        self.existing_connection().is_ok_and(|connection| connection.is_some()) && self.0.state().serves_this_dir
    }

    /// Leaves a keeper alone that does not say which directory it serves: this one is a copy, and the keeper may be that of
    /// the original.
    pub(crate) fn require_proof(&self) {
        let mut state = self.0.state();
        state.requires_proof = true;
        if !state.serves_this_dir
            && let Some(connection) = state.connection.take()
        {
            // It may be gone already.
            let _ = shutdown(&connection, Shutdown::Both);
        }
    }

    /// The connection to the keeper that there is.
    fn existing_connection(&self) -> io::Result<Option<Arc<OwnedFd>>> {
        let mut state = self.0.state();
        if let Some(connection) = &state.connection {
            return Ok(Some(Arc::clone(connection)));
        }
        let dir = File::open(self.0.dir.at())?;
        let address = SocketAddrUnix::new(short(&dir, FD_STORE_SOCKET))?;
        let handshake = match handshake(&address, &dir) {
            Err(error) if is_unanswered(&error) && self.0.is_running() => handshake_within(&address, &dir, SOCKET_MAX),
            handshake => handshake,
        };
        match handshake {
            Err(error) if is_unanswered(&error) => Ok(None),
            handshake => Ok(Some(self.0.connected(&mut state, handshake?))),
        }
    }
}

impl Drop for Inner {
    /// The thread that waits for the end of the keeper has a copy of the descriptor.
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = state.connection.take() {
            // It may be gone already.
            let _ = shutdown(&connection, Shutdown::Both);
        }
    }
}

impl Inner {
    /// Nothing is left half-done under this lock that a second try would not do again.
    fn state(&self) -> MutexGuard<'_, ClientState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message and waits for its answer; once more with a new keeper if the old one is gone or does not answer.
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
                tracing::warn!(%error, "the keeper is gone; another one takes its place");
                let connection = self.replace(state)?;
                exchange(&connection, opcode, text, descriptors)
            }
        }
    }

    /// The connection that there is, or a new one.
    fn connection(self: &Arc<Self>, state: &mut ClientState) -> io::Result<Arc<OwnedFd>> {
        match &state.connection {
            Some(connection) => Ok(Arc::clone(connection)),
            None => self.connect(state),
        }
    }

    /// Connects to the keeper that an earlier daemon has left, or to a new one.
    fn connect(self: &Arc<Self>, state: &mut ClientState) -> io::Result<Arc<OwnedFd>> {
        let dir = File::open(self.dir.at())?;
        let address = SocketAddrUnix::new(short(&dir, FD_STORE_SOCKET))?;
        let handshake = match handshake(&address, &dir) {
            Err(error) if is_unanswered(&error) && self.is_running() => handshake_within(&address, &dir, SOCKET_MAX),
            handshake => handshake,
        };
        match handshake {
            Ok(handshake) if handshake.serves_this_dir || !state.requires_proof => Ok(self.connected(state, handshake)),
            Ok(_) | Err(_) => self.replace(state),
        }
    }

    /// Whether a keeper of this ledger runs: a process with the command line of one, whatever version its program has.
    /// Another one in its place would not have what it holds.
    fn is_running(&self) -> bool {
        let Some((_, args)) = self.command.split_first() else { return false };
        let is_keeper = |entry: std::fs::DirEntry| {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).skip(1).take(args.len()).eq(args.iter().map(|arg| arg.as_bytes()))
        };
        std::fs::read_dir("/proc").is_ok_and(|entries| entries.flatten().any(is_keeper))
    }

    /// Starts a keeper, and gives it what the one before it held.
    fn replace(self: &Arc<Self>, state: &mut ClientState) -> io::Result<Arc<OwnedFd>> {
        if let Some(connection) = state.connection.take() {
            // A frozen one leaves when it goes on, and who waits for its end waits no longer.
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

    /// Waits, on a thread, for the end of a keeper, and puts another one in its place: until there is one, nobody else has
    /// what it held.
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
                tracing::warn!(%error, "no keeper can be started");
            }
        });
        if let Err(error) = waiting {
            tracing::warn!(%error, "the end of the keeper will not be noticed before it is asked");
        }
    }

    /// Starts a keeper. The socket listens before the keeper runs: nobody has to wait for it.
    fn start(&self, dir: &File) -> io::Result<()> {
        let Some((program, args)) = self.command.split_first() else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no program to keep outputs"));
        };
        let mut file = SocketFile::present_in(dir.try_clone()?, FD_STORE_SOCKET);
        let listener = file.make(OnExisting::Replace, listening)?;
        // It outlives us, and whoever started us: it leads a session of its own and inherits no variable, no descriptor
        // and no disposition of a signal. Its directory is the ledger's, by the descriptor: a path may name another one by now.
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
        // Reaped by whoever waits for it.
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
        // Known after it is held: a new keeper is given it once.
        state.stored.insert(run.to_owned(), stored);
        Ok(())
    }

    fn get(&self, run: &str) -> io::Result<Option<StoredRun>> {
        let mut state = self.0.state();
        let connection = self.0.connection(&mut state)?;
        set_socket_timeout(&*connection, Timeout::Recv, Some(LEGACY_TIMEOUT))?;
        let asked = self.0.ask(&mut state, Opcode::Get, run, &[]);
        set_socket_timeout(&*connection, Timeout::Recv, Some(ANSWER_TIMEOUT))?;
        match stored_run(asked?)? {
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

/// What a keeper answers that was asked for a run, and a copy of it; `None` when it does not hold the run.
fn stored_run(message: Message) -> io::Result<Option<(StoredRun, StoredFds)>> {
    let Message { opcode, text, descriptors, is_cut } = message;
    if opcode != Opcode::Done {
        return Ok(None);
    }
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "not all that is held has arrived");
    let (begin, identity) = message::parse_held(&text).filter(|_| !is_cut).ok_or_else(invalid)?;
    let borrowed: Vec<_> = descriptors.iter().map(OwnedFd::as_fd).collect();
    let stored = StoredFds::copy(&borrowed, &text)?;
    let mut pipes = descriptors;
    let pidfd = pipes.pop().filter(|_| pipes.len() == begin.len()).ok_or_else(invalid)?;
    let outputs = pipes.into_iter().zip(begin).map(|(pipe, begins_at)| StoredOutput { pipe, begins_at }).collect();
    Ok(Some((StoredRun { outputs, pidfd, identity }, stored)))
}

/// A socket that listens at `path`.
pub(crate) fn listening(path: PathBuf) -> io::Result<OwnedFd> {
    let listener = socket()?;
    bind(&listener, &SocketAddrUnix::new(path)?)?;
    listen(&listener, BACKLOG)?;
    Ok(listener)
}

fn socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

fn connect_to(address: &SocketAddrUnix) -> io::Result<OwnedFd> {
    let connection = socket()?;
    set_socket_timeout(&connection, Timeout::Recv, Some(ANSWER_TIMEOUT))?;
    set_socket_timeout(&connection, Timeout::Send, Some(ANSWER_TIMEOUT))?;
    // With a time limit a signal breaks off what it would only have interrupted (signal(7)).
    retry_on_intr(|| match connect(&connection, address) {
        Err(Errno::ISCONN) => Ok(()),
        connected => connected,
    })?;
    Ok(connection)
}

/// A connection to a keeper of which it is known what it speaks.
struct Handshake {
    connection: OwnedFd,
    /// Whether it has said that it serves the directory in which its socket was found.
    serves_this_dir: bool,
}

/// Connects to the keeper whose socket is in `dir`. One that serves another directory counts as none: the socket of a
/// hard-linked copy is that of the original.
fn handshake(address: &SocketAddrUnix, dir: &File) -> io::Result<Handshake> {
    let connection = connect_to(address)?;
    let spoken = match exchange(&connection, Opcode::Hello, &message::VERSION.to_string(), &[]) {
        Ok(Message { opcode: Opcode::Done, text, .. }) => text.parse::<u32>().ok(),
        Ok(_) => None,
        // Version 0 leaves at a word that it does not know. All that is said otherwise it knows.
        Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
            return Ok(Handshake { connection: connect_to(address)?, serves_this_dir: false });
        }
        Err(error) => return Err(error),
    };
    match spoken {
        Some(1) => Ok(Handshake { connection, serves_this_dir: false }),
        Some(message::VERSION) => {
            let Message { opcode, text, .. } = exchange(&connection, Opcode::Place, "", &[])?;
            if opcode == Opcode::Done && text == message::directory_text(dir)? {
                return Ok(Handshake { connection, serves_this_dir: true });
            }
            Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the keeper serves another directory"))
        }
        _ => {
            let what = format!("it speaks no version up to {} of the keeper's protocol", message::VERSION);
            Err(io::Error::new(io::ErrorKind::InvalidData, what))
        }
    }
}

/// The same, once the keeper has noticed that its socket is gone, and made it again.
fn handshake_within(address: &SocketAddrUnix, dir: &File, max: Duration) -> io::Result<Handshake> {
    let began = Instant::now();
    loop {
        match handshake(address, dir) {
            Err(error) if is_unanswered(&error) && began.elapsed() < max => thread::sleep(SOCKET_POLL),
            handshake => return handshake,
        }
    }
}

fn exchange(connection: &OwnedFd, opcode: Opcode, text: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<Message> {
    message::send(connection.as_fd(), opcode, text, descriptors)?;
    message::receive(connection.as_fd())?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
}

fn check_done(answer: &Message) -> io::Result<()> {
    if answer.opcode == Opcode::Done { Ok(()) } else { Err(io::Error::other("the keeper refused")) }
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

    /// A keeper that says what one of this version said. One of version 0 leaves at the first word it does not know.
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
                    // A client of this version greets each keeper in the same way.
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
    fn every_keeper_that_was_left_is_spoken_to() {
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
