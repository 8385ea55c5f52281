//! The identity of a process beyond its pid: `(boot id, pid namespace, pid, start time)`, since pids are reused (law 6).

use uuid::Uuid;

/// The unique identity of a process on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// The boot it was started in.
    pub boot_id: Uuid,
    /// Its pid, which is also the id of its session and of its process group.
    pub pid: u32,
    /// Its start time in clock ticks since boot (proc(5), field 22 of `stat`).
    pub start_ticks: u64,
    /// The inode of the pid namespace in which `pid` was read (pid_namespaces(7)); `None` in records from before it was
    /// recorded, and where `/proc` does not show it.
    pub pid_namespace: Option<u64>,
}
