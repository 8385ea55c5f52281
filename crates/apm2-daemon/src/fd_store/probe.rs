//! Checks whether a file descriptor store runs and answers.

use std::{fs::File, io, path::Path};

use rustix::net::SocketAddrUnix;

use crate::{
    address::{FD_STORE_SOCKET, is_unanswered, short},
    fd_store::connect::handshake,
};

/// Whether the file descriptor store of the ledger in `dir` answers. False if no store listens on its socket. Starts no
/// store.
///
/// # Errors
/// The store does not answer within its timeout, serves another directory, or its socket cannot be used.
pub fn answers(dir: &Path) -> io::Result<bool> {
    let dir = match File::open(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    let address = SocketAddrUnix::new(short(&dir, FD_STORE_SOCKET))?;
    match handshake(&address, &dir) {
        Ok(_) => Ok(true),
        Err(error) if is_unanswered(&error) => Ok(false),
        Err(error) => Err(error),
    }
}
