//! The connection to one client: its call, and the frames that are sent to it.

use std::{future::Future, io, os::fd::OwnedFd, time::Duration};

use nix::unistd::{Uid, geteuid};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::UnixStream,
    time,
};

use crate::{
    descriptor,
    failure::{Failure, client_gone},
    frame::{Frame, LENGTH_BYTES},
    protocol::{Call, FailureKind, PROTOCOL_VERSION, Reply},
};

/// How long a client may take to say what it wants.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a client may take to accept an answer.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often a client that waits is told that we are alive.
pub(crate) const ALIVE_INTERVAL: Duration = Duration::from_secs(9);

/// The two ends of a conversation.
pub(crate) struct Connection {
    pub(crate) stream: UnixStream,
}

impl Connection {
    /// What the client asks for, and the descriptor that came beside it.
    pub(crate) async fn call(&mut self) -> io::Result<(Call, Option<OwnedFd>)> {
        let read = async {
            let mut length = [0; LENGTH_BYTES];
            let descriptor = self.begin(&mut length).await?;
            let mut body = vec![0; Frame::length(length)?];
            self.stream.read_exact(&mut body).await?;
            io::Result::Ok((Frame::from_body(body)?, descriptor))
        };
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let (Frame::Json(body), descriptor) = time::timeout(CALL_TIMEOUT, read).await?? else {
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
        // What is wrong may stand beside a secret: the place is told, and no more.
        let call = serde_json::from_slice(&body)
            .map_err(|error| invalid(format!("line {}, column {}", error.line(), error.column())))?;
        Ok((call, descriptor))
    }

    /// Reads the first bytes of a call, and the descriptor that came beside them.
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

    pub(crate) async fn reply(&mut self, reply: &Reply) -> io::Result<()> {
        self.send(&Frame::Json(serde_json::to_vec(reply)?)).await
    }

    pub(crate) async fn send(&mut self, frame: &Frame) -> io::Result<()> {
        let bytes = frame.to_bytes()?;
        time::timeout(ACCEPT_TIMEOUT, self.stream.write_all(&bytes)).await?
    }

    /// Waits until the client has left: it has said all that it has to say, so whatever comes is the end. Loses nothing when
    /// dropped.
    pub(crate) async fn left(&mut self) {
        // Read, and not waited for to be readable: that stays so until a read finds nothing.
        let _ = self.stream.read(&mut [0]).await;
    }

    /// Waits for `work`, which goes on by itself if the client leaves, and says meanwhile that we are alive.
    pub(crate) async fn wait_for<T: Send + 'static>(
        &mut self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Failure> {
        let mut task = tokio::spawn(work);
        loop {
            tokio::select! {
                done = &mut task => return done.map_err(|error| Failure::new(FailureKind::Failed, error.to_string())),
                () = time::sleep(ALIVE_INTERVAL) => self.reply(&Reply::Alive).await.map_err(|_| client_gone())?,
            }
        }
    }
}

/// The user at the other end: ours, or root.
pub(crate) fn peer(stream: &UnixStream) -> Result<Uid, String> {
    let uid = stream.peer_cred().map_err(|error| error.to_string())?.uid();
    let uid = Uid::from_raw(uid);
    if uid == geteuid() || uid.is_root() { Ok(uid) } else { Err(format!("it is user {uid}'s")) }
}
