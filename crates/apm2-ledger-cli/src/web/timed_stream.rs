//! A connection that ends when its client does not read.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, Sleep, sleep},
};

/// A connection whose writes fail when they make no progress for a time.
pub(crate) struct TimedStream {
    stream: TcpStream,
    stall_max: Duration,
    deadline: Pin<Box<Sleep>>,
    is_stalled: bool,
}

impl TimedStream {
    /// A connection in which nothing of what is to be sent may fail to be sent for `stall_max`.
    pub(crate) fn new(stream: TcpStream, stall_max: Duration) -> Self {
        Self { stream, stall_max, deadline: Box::pin(sleep(stall_max)), is_stalled: false }
    }

    /// Takes note of the result of a write.
    fn timed<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.is_stalled = false;
            return written;
        }
        if !self.is_stalled {
            self.is_stalled = true;
            self.deadline.as_mut().reset(Instant::now() + self.stall_max);
        }
        ready!(self.deadline.as_mut().poll(context));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for TimedStream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for TimedStream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.timed(written, context)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.stream).poll_flush(context);
        this.timed(flushed, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
        time::timeout,
    };

    use super::*;

    /// More than the kernel keeps of a connection.
    const LARGE: usize = 64 << 20;

    /// Longest duration of a test.
    const TEST_MAX: Duration = Duration::from_secs(60);

    async fn connected(stall_max: Duration) -> (TimedStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (TimedStream::new(listener.accept().await.unwrap().0, stall_max), client)
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_is_given_up() {
        let (mut stream, client) = connected(Duration::from_millis(100)).await;
        let written = timeout(TEST_MAX, stream.write_all(&vec![0; LARGE])).await.expect("it is given up");
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(client);
    }

    #[tokio::test]
    async fn a_client_that_reads_gets_everything() {
        let (mut stream, mut client) = connected(TEST_MAX).await;
        let write = async {
            stream.write_all(&vec![0; LARGE]).await.unwrap();
            stream.shutdown().await.unwrap();
        };
        let mut read = Vec::new();
        let (_, count) = timeout(TEST_MAX, async { tokio::join!(write, client.read_to_end(&mut read)) }).await.unwrap();
        assert_eq!(count.unwrap(), LARGE);
    }
}
