//! The marker of a run: an environment variable that identifies the processes of the run, and the search for these
//! processes.

use std::{fmt, io};

use apm2_model::event::{identity::ProcessIdentity, stream_id::StreamId};
use nix::{errno::Errno, unistd::getsid};
use uuid::Uuid;

use crate::os::{
    group::{Member, read_unless_gone},
    procfs::{Stat, identify},
    search::{CombinedSearch, Found, Sighting, survey},
    unreaped_child::is_session_of_child,
};

/// The environment variable that marks the processes of a run, so that they can be found after the end of their supervisor.
pub const RUN_VARIABLE: &str = "APM2_RUN";

/// The identity of the directory of a ledger. It distinguishes runs of the ledger from runs of a copy of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerPlace {
    /// Random identifier of the directory.
    pub nonce: Uuid,
    /// Whether markers of version 1, which contain no directory identifier, belong to this ledger.
    pub has_old_markers: bool,
}

/// The version number of markers that contain a directory identifier.
const MARKER_VERSION: &str = "2";

/// The marker of a run: the value of [`RUN_VARIABLE`] in the environment of its processes:
///
/// ```text
/// <process id>/<instance>/<run>               version 1
/// 2:<place>/<process id>/<instance>/<run>     version 2
/// ```
///
/// The file descriptor store uses version 1 as its key, since a store belongs to one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Marker {
    /// The directory identifier of the ledger; `None` for version 1.
    pub(crate) place: Option<LedgerPlace>,
    /// The instance of the run.
    pub(crate) stream: StreamId,
    /// The number of the run.
    pub(crate) run: u64,
}

impl Marker {
    /// The marker as the value of the environment variable [`RUN_VARIABLE`].
    pub(crate) fn variable(&self) -> String {
        format!("{}{self}", self.place.map(|place| beginning(&place)).unwrap_or_default())
    }

    /// The beginnings of an environment entry with a marker of this ledger directory, one for each marker version.
    fn beginnings(&self) -> Vec<String> {
        match self.place {
            None => vec![format!("{RUN_VARIABLE}=")],
            Some(place) => {
                let ours = format!("{RUN_VARIABLE}={}", beginning(&place));
                if place.has_old_markers { vec![ours, format!("{RUN_VARIABLE}=")] } else { vec![ours] }
            }
        }
    }

    /// The environment entries that a process of the run can have, one for each marker version.
    fn variables(&self) -> Vec<String> {
        self.beginnings().iter().map(|beginning| format!("{beginning}{self}")).collect()
    }

    /// Whether the process was started with this marker in its environment. `false` if its environment may not be read.
    pub(crate) fn is_carried_by(&self, pid: u32) -> bool {
        let variables = self.variables();
        let is_one = |entry: &[u8]| variables.iter().any(|variable| entry == variable.as_bytes());
        has_variable(pid, is_one).is_ok_and(|found| found == Some(true))
    }

    /// The running processes with this marker, in any process group, and in any session but those of unreaped children
    /// of this supervisor.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) fn carriers(&self) -> io::Result<Vec<Member>> {
        CarrierQuery { variables: self.variables(), is_whole: true }.find()
    }

    /// The running processes with a marker of any run of this instance, in any session but those of unreaped children of
    /// this supervisor: the members of the session of a run are found without their markers.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) fn carriers_of_any_run(&self) -> io::Result<Vec<Member>> {
        self.of_any_run().find()
    }

    /// Like [`carriers_of_any_run`](Self::carriers_of_any_run), without a thread that waits.
    ///
    /// # Errors
    /// Those of [`carriers_of_any_run`](Self::carriers_of_any_run).
    pub(crate) async fn carriers_of_any_run_later(&self) -> io::Result<Vec<Member>> {
        SEARCH.find_later(self.of_any_run(), CarrierQuery::carriers_of_each).await
    }

    fn of_any_run(&self) -> CarrierQuery {
        let of_instance = format!("{}/{}/", self.stream.process_id, self.stream.instance);
        let variables = self.beginnings().iter().map(|beginning| format!("{beginning}{of_instance}")).collect();
        CarrierQuery { variables, is_whole: false }
    }

    /// The main process of the run, if it is alive: the oldest process that has the marker and leads a session.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub(crate) fn main_process(&self) -> io::Result<Option<ProcessIdentity>> {
        let leads = |member: &&Member| Stat::read(member.pid).is_some_and(|stat| stat.session == member.pid);
        // A descendant with the marker may also lead a session. The oldest process is the main process.
        let first =
            self.carriers()?.iter().filter(leads).min_by_key(|member| member.start_ticks).map(|member| member.pid);
        Ok(first.and_then(identify))
    }
}

static SEARCH: CombinedSearch<CarrierQuery, Member> = CombinedSearch::new();

/// A search for processes by their markers.
struct CarrierQuery {
    /// The environment entries of the processes, or their beginnings.
    variables: Vec<String>,
    /// Whether an entry has to be equal to one of `variables`, and not only to begin with it.
    is_whole: bool,
}

impl CarrierQuery {
    fn find(self) -> io::Result<Vec<Member>> {
        SEARCH.find(self, Self::carriers_of_each)
    }

    fn is_met_by(&self, entry: &[u8]) -> bool {
        let is_it = |variable: &[u8]| if self.is_whole { entry == variable } else { entry.starts_with(variable) };
        self.variables.iter().any(|variable| is_it(variable.as_bytes()))
    }

    /// The running processes that match each of these queries.
    fn carriers_of_each(queries: &[Self]) -> io::Result<Found<Member>> {
        let us = std::process::id();
        survey(queries.len(), |pid| {
            if pid == us {
                return Ok(Sighting::Stranger);
            }
            // getsid(2) excludes a process fifty times faster than reading its environment.
            match is_in_known_session(pid) {
                Ok(true) => return Ok(Sighting::Stranger),
                Err(Errno::ESRCH) => return Ok(Sighting::Gone),
                // A security module may forbid the system call.
                Ok(false) | Err(_) => {}
            }
            match queries_met_by(pid, queries) {
                Ok(Some(met)) if met.is_empty() => return Ok(Sighting::Stranger),
                // A process whose environment may not be read belongs to another user, so it is not a process of the
                // run.
                Err(_) => return Ok(Sighting::Stranger),
                Ok(None) => {
                    return Ok(match Stat::read(pid) {
                        Some(stat) if stat.has_ended() => Sighting::Ended,
                        // The process was in execve(2) when its environment was read, but is not any more.
                        Some(stat) if !stat.is_in_exec() && !met_now(pid, queries).is_empty() => Sighting::Gone,
                        // The process is a kernel thread, or has an empty environment.
                        Some(stat) if !stat.is_in_exec() => Sighting::Stranger,
                        _ => Sighting::Gone,
                    });
                }
                Ok(Some(_)) => {}
            }
            // The start time is read before the environment is read again. Both then belong to the same process, even
            // if the pid was reused after the first read.
            let Some(stat) = Stat::read(pid) else { return Ok(Sighting::Gone) };
            if stat.has_ended() {
                return Ok(Sighting::Ended);
            }
            let met = met_now(pid, queries);
            if met.is_empty() {
                return Ok(Sighting::Gone);
            }
            Ok(Sighting::Members(met.into_iter().map(|query| (query, Member::of(pid, &stat, false))).collect()))
        })
    }
}

/// Whether the process is in a session that contains no process that left its run: the session of an unreaped child of
/// this supervisor, or session 0. Session 0 contains kernel threads, and processes from outside of the pid namespace; each
/// descendant of a run is in a session that was created in this namespace.
fn is_in_known_session(pid: u32) -> nix::Result<bool> {
    let Ok(pid) = i32::try_from(pid) else { return Ok(false) };
    let session = getsid(Some(nix::unistd::Pid::from_raw(pid)))?.as_raw();
    Ok(session == 0 || is_session_of_child(session))
}

/// The queries that match the initial environment of a process; `None` as for [`has_variable`].
///
/// # Errors
/// The environment may not be read.
fn queries_met_by(pid: u32, queries: &[CarrierQuery]) -> io::Result<Option<Vec<usize>>> {
    let environ = environ_of(pid)?;
    Ok(environ.map(|environ| {
        let marked: Vec<&[u8]> =
            environ.split(|byte| *byte == 0).filter(|entry| entry.starts_with(RUN_VARIABLE.as_bytes())).collect();
        let is_met = |query: &CarrierQuery| marked.iter().any(|entry| query.is_met_by(entry));
        queries.iter().enumerate().filter(|(_, query)| is_met(query)).map(|(index, _)| index).collect()
    }))
}

/// Like [`queries_met_by`]; empty if the environment is empty or may not be read.
fn met_now(pid: u32, queries: &[CarrierQuery]) -> Vec<usize> {
    queries_met_by(pid, queries).ok().flatten().unwrap_or_default()
}

fn beginning(place: &LedgerPlace) -> String {
    format!("{MARKER_VERSION}:{}/", place.nonce.simple())
}

/// Whether the initial environment of a process has an entry for which `is_it` returns true; `None` if the environment
/// is empty, as it is during execve(2) and for kernel threads.
///
/// # Errors
/// The environment may not be read.
fn has_variable(pid: u32, is_it: impl Fn(&[u8]) -> bool) -> io::Result<Option<bool>> {
    Ok(environ_of(pid)?.map(|environ| environ.split(|byte| *byte == 0).any(is_it)))
}

/// The initial environment of a process; `None` if it is empty, or if the process is gone.
fn environ_of(pid: u32) -> io::Result<Option<Vec<u8>>> {
    let environ = read_unless_gone(&format!("/proc/{pid}/environ"))?;
    Ok(environ.filter(|environ| !environ.is_empty()))
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.stream.process_id, self.stream.instance, self.run)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        thread,
        time::{Duration, Instant},
    };

    use apm2_model::{
        signal::Signal,
        spec::{ProcessSpec, id::ProcessId},
    };
    use rustix::process::{WaitId, WaitIdOptions, waitid};

    use super::*;
    use crate::os::{
        child::ChildSetup,
        spawner::{SpawnOptions, spawn_with},
    };

    #[test]
    fn of_the_session_of_a_child_only_processes_that_left_it_are_found() {
        let stream = StreamId { process_id: ProcessId::new(), instance: 0 };
        let marker = Marker { place: None, stream, run: 1 };
        let spec = ProcessSpec::builder().name("n").command("sh").args(["-c", "setsid sleep 1000 & wait"]).build();
        let (_reader, writer) = std::io::pipe().unwrap();
        let options = SpawnOptions {
            base_env: None,
            child_setup: ChildSetup::default(),
            last_env: vec![(RUN_VARIABLE.to_owned(), marker.variable().into())],
            stdin: None,
            stdout: writer.try_clone().unwrap().into(),
            stderr: writer.into(),
        };
        let child = spawn_with(&spec, options).unwrap();
        let pid = child.pid().as_raw_nonzero().get().unsigned_abs();
        let until = Instant::now() + Duration::from_secs(20);
        let stray = loop {
            let found = marker.carriers_of_any_run().unwrap();
            assert!(found.iter().all(|member| member.pid != pid), "{found:?}");
            match found.as_slice() {
                [stray] => break *stray,
                _ => assert!(Instant::now() < until, "{found:?}"),
            }
            thread::sleep(Duration::from_millis(2));
        };
        assert_eq!(marker.carriers().unwrap(), [stray]);
        // The shell ends when its child ends.
        stray.signal(Signal::KILL).unwrap();
        waitid(WaitId::Pid(child.pid()), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
        assert!(child.reap().unwrap().is_none());
    }

    #[test]
    fn a_marker_names_its_place_and_ends_with_its_run() {
        let stream = StreamId { process_id: "00000000-0000-0000-0000-000000000007".parse().unwrap(), instance: 1 };
        let old = Marker { place: None, stream, run: 3 };
        assert_eq!(old.variable(), "00000000-0000-0000-0000-000000000007/1/3");
        let nonce = Uuid::from_u128(9);
        let new = |has_old_markers| Marker { place: Some(LedgerPlace { nonce, has_old_markers }), ..old };
        let text = "2:00000000000000000000000000000009/00000000-0000-0000-0000-000000000007/1/3";
        assert_eq!(new(false).variable(), text);
        assert_eq!(new(true).variable(), text);
        assert_eq!(new(true).to_string(), old.variable(), "the key of the file descriptor store");
        assert_eq!((new(false).beginnings().len(), new(true).beginnings().len()), (1, 2));
    }
}
