//! The signals that the daemon acts on.

use std::io;

use apm2_model::event::{actor::Actor, requester::Requester};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::state::ShutdownMode;

/// The signals that tell us to leave.
pub(crate) struct Signals {
    term: Signal,
    int: Signal,
    hup: Signal,
}

impl Signals {
    pub(crate) fn listen() -> io::Result<Self> {
        // A file size limit becomes an error of the write, and not our death. Once taken over, a signal stays so.
        drop(signal(SignalKind::from_raw(nix::libc::SIGXFSZ))?);
        // A SIGCHLD that our parent had ignored would make the kernel throw every exit status away (sigaction(2)).
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
            _ = self.hup.recv() => ShutdownMode::LeaveRunning,
        }
    }
}
