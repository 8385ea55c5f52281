//! The signals that the daemon handles, and their dispositions.

use std::io;

use apm2_model::event::{actor::Actor, requester::Requester};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::state::ShutdownMode;

/// The signals that shut the daemon down.
pub(crate) struct ShutdownSignals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl ShutdownSignals {
    pub(crate) fn listen() -> io::Result<Self> {
        // If SIGXFSZ is handled, a write beyond `RLIMIT_FSIZE` fails with EFBIG instead of ending the process.
        drop(signal(SignalKind::from_raw(nix::libc::SIGXFSZ))?);
        // If SIGCHLD is ignored because the parent ignored it, the kernel discards the exit status of every child
        // (sigaction(2)).
        drop(signal(SignalKind::child())?);
        Ok(Self {
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            hup: signal(SignalKind::hangup())?,
        })
    }

    pub(crate) async fn next(&mut self) -> ShutdownMode {
        let stopping = |name: &str| {
            let reason = Some(format!("the supervisor received {name}"));
            ShutdownMode::StopAll(Requester { actor: Actor::System, reason })
        };
        tokio::select! {
            _ = self.term.recv() => stopping("SIGTERM"),
            _ = self.int.recv() => stopping("SIGINT"),
            _ = self.hup.recv() => ShutdownMode::leave_because("the supervisor received SIGHUP"),
        }
    }
}
