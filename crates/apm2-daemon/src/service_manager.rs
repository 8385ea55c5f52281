//! Notifications to the service manager that started the daemon (sd_notify(3)).
//!
//! Implemented here because the crate `sd-notify` (0.5) cannot send to an abstract socket address, which
//! `NOTIFY_SOCKET` may hold.

use std::{
    env,
    ffi::OsStr,
    io,
    os::{
        linux::net::SocketAddrExt as _,
        unix::{
            ffi::OsStrExt as _,
            net::{SocketAddr, UnixDatagram},
        },
    },
};

/// Notifies the service manager that the daemon listens on its socket.
pub(crate) const READY: &str = "READY=1";

/// Notifies the service manager that the daemon has begun to shut down.
pub(crate) const STOPPING: &str = "STOPPING=1";

/// Sends `state` to the socket that `NOTIFY_SOCKET` names; without that variable there is no service manager. A failure is logged
/// and has no other effect: clients are served with or without a service manager.
pub(crate) fn notify(state: &str) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket, state) {
        tracing::warn!(%error, "could not notify the service manager");
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes().split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(socket: &OsStr, address: &SocketAddr) -> Vec<u8> {
        let receiver = UnixDatagram::bind_addr(address).unwrap();
        send(socket, READY).unwrap();
        let mut bytes = [0; 64];
        let length = receiver.recv(&mut bytes).unwrap();
        bytes.get(..length).unwrap().to_vec()
    }

    #[test]
    fn a_state_is_sent_to_a_path_and_to_an_abstract_address() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        assert_eq!(received(path.as_os_str(), &SocketAddr::from_pathname(&path).unwrap()), READY.as_bytes());
        let name = format!("apm2-notify-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        assert_eq!(received(OsStr::new(&format!("@{name}")), &address), READY.as_bytes());
    }
}
