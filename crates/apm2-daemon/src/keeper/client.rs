//! The daemon's side of the keeper: it starts one where there is none, and gives a new one what the old one held.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use apm2_core::process::{HeldRun, OutputHolder};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
    sockopt::{Timeout, set_socket_timeout},
};

use super::message::{self, Message, Word};
use crate::address::{KEEPER_SOCKET, short};

/// How long the keeper may take for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4;

/// A holder of outputs in a process of its own.
pub struct KeeperClient {
    dir: PathBuf,
    /// The program that becomes the keeper, with its arguments. Its stdin is the listening socket.
    command: Vec<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    connection: Option<OwnedFd>,
    /// What the keeper was given, for another one if it dies.
    given: BTreeMap<String, Given>,
}

#[derive(Default)]
struct Given {
    outputs: Vec<OwnedFd>,
    process: Option<OwnedFd>,
}

impl KeeperClient {
    /// The keeper of the ledger in `dir`, of which the caller is the owner. `command` starts one where there is none.
    #[must_use]
    pub fn new(dir: &Path, command: Vec<String>) -> Self {
        Self { dir: dir.to_owned(), command, state: Mutex::default() }
    }

    /// Nothing is left half-done under this lock that a second try would not do again.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends a message and waits for its answer; once more with a new keeper if the old one is gone.
    fn ask(&self, state: &mut State, word: Word, text: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<Message> {
        if let Some(connection) = &state.connection {
            match exchange(connection, word, text, descriptors) {
                Ok(answer) => return Ok(answer),
                Err(error) => tracing::warn!(%error, "the keeper is gone; another one takes its place"),
            }
            state.connection = None;
        }
        let connection = self.connect(state)?;
        let answer = exchange(&connection, word, text, descriptors)?;
        state.connection = Some(connection);
        Ok(answer)
    }

    /// Connects to the keeper that is there, or to a new one, and gives it what it does not have.
    fn connect(&self, state: &State) -> io::Result<OwnedFd> {
        let dir = File::open(&self.dir)?;
        let address = SocketAddrUnix::new(short(&dir, KEEPER_SOCKET))?;
        let connection = match to(&address) {
            Ok(connection) => connection,
            Err(_) => {
                self.start(&dir, &address)?;
                to(&address)?
            }
        };
        for (run, given) in &state.given {
            let outputs: Vec<_> = given.outputs.iter().map(OwnedFd::as_fd).collect();
            exchange(&connection, Word::HoldOutputs, run, &outputs)?;
            if let Some(process) = &given.process {
                exchange(&connection, Word::HoldProcess, run, &[process.as_fd()])?;
            }
        }
        Ok(connection)
    }

    /// Starts a keeper. The socket listens before the keeper runs: nobody has to wait for it.
    fn start(&self, dir: &File, address: &SocketAddrUnix) -> io::Result<()> {
        let Some((program, args)) = self.command.split_first() else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no program to keep outputs"));
        };
        match std::fs::remove_file(short(dir, KEEPER_SOCKET)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let listener = socket()?;
        bind(&listener, address)?;
        listen(&listener, BACKLOG)?;
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::from(listener))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        // Reaped by whoever waits for it: it may well outlive us.
        std::thread::Builder::new().name("apm2-keeper-end".to_owned()).spawn(move || child.wait())?;
        Ok(())
    }
}

impl OutputHolder for KeeperClient {
    fn hold_outputs(&self, run: &str, outputs: &[BorrowedFd<'_>]) -> io::Result<()> {
        let mut state = self.state();
        let copies = outputs.iter().map(|output| output.try_clone_to_owned()).collect::<io::Result<_>>()?;
        // Known after it is held: a new keeper is given it once.
        accepted(&self.ask(&mut state, Word::HoldOutputs, run, outputs)?)?;
        state.given.insert(run.to_owned(), Given { outputs: copies, process: None });
        Ok(())
    }

    fn hold_process(&self, run: &str, pidfd: BorrowedFd<'_>) -> io::Result<()> {
        let mut state = self.state();
        accepted(&self.ask(&mut state, Word::HoldProcess, run, &[pidfd])?)?;
        if let Some(given) = state.given.get_mut(run) {
            given.process = Some(pidfd.try_clone_to_owned()?);
        }
        Ok(())
    }

    fn get(&self, run: &str) -> io::Result<Option<HeldRun>> {
        let mut state = self.state();
        let Message { word, text, descriptors } = self.ask(&mut state, Word::Get, run, &[])?;
        if word != Word::Done {
            return Ok(None);
        }
        let count: usize = text.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        let mut outputs = descriptors;
        let process = outputs.split_off(count.min(outputs.len())).into_iter().next();
        let copies = outputs.iter().map(OwnedFd::try_clone).collect::<io::Result<_>>()?;
        let copy = process.as_ref().map(OwnedFd::try_clone).transpose()?;
        state.given.insert(run.to_owned(), Given { outputs: copies, process: copy });
        Ok(Some(HeldRun { outputs, process }))
    }

    fn release(&self, run: &str) -> io::Result<()> {
        let mut state = self.state();
        state.given.remove(run);
        accepted(&self.ask(&mut state, Word::Release, run, &[])?)
    }

    fn held(&self) -> io::Result<Vec<String>> {
        let mut state = self.state();
        let Message { text, .. } = self.ask(&mut state, Word::List, "", &[])?;
        Ok(text.lines().map(str::to_owned).collect())
    }
}

fn socket() -> io::Result<OwnedFd> {
    Ok(socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

fn to(address: &SocketAddrUnix) -> io::Result<OwnedFd> {
    let connection = socket()?;
    set_socket_timeout(&connection, Timeout::Recv, Some(ANSWER_TIMEOUT))?;
    set_socket_timeout(&connection, Timeout::Send, Some(ANSWER_TIMEOUT))?;
    connect(&connection, address)?;
    Ok(connection)
}

fn exchange(connection: &OwnedFd, word: Word, text: &str, descriptors: &[BorrowedFd<'_>]) -> io::Result<Message> {
    message::send(connection.as_fd(), word, text, descriptors)?;
    message::receive(connection.as_fd())?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
}

fn accepted(answer: &Message) -> io::Result<()> {
    if answer.word == Word::Done { Ok(()) } else { Err(io::Error::other("the keeper refused")) }
}
