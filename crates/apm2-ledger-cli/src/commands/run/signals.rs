//! The signals that `run` handles: signals that stop the command, signals that are passed on to it, and signals that
//! suspend both.
//!
//! If a signal ended `run`, the command would continue unattended. For that reason, `run` handles every signal that
//! would end or suspend it and that can be caught. Signals that are ignored at the start (nohup(1), background jobs of
//! a shell) stay ignored.

use std::{
    fs, io,
    task::{Context, Poll},
};

use apm2_model::signal::Signal;
use nix::libc;
use tokio::signal::unix::{self, SignalKind};

/// Signals that stop the command.
const STOPPING: [i32; 3] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP];

/// Signals that are passed on to the command, since the command defines their meaning. Real-time signals are passed on,
/// too.
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

/// The meaning of a signal to `run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalMeaning {
    /// Stop the command. From the second such signal on, kill the command.
    Stop { signal: Signal, is_first: bool },
    /// Pass the signal on to the command.
    PassOn(Signal),
    /// Suspend the command and then `run` (Ctrl-Z).
    Suspend,
}

/// The signals that `run` handles.
pub(crate) struct RunSignals(Vec<(Signal, unix::Signal)>);

impl RunSignals {
    /// Blocks the signals, so that they are received instead of ending or suspending `run`.
    ///
    /// # Errors
    /// A system call fails.
    pub(crate) fn listen() -> io::Result<Self> {
        // If SIGXFSZ is ignored, a write beyond the file size limit fails with EFBIG instead of ending the process.
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

    /// Waits for the next of these signals.
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

    /// Calls `heard` for each signal that arrives. Does not return.
    pub(crate) async fn forward(mut self, mut heard: impl FnMut(SignalMeaning)) {
        let mut is_first = true;
        loop {
            let signal = self.next().await;
            heard(match i32::from(signal.number()) {
                libc::SIGTSTP => SignalMeaning::Suspend,
                number if STOPPING.contains(&number) => {
                    SignalMeaning::Stop { signal, is_first: std::mem::replace(&mut is_first, false) }
                }
                _ => SignalMeaning::PassOn(signal),
            });
        }
    }
}

/// The ignored signals as a bit mask: bit n-1 stands for signal n (`SigIgn` in proc(5)).
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
