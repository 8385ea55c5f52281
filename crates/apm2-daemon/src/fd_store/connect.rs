//! The socket of a file descriptor store: listening, connecting, and the handshake.

use std::{
    fs::File,
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::PathBuf,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::{Errno, retry_on_intr},
    net::{
        AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
        sockopt::{Timeout, set_socket_timeout},
    },
};

use crate::{
    address::is_unanswered,
    fd_store::message::{self, Message, Opcode},
};

/// Timeout for an answer. A store that takes longer counts as hung, and is replaced. The timeout is long, because the
/// descriptors of an earlier daemon's runs are lost with the store that is replaced, and because a process can be delayed by
/// seconds on a machine that is busy, suspended or short of memory.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Interval of the connection attempts while a store creates its socket again.
const SOCKET_POLL: Duration = Duration::from_millis(20);

/// Backlog of the socket (listen(2)).
const BACKLOG: i32 = 4;

/// Creates a socket that listens at `path`.
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
    // A signal interrupts a call on a socket with a timeout even with SA_RESTART (signal(7)), so the call is repeated.
    retry_on_intr(|| match connect(&connection, address) {
        Err(Errno::ISCONN) => Ok(()),
        connected => connected,
    })?;
    Ok(connection)
}

/// A connection to a store after the exchange of versions.
pub(crate) struct Handshake {
    pub(crate) connection: OwnedFd,
    /// Whether the store has confirmed that it serves the directory in which its socket was found.
    pub(crate) serves_this_dir: bool,
}

/// Connects to the store whose socket is in `dir`. A store that serves another directory counts as missing: in a
/// hard-linked copy of the directory, the socket file is that of the original directory.
pub(crate) fn handshake(address: &SocketAddrUnix, dir: &File) -> io::Result<Handshake> {
    let connection = connect_to(address)?;
    let spoken = match exchange(&connection, Opcode::Hello, &message::VERSION.to_string(), &[]) {
        Ok(Message { opcode: Opcode::Done, text, .. }) => text.parse::<u32>().ok(),
        Ok(_) => None,
        // A store of version 0 closes the connection at an unknown opcode. It knows all opcodes except `hello`.
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
            Err(io::Error::new(io::ErrorKind::ConnectionRefused, "the file descriptor store serves another directory"))
        }
        _ => {
            let what = format!("the file descriptor store supports no protocol version up to {}", message::VERSION);
            Err(io::Error::new(io::ErrorKind::InvalidData, what))
        }
    }
}

/// Like [`handshake`], but waits up to `max` while one of the processes `stores`, which are pidfds, runs: a store may first have
/// to notice that its socket file is missing, and create it again. A store whose directory was removed ends instead.
pub(crate) fn handshake_while_running(
    address: &SocketAddrUnix,
    dir: &File,
    mut stores: Vec<OwnedFd>,
    max: Duration,
) -> io::Result<Handshake> {
    let began = Instant::now();
    loop {
        let is_last = stores.is_empty() || began.elapsed() >= max;
        match handshake(address, dir) {
            Err(error) if is_unanswered(&error) && !is_last => {}
            handshake => return handshake,
        }
        remove_ended(&mut stores, SOCKET_POLL)?;
    }
}

/// Waits until one of the processes `stores`, which are pidfds, has ended, at most for `max`. Removes those that have ended.
fn remove_ended(stores: &mut Vec<OwnedFd>, max: Duration) -> io::Result<()> {
    let mut polled: Vec<_> = stores.iter().map(|store| PollFd::new(store, PollFlags::IN)).collect();
    match poll(&mut polled, Timespec::try_from(max).ok().as_ref()) {
        Ok(_) => {}
        Err(Errno::INTR) => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let mut has_ended = polled.iter().map(|store| !store.revents().is_empty()).collect::<Vec<_>>().into_iter();
    stores.retain(|_| !has_ended.next().unwrap_or(false));
    Ok(())
}

pub(crate) fn exchange(
    connection: &OwnedFd,
    opcode: Opcode,
    text: &str,
    descriptors: &[BorrowedFd<'_>],
) -> io::Result<Message> {
    message::send(connection.as_fd(), opcode, text, descriptors)?;
    message::receive(connection.as_fd())?.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    #[test]
    fn the_wait_for_a_socket_ends_with_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let address = SocketAddrUnix::new(dir.path().join("none")).unwrap();
        let mut stores: Vec<_> = (0..2).map(|_| Command::new("sleep").arg("0.1").spawn().unwrap()).collect();
        let pidfds =
            stores.iter().map(|store| pidfd_open(Pid::from_child(store), PidfdFlags::empty()).unwrap()).collect();
        let (began, max) = (Instant::now(), Duration::from_secs(600));
        let result = handshake_while_running(&address, &File::open(dir.path()).unwrap(), pidfds, max);
        assert!(is_unanswered(&result.err().unwrap()));
        assert!(began.elapsed() < max);
        for store in &mut stores {
            store.wait().unwrap();
        }
    }
}
