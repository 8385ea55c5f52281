//! The child's output to ours, byte for byte, and our remarks between it.
//!
//! One task writes, so that a remark about an exit stands behind the last output before it. An output of ours that
//! breaks is given up on, and the child never notices.

use std::io;

use apm2_core::process::{OutputChunk, OutputSource};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _, Stderr, Stdout},
    sync::mpsc::{Receiver, Sender, channel},
};

use crate::error::PREFIX;

/// Remarks that wait to be said; more are dropped. The ledger has all that they say.
const REMARKS_WAITING_MAX: usize = 64;

/// Where remarks are left to be said. Never waits.
#[derive(Debug, Clone)]
pub(super) struct Remarks(Sender<String>);

impl Remarks {
    /// Leaves one line; `text` is escaped already.
    pub(super) fn say(&self, text: &str) {
        // Full when nobody reads our standard error: then nobody would read this either.
        let _ = self.0.try_send(format!("{PREFIX}{text}\n"));
    }
}

/// A place for remarks, and where they come out.
pub(super) fn remarks() -> (Remarks, Receiver<String>) {
    let (sender, receiver) = channel(REMARKS_WAITING_MAX);
    (Remarks(sender), receiver)
}

/// Writes until both channels have ended.
pub(super) async fn pump(mut chunks: Receiver<OutputChunk>, mut remarks: Receiver<String>) {
    let mut stdout: Outlet<Stdout> = Outlet(Some(tokio::io::stdout()));
    let mut stderr: Outlet<Stderr> = Outlet(Some(tokio::io::stderr()));
    loop {
        // Output first: what a run wrote is in the channel before anything is remarked on its end.
        tokio::select! {
            biased;
            Some(chunk) = chunks.recv() => match chunk.source {
                OutputSource::Stdout => {
                    if let Some(error) = stdout.write(&chunk.bytes).await {
                        let lost = format!("{PREFIX}stdout is lost from here on: {error}\n");
                        stderr.write(lost.as_bytes()).await;
                    }
                }
                OutputSource::Stderr => {
                    stderr.write(&chunk.bytes).await;
                }
            },
            Some(remark) = remarks.recv() => {
                stderr.write(remark.as_bytes()).await;
            }
            else => break,
        }
    }
}

/// One of our outputs; `None` once it is broken.
struct Outlet<W>(Option<W>);

impl<W: AsyncWrite + Unpin> Outlet<W> {
    /// Writes all of `bytes`, or nothing any more. Returns the error that broke it, once, unless it is just that its
    /// reader has gone.
    async fn write(&mut self, bytes: &[u8]) -> Option<io::Error> {
        let out = self.0.as_mut()?;
        let written = match out.write_all(bytes).await {
            Ok(()) => out.flush().await,
            Err(error) => Err(error),
        };
        let error = written.err()?;
        self.0 = None;
        (error.kind() != io::ErrorKind::BrokenPipe).then_some(error)
    }
}
