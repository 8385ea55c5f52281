//! Whether the processes of an earlier supervisor are visible in this pid namespace.
//!
//! A pid is valid in its own pid namespace only (pid_namespaces(7)). In another pid namespace, the pid is unused or
//! belongs to an unrelated process. A supervisor there must neither record the end of the process nor start a second
//! one. Before any action, it therefore checks that none of the recorded processes can be alive in a namespace that it
//! cannot see.

use std::{
    fs,
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
};

use apm2_model::{event::identity::ProcessIdentity, state::stream::Stream};

use crate::{
    os::{
        child::has_ended,
        marker::Marker,
        procfs::{is_in_another_namespace, pid_namespace},
    },
    supervisor::Supervisor,
};

/// The inode of the initial pid namespace, in which all processes are visible (`PROC_PID_INIT_INO` of the kernel).
const FIRST_NAMESPACE: u64 = 0xEFFF_FFFC;

/// The pid of the init process of a pid namespace. When it ends, the kernel kills all other processes of the namespace.
const INIT_PID: u32 = 1;

impl Supervisor {
    pub(crate) fn out_of_sight(&self, streams: &[Stream], supervisor_pid: impl FnOnce() -> Option<u32>) -> Vec<String> {
        let open = streams.iter().filter(|stream| !stream.handle.state.has_exited());
        let of_open = open.filter_map(|stream| Some((stream, stream.identity?)));
        let elsewhere: Vec<_> = of_open.filter(|(_, identity)| is_in_another_namespace(identity)).collect();
        if elsewhere.is_empty() {
            return Vec::new();
        }
        let supervisor_pid = supervisor_pid();
        let unseen = elsewhere.iter().filter(|(stream, identity)| self.may_be_alive(stream, identity, supervisor_pid));
        unseen
            .map(|(stream, identity)| format!("{} (pid {} there)", stream.handle.display_name(), identity.pid))
            .collect()
    }

    fn may_be_alive(&self, stream: &Stream, identity: &ProcessIdentity, supervisor_pid: Option<u32>) -> bool {
        // A pidfd is valid across namespaces.
        let held =
            self.inner.services.fd_store.as_ref().and_then(|fd_store| fd_store.peek(&marker(stream)).ok().flatten());
        if let Some(has_ended) = held.and_then(|held| has_ended(held.pidfd.as_fd())) {
            return !has_ended;
        }
        // When the init process of a pid namespace ends, all processes of the namespace end.
        if supervisor_pid == Some(INIT_PID) {
            return false;
        }
        // In the initial pid namespace, every process is visible. A namespace without a visible process therefore does
        // not exist any more.
        !(pid_namespace() == Some(FIRST_NAMESPACE) && identity.pid_namespace.is_some_and(is_empty))
    }
}

fn marker(stream: &Stream) -> String {
    Marker { place: None, stream: stream.id, run: stream.run }.to_string()
}

/// Whether this pid namespace contains no process of the supervisor's user. Returns false when an entry of `/proc`
/// cannot be read.
fn is_empty(namespace: u64) -> bool {
    let Ok(entries) = fs::read_dir("/proc") else { return false };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_none_or(|name| !name.bytes().all(|byte| byte.is_ascii_digit())) {
            continue;
        }
        // The field `NSpid` in `/proc/<pid>/status` has one pid for each pid namespace of the process. A process with
        // only one pid belongs to the namespace that `/proc` shows, which is not the namespace of this process.
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        if status
            .lines()
            .find_map(|line| line.strip_prefix("NSpid:"))
            .is_some_and(|pids| pids.split_whitespace().count() == 1)
        {
            continue;
        }
        match fs::metadata(entry.path().join("ns/pid")) {
            Ok(metadata) if metadata.ino() == namespace => return false,
            Ok(_) => {}
            // The process has ended, or it belongs to another user. Supervised processes run as the user of the
            // supervisor.
            Err(_) if !entry.path().exists() || is_another_users(&entry) => {}
            // A zombie has no link to its pid namespace in `/proc` any more.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => return false,
        }
    }
    true
}

fn is_another_users(entry: &fs::DirEntry) -> bool {
    entry.metadata().is_ok_and(|metadata| metadata.uid() != nix::unistd::geteuid().as_raw())
}
