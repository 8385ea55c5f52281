//! Signals to us: what stops the command, what is passed on to it, and what suspends both.
//!
//! A `run` that a signal ended would leave its command running unseen. So every signal that would end or suspend us, and
//! that can be taken over, is. Those that are ignored here (nohup, a shell's background jobs) stay ignored.

use std::{
    fs, io,
    task::{Context, Poll},
};

use apm2_model::signal::Signal;
use nix::libc;
use tokio::signal::unix::{self, SignalKind};

/// Those that ask us to end.
const STOPPING: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Those that mean what the command makes of them. Real-time signals are, too.
const PASSED_ON: [i32; 11] = [
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGIO,
    libc::SIGPWR,
    libc::SIGSTKFLT,
    libc::SIGXCPU,
    libc::SIGCONT,
];

/// What a signal asks us for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// To stop the command; to kill it, if it is not the first.
    Stop { signal: Signal, is_first: bool },
    /// To pass it on to the command.
    PassOn(Signal),
    /// To suspend the command and ourselves (Ctrl-Z).
    Suspend,
}

/// The signals that are taken over.
pub(crate) struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    /// Takes the signals over, from the default that would end or suspend us.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn listen() -> io::Result<Self> {
        // A limit on file sizes becomes an error of the write, and not our death.
        drop(unix::signal(SignalKind::from_raw(libc::SIGXFSZ))?);
        let ignored = ignored_mask(&fs::read_to_string("/proc/self/status").unwrap_or_default());
        let real_time = libc::SIGRTMIN()..=libc::SIGRTMAX();
        let wanted = STOPPING.into_iter().chain(PASSED_ON).chain([libc::SIGTSTP]).chain(real_time);
        let wanted = wanted.filter_map(|number| Signal::from_number(u8::try_from(number).ok()?));
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

    /// Calls `heard` for each signal that arrives, for ever.
    pub(crate) async fn forward(mut self, mut heard: impl FnMut(Heard)) {
        let mut is_first = true;
        loop {
            let signal = self.next().await;
            heard(match i32::from(signal.number()) {
                libc::SIGTSTP => Heard::Suspend,
                number if STOPPING.contains(&number) => {
                    Heard::Stop { signal, is_first: std::mem::replace(&mut is_first, false) }
                }
                _ => Heard::PassOn(signal),
            });
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
