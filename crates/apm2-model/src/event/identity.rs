//! The identity of a process: `(boot id, pid namespace, pid, start time)`. A pid alone does not identify a process,
//! since the kernel reuses pids.

use uuid::Uuid;

/// The unique identity of a process on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// The id of the boot (random(4), `boot_id`) in which the process was started.
    pub boot_id: Uuid,
    /// The pid of the process. It is also the session id and the process group id.
    pub pid: u32,
    /// The start time of the process in clock ticks since boot (proc(5), field 22 of `stat`).
    pub start_ticks: u64,
    /// The inode of the pid namespace in which `pid` was read (pid_namespaces(7)). `None` in records of versions that
    /// did not record it, and where `/proc` does not show it.
    pub pid_namespace: Option<u64>,
}
