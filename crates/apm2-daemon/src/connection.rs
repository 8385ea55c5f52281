//! The connection to one client: reads the call and sends frames.

use std::{future::Future, io, os::fd::OwnedFd, time::Duration};

use nix::unistd::Uid;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::UnixStream,
    time,
};

use crate::{
    descriptor,
    failure::{Failure, client_gone},
    frame::{LENGTH_BYTES, SocketFrame},
    peer::{is_trusted, peer_uid},
    protocol::{Call, DaemonReply, FailureKind, PROTOCOL_VERSION},
};

/// Timeout for the call of a client.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Timeout for sending an answer.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Interval at which [`DaemonReply::Alive`] is sent to a client that waits.
pub(crate) const ALIVE_INTERVAL: Duration = Duration::from_secs(9);

/// The connection to one client.
pub(crate) struct Connection {
    pub(crate) stream: UnixStream,
}

impl Connection {
    /// Reads the call of the client, and the file descriptor that was sent with it.
    pub(crate) async fn call(&mut self) -> io::Result<(Call, Option<OwnedFd>)> {
        let read = async {
            let mut length = [0; LENGTH_BYTES];
            let descriptor = self.begin(&mut length).await?;
            let mut body = vec![0; SocketFrame::length(length)?];
            self.stream.read_exact(&mut body).await?;
            io::Result::Ok((SocketFrame::from_body(body)?, descriptor))
        };
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let (SocketFrame::Json(body), descriptor) = time::timeout(CALL_TIMEOUT, read).await?? else {
            return Err(invalid("it is not JSON".to_owned()));
        };
        let version = serde_json::from_slice::<serde_json::Value>(&body)
            .ok()
            .and_then(|call| call.get("version").and_then(serde_json::Value::as_u64));
        if version != Some(u64::from(PROTOCOL_VERSION)) {
            return Err(invalid(format!(
                "it is of another version than {PROTOCOL_VERSION}; stop the daemon, or use its own client"
            )));
        }
        // The error must not quote the input, which may contain a secret. Only the position of the error is reported.
        let call = serde_json::from_slice(&body)
            .map_err(|error| invalid(format!("line {}, column {}", error.line(), error.column())))?;
        Ok((call, descriptor))
    }

    /// Fills `bytes` from the socket. Returns the file descriptor that was sent with these bytes, if there is one.
    pub(crate) async fn begin(&mut self, bytes: &mut [u8]) -> io::Result<Option<OwnedFd>> {
        let (mut read, mut descriptor) = (0, None);
        while let Some(rest) = bytes.get_mut(read..).filter(|rest| !rest.is_empty()) {
            self.stream.readable().await?;
            match self.stream.try_io(Interest::READABLE, || descriptor::receive(&self.stream, rest)) {
                Ok((0, _)) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok((received, ancillary)) => {
                    read += received;
                    descriptor = descriptor.or(ancillary);
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(descriptor)
    }

    pub(crate) async fn reply(&mut self, reply: &DaemonReply) -> io::Result<()> {
        self.send(&SocketFrame::Json(serde_json::to_vec(reply)?)).await
    }

    pub(crate) async fn send(&mut self, frame: &SocketFrame) -> io::Result<()> {
        let bytes = frame.to_bytes()?;
        time::timeout(ACCEPT_TIMEOUT, self.stream.write_all(&bytes)).await?
    }

    /// Waits until the client has disconnected. The client sends nothing after its call, so the socket becomes readable
    /// only at its end. Cancel safe.
    pub(crate) async fn left(&mut self) {
        // The socket is read, because its readiness persists until a read returns `WouldBlock`.
        let _ = self.stream.read(&mut [0]).await;
    }

    /// Spawns `work`, which is completed even if the client disconnects. Sends [`DaemonReply::Alive`] until the work is
    /// complete.
    pub(crate) async fn wait_for<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        let mut task = tokio::spawn(work);
        loop {
            tokio::select! {
                done = &mut task => return done.map_err(|error| Failure::new(FailureKind::Failed, error.to_string())),
                () = time::sleep(ALIVE_INTERVAL) => self.reply(&DaemonReply::Alive).await.map_err(|_| client_gone())?,
            }
        }
    }
}

/// The user id of the peer, if it is the user of this process or root.
pub(crate) fn peer(stream: &UnixStream) -> Result<Uid, String> {
    let uid = peer_uid(stream).map_err(|error| error.to_string())?;
    if is_trusted(uid) { Ok(uid) } else { Err(format!("it is user {uid}'s")) }
}
