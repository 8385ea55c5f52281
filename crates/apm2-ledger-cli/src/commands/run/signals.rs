//! Signals to us, as requests to stop the child.

use std::{
    fs, io,
    task::{Context, Poll},
    time::Duration,
};

use apm2_core::{
    process::{Actor, Request, Signal},
    supervisor::StopRequest,
};
use tokio::{
    signal::unix::{self, SignalKind},
    sync::{mpsc::Sender, watch},
    task::AbortHandle,
};

/// Stop requests that wait; the first two say everything.
pub(super) const STOPS_WAITING_MAX: usize = 4;

/// Takes over the signals whose inherited treatment would harm us. A file size limit (`ulimit -f`) becomes an error of the
/// write, for the ledger to deal with, and not our death. And a SIGCHLD that our parent had ignored would make the kernel
/// throw every exit status away (sigaction(2)).
///
/// # Errors
/// When the kernel refuses.
pub(super) fn take_over_inherited() -> io::Result<()> {
    // Once taken over, a signal stays so; what arrives here is not needed.
    drop(unix::signal(SignalKind::from_raw(nix::libc::SIGXFSZ))?);
    unix::signal(SignalKind::child()).map(drop)
}

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

    /// Turns the first signal into a stop within `timeout` and each further one into a stop at once. From the second on
    /// nobody waits for our outputs either: they are cut off.
    pub(super) async fn forward(mut self, mut timeout: Duration, by: Actor, links: Links) {
        let mut is_first = true;
        loop {
            let signal = self.next().await;
            let request = Request { actor: by.clone(), reason: Some(format!("received {signal}")) };
            // Full: a stop at once has been asked for several times already.
            let _ = links.stops.try_send(StopRequest { timeout, request });
            links.asked.send_replace(true);
            if !is_first {
                links.output.abort();
            }
            (is_first, timeout) = (false, Duration::ZERO);
        }
    }
}

/// Whom a signal concerns.
pub(super) struct Links {
    /// The supervisor of the child.
    pub(super) stops: Sender<StopRequest>,
    /// Whoever wants to know that a stop was asked for.
    pub(super) asked: watch::Sender<bool>,
    /// The task that writes to our outputs.
    pub(super) output: AbortHandle,
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
