//! Whether the processes of an earlier supervisor are visible in this pid namespace.
//!
//! A pid is valid in its own pid namespace only (pid_namespaces(7)). A supervisor in another one finds no process by it, or an
//! unrelated one, and must neither record an end nor start a second process. So it checks before any action that none of the
//! processes can be alive where it cannot see it.

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

/// The inode of the first pid namespace of a boot, in which all processes are visible (`PROC_PID_INIT_INO` of the kernel).
const FIRST_NAMESPACE: u64 = 0xEFFF_FFFC;

/// The pid of the process whose end ends all others of its pid namespace.
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
        // The end of the first process of a namespace is the end of all of them.
        if supervisor_pid == Some(INIT_PID) {
            return false;
        }
        // In the initial namespace every process is visible: a namespace without a process is gone.
        !(pid_namespace() == Some(FIRST_NAMESPACE) && identity.pid_namespace.is_some_and(is_empty))
    }
}

fn marker(stream: &Stream) -> String {
    Marker { place: None, stream: stream.id, run: stream.run }.to_string()
}

/// Whether no process of our user is in this pid namespace. False when an entry of `/proc` cannot be read.
fn is_empty(namespace: u64) -> bool {
    let Ok(entries) = fs::read_dir("/proc") else { return false };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_none_or(|name| !name.bytes().all(|byte| byte.is_ascii_digit())) {
            continue;
        }
        // A process with a single pid is in the namespace of this `/proc`, which is another one.
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
            // The process has ended, or belongs to another user: supervised processes run as our user.
            Err(_) if !entry.path().exists() || is_another_users(&entry) => {}
            // A zombie has no namespace link any more.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => return false,
        }
    }
    true
}

fn is_another_users(entry: &fs::DirEntry) -> bool {
    entry.metadata().is_ok_and(|metadata| metadata.uid() != nix::unistd::geteuid().as_raw())
}
