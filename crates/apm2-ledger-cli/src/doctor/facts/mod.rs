//! The facts about an installation, as far as they can be read. Nothing is written and nothing is started.

pub(crate) mod agent;
pub(crate) mod clock;
pub(crate) mod daemon;
pub(crate) mod disk;
pub(crate) mod ecosystem;
pub(crate) mod kernel;
pub(crate) mod ledger;
pub(crate) mod limits;
pub(crate) mod nearest;
pub(crate) mod permissions;
pub(crate) mod session;
pub(crate) mod sockets;

use std::path::Path;

use crate::doctor::facts::{
    clock::ClockFacts, daemon::DaemonFacts, ecosystem::EcosystemFacts, kernel::KernelFacts, ledger::LedgerFacts,
    limits::LimitFacts, permissions::PermissionFacts, session::SessionFacts, sockets::SocketFacts,
};

/// All facts about an installation.
pub(crate) struct Facts {
    pub(crate) ledger: LedgerFacts,
    pub(crate) permissions: PermissionFacts,
    pub(crate) daemon: DaemonFacts,
    pub(crate) sockets: SocketFacts,
    pub(crate) limits: LimitFacts,
    pub(crate) kernel: KernelFacts,
    pub(crate) session: SessionFacts,
    pub(crate) clock: ClockFacts,
    /// `None` without an ecosystem file.
    pub(crate) ecosystem: Option<EcosystemFacts>,
}

impl Facts {
    /// Looks at the ledger in `dir`, its daemon, this machine, and the ecosystem file, if there is one. With `is_offline`, sends
    /// no request to the daemon.
    pub(crate) fn look(dir: &Path, ecosystem: Option<&Path>, is_offline: bool) -> Self {
        let ledger = LedgerFacts::look(dir);
        let daemon = DaemonFacts::look(dir, is_offline);
        let pid = daemon.pid();
        Self {
            permissions: PermissionFacts::look(dir),
            sockets: SocketFacts::look(dir),
            limits: LimitFacts::look(dir, pid),
            kernel: KernelFacts::look(dir),
            session: SessionFacts::look(pid),
            clock: ClockFacts::look(ledger.last_event()),
            ecosystem: ecosystem.map(|file| EcosystemFacts::look(file, dir, is_offline)),
            ledger,
            daemon,
        }
    }
}
