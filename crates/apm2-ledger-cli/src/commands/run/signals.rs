//! Signals to us, as requests to stop the process.

use std::{
    fs, io,
    task::{Context, Poll},
};

use apm2_core::process::Signal;
use tokio::signal::unix::{self, SignalKind};

/// The signals that ask us to end: SIGINT, SIGTERM and, unless we were started to survive it (nohup), SIGHUP.
pub(super) struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    /// Takes the signals over, from the default that would end us.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(super) fn listen() -> io::Result<Self> {
        let ignored = ignored_mask(&fs::read_to_string("/proc/self/status").unwrap_or_default());
        let hangup = Signal::from_number(1).into_iter();
        let wanted = [Signal::INT, Signal::TERM].into_iter().chain(hangup);
        let heeded = wanted.filter(|signal| ignored & (1 << (signal.number() - 1)) == 0);
        let listening = heeded.map(|signal| {
            let kind = SignalKind::from_raw(i32::from(signal.number()));
            unix::signal(kind).map(|stream| (signal, stream))
        });
        listening.collect::<io::Result<_>>().map(Self)
    }

    /// The next signal that arrives.
    async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Signal> {
        for (signal, stream) in &mut self.0 {
            if stream.poll_recv(context) == Poll::Ready(Some(())) {
                return Poll::Ready(*signal);
            }
        }
        Poll::Pending
    }

    /// Calls `stop` for each signal that arrives, for ever. The first one asks for a stop; each further one for a stop at
    /// once, and nobody waits for our outputs then either.
    pub(super) async fn forward(mut self, mut stop: impl FnMut(Signal, bool)) {
        let mut is_first = true;
        loop {
            let signal = self.next().await;
            stop(signal, is_first);
            is_first = false;
        }
    }
}

/// The signals that are ignored, bit n-1 for signal n (proc(5), `SigIgn`).
fn ignored_mask(status: &str) -> u64 {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mask_of_ignored_signals_is_found() {
        assert_eq!(ignored_mask("Name:\tx\nSigBlk:\t0\nSigIgn:\t0000000000001001\nSigCgt:\t0\n"), 0x1001);
        assert_eq!(ignored_mask(""), 0);
    }
}
