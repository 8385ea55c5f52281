//! The process at the other end of a Unix socket (SO_PEERCRED, unix(7)).

use std::{fs, io, os::fd::AsFd};

use nix::{
    sys::socket::{getsockopt, sockopt::PeerCredentials},
    unistd::{Uid, geteuid},
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// The user id of the peer. It is valid even if the pid of the peer is 0, as for a process in another pid namespace.
pub(crate) fn peer_uid(socket: &impl AsFd) -> io::Result<Uid> {
    Ok(Uid::from_raw(getsockopt(socket, PeerCredentials)?.uid()))
}

/// Whether a process of this user may take part in the protocols: the user of this process or root.
pub(crate) fn is_trusted(user: Uid) -> bool {
    user == geteuid() || user.is_root()
}

/// The pid of the peer; `None` if it is not visible in this pid namespace.
pub(crate) fn peer_pid(socket: &impl AsFd) -> Option<u32> {
    let pid = getsockopt(socket, PeerCredentials).ok()?.pid();
    u32::try_from(pid).ok().filter(|pid| *pid > 0)
}

/// Whether the peer is known to be in another pid namespace (pid_namespaces(7)): the peer is not visible here, or it
/// has a different pid in a nested namespace. If `/proc` cannot be read, the result is false.
pub(crate) fn is_in_another_namespace(socket: &impl AsFd) -> io::Result<bool> {
    let pid = getsockopt(socket, PeerCredentials)?.pid();
    if pid == 0 {
        return Ok(true);
    }
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    Ok(status
        .lines()
        .find_map(|line| line.strip_prefix("NSpid:"))
        .is_some_and(|pids| pids.split_whitespace().count() > 1))
}

/// Whether the peer has closed its socket. A peer that has only shut down its writing side (shutdown(2)) has not closed
/// it.
pub(crate) fn has_hung_up(socket: &impl AsFd) -> bool {
    let mut polled = [PollFd::new(socket, PollFlags::empty())];
    let polled_now = poll(&mut polled, Some(&Timespec::default()));
    polled_now.is_ok() && polled.iter().any(|polled| polled.revents().intersects(PollFlags::HUP | PollFlags::ERR))
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::Shutdown, os::unix::net::UnixStream};

    use super::*;

    #[test]
    fn a_process_is_its_own_peer() {
        let (one, _other) = UnixStream::pair().unwrap();
        assert_eq!(peer_uid(&one).unwrap(), geteuid());
        assert!(!is_in_another_namespace(&one).unwrap());
    }

    #[test]
    fn only_a_closed_socket_has_hung_up() {
        let (mut one, other) = UnixStream::pair().unwrap();
        assert!(!has_hung_up(&one));
        other.shutdown(Shutdown::Write).unwrap();
        assert!(!has_hung_up(&one), "it still waits for an answer");
        one.write_all(b"answer").unwrap();
        drop(other);
        assert!(has_hung_up(&one));
    }
}
