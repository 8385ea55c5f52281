//! The table of supervised processes, by name, and of recorded instances that are not supervised.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use apm2_model::{
    event::stream_id::StreamId,
    id_query::{Candidate, Meant, UnclearId, resolve},
    spec::{ProcessSpec, id::ProcessId, launch::LaunchSpec, name::EVERYTHING},
    state::stream::Stream,
};

use crate::{
    error::ProcessError,
    supervisor::{
        conflict::{possible_conflicts, refuse_conflict},
        instance_handle::InstanceHandle,
        known::KnownInstances,
    },
};

/// A supervised process: its launch specification and the handles of its instances.
#[derive(Clone)]
pub(crate) struct TableEntry {
    pub(crate) launch: Arc<LaunchSpec>,
    /// Whether `launch` contains the values of environment variables. False if only the redacted specification in the
    /// record is left.
    pub(crate) is_launchable: bool,
    /// The handles of its instances, by instance number.
    pub(crate) handles: Vec<InstanceHandle>,
}

impl TableEntry {
    /// Whether an instance of the process runs or is about to be started.
    pub(crate) fn is_busy(&self) -> bool {
        self.handles.iter().any(InstanceHandle::is_busy)
    }

    /// Whether `group` may change the process. A process of which only the record is left belongs to no group, since
    /// the group is part of the lost launch specification.
    pub(crate) fn is_owned_by(&self, group: Option<&str>) -> bool {
        let owner = self.launch.group.as_deref();
        owner == group || (owner.is_none() && !self.is_launchable)
    }

    /// Refuses a change by a group to which the process does not belong.
    pub(crate) fn refuse_others(&self, group: Option<&str>) -> Result<(), ProcessError> {
        if self.is_owned_by(group) {
            return Ok(());
        }
        let (name, owner) = (&self.launch.spec.name, self.launch.group.as_deref().unwrap_or("no group"));
        Err(ProcessError::AlreadyExists(format!("{name} is supervised already, by {owner}")))
    }

    /// The name of the process and the pids of its running instances, for an error text.
    pub(crate) fn description(&self) -> String {
        let name = &self.launch.spec.name;
        let pid = self.handles.iter().find_map(|handle| handle.view.stream()?.handle.pid);
        match (self.is_busy(), pid) {
            (true, Some(pid)) => format!("{name} is already running, pid {pid}"),
            (true, None) => format!("{name} is already running"),
            (false, _) => format!("{name} is already supervised"),
        }
    }
}

/// The table of all supervised processes.
#[derive(Default)]
pub(crate) struct SupervisorTable {
    entries: BTreeMap<String, TableEntry>,
    /// The names of the supervised processes, by process id.
    names: HashMap<ProcessId, String>,
    /// The claims of changes in progress, by name. Changes of different names run at the same time, and must not use
    /// the same process id, instance name or log file.
    claims: BTreeMap<String, Box<ProcessSpec>>,
    /// The recorded instances that are not supervised. A process that is supervised again under one of these names
    /// continues its streams.
    known: KnownInstances,
}

impl SupervisorTable {
    pub(crate) fn get(&self, name: &str) -> Option<&TableEntry> {
        self.entries.get(name)
    }

    pub(crate) fn by_id(&self, process: ProcessId) -> Option<&TableEntry> {
        self.get(self.names.get(&process)?)
    }

    pub(crate) fn insert(&mut self, entry: TableEntry) {
        entry.handles.iter().for_each(|handle| self.known.forget(handle.id));
        let (name, id) = (entry.launch.spec.name.clone(), entry.launch.spec.id);
        self.remove(&name);
        self.names.insert(id, name.clone());
        self.entries.insert(name, entry);
    }

    pub(crate) fn remove(&mut self, name: &str) {
        if let Some(entry) = self.entries.remove(name) {
            self.names.remove(&entry.launch.spec.id);
        }
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &TableEntry> {
        self.entries.values()
    }

    pub(crate) fn launches(&self) -> Vec<Arc<LaunchSpec>> {
        self.entries.values().map(|entry| Arc::clone(&entry.launch)).collect()
    }

    pub(crate) fn handles(&self) -> impl Iterator<Item = &InstanceHandle> {
        self.entries.values().flat_map(|entry| &entry.handles)
    }

    pub(crate) fn handle(&self, target: StreamId) -> Option<&InstanceHandle> {
        let entry = self.by_id(target.process_id)?;
        entry.handles.get(usize::try_from(target.instance).ok()?)
    }

    /// Adds recorded instances of an earlier supervisor that are not supervised.
    pub(crate) fn know(&mut self, known: KnownInstances) {
        self.known = known;
    }

    /// Adds instances that are not supervised any more.
    pub(crate) fn remember(&mut self, streams: impl IntoIterator<Item = Stream>) {
        streams.into_iter().for_each(|stream| self.known.remember(&stream));
    }

    /// The unsupervised instances of a process, each with the seq of its last event.
    pub(crate) fn known_of(&self, process: ProcessId) -> Vec<(StreamId, u64)> {
        self.known.of(process).map(|(id, known)| (id, known.last_seq)).collect()
    }

    /// The process id that is recorded for `name`, or else `id`. The id is claimed together with the name until
    /// [`end_claim`](Self::end_claim).
    ///
    /// If several processes had the name, the process with the latest event is used.
    pub(crate) fn recall(&mut self, name: &str, id: ProcessId) -> ProcessId {
        let on_record = self.known.named(name).filter(|(id, _)| !self.is_anothers(id.process_id, name));
        let id = match on_record.max_by_key(|(_, known)| known.last_seq) {
            Some((latest, _)) => latest.process_id,
            // If another supervised process has the recorded id, neither the id nor its history is reused.
            None if self.is_anothers(id, name) => ProcessId::new(),
            None => id,
        };
        if let Some(claim) = self.claims.get_mut(name) {
            claim.id = id;
        }
        id
    }

    /// Whether the process with this id is supervised, or claimed, under another name.
    fn is_anothers(&self, process: ProcessId, name: &str) -> bool {
        self.names.get(&process).is_some_and(|other| other != name)
            || self.claims.values().any(|spec| spec.id == process && spec.name != name)
    }

    /// The supervised instances that `text` denotes.
    pub(crate) fn find(&self, text: &str) -> Result<Vec<StreamId>, UnclearId> {
        if text == EVERYTHING {
            return Ok(self.handles().map(|handle| handle.id).collect());
        }
        let meant = self.resolve(text)?;
        let found: Vec<StreamId> = self.handles().map(|handle| handle.id).filter(|id| meant.includes(*id)).collect();
        // The text may also denote an instance that is not supervised any more.
        if found.is_empty() { Err(UnclearId::Unknown(text.to_owned())) } else { Ok(found) }
    }

    /// The supervised process that `text` denotes.
    pub(crate) fn find_process(&self, text: &str) -> Result<ProcessId, UnclearId> {
        let meant = self.resolve(text)?;
        let entry = self.by_id(meant.process_id()).ok_or_else(|| UnclearId::Unknown(text.to_owned()))?;
        if matches!(meant, Meant::Instance(_)) && entry.handles.len() > 1 {
            return Err(UnclearId::OneInstance { text: text.to_owned(), name: entry.launch.spec.name.clone() });
        }
        Ok(meant.process_id())
    }

    /// Resolves the text by the same rule, and among the same candidates, as the commands that read the ledger. The
    /// candidates include processes that are not supervised any more.
    fn resolve(&self, text: &str) -> Result<Meant, UnclearId> {
        // Of the processes with this name, the supervised process is the latest one.
        let supervised = self.entries.values().flat_map(|entry| {
            let spec = &entry.launch.spec;
            let candidate = |handle: &InstanceHandle| Candidate {
                id: handle.id,
                name: &spec.name,
                instances: spec.instances,
                last_seq: u64::MAX,
            };
            entry.handles.iter().map(candidate)
        });
        let candidates: Vec<Candidate<'_>> = supervised.chain(self.known.candidates()).collect();
        resolve(text, &candidates)
    }

    /// Claims the name, instance names and log files of `spec` until [`end_claim`](Self::end_claim).
    ///
    /// Refuses a specification that conflicts with another supervised or claimed specification, see
    /// [`refuse_conflict`]. Conflicts with processes that are changed in the same set of changes (`is_changed`) are
    /// allowed here; [`check_claim`](Self::check_claim) checks them later.
    pub(crate) fn claim(&mut self, spec: &ProcessSpec, is_changed: impl Fn(&str) -> bool) -> Result<(), ProcessError> {
        let stays = self.supervised_like(spec).filter(|other| !is_changed(&other.name));
        let claimed = possible_conflicts(spec, &self.claims).map(Box::as_ref);
        stays.chain(claimed).try_for_each(|other| refuse_conflict(spec, other))?;
        self.claims.insert(spec.name.clone(), Box::new(spec.clone()));
        Ok(())
    }

    /// Checks a claimed specification again, against the supervised processes that have no claim of their own. When the
    /// claim was made, processes that the same set of changes replaces were not compared; a replacement may have failed
    /// since.
    pub(crate) fn check_claim(&self, spec: &ProcessSpec) -> Result<(), ProcessError> {
        let mut stays = self.supervised_like(spec).filter(|other| !self.claims.contains_key(&other.name));
        stays.try_for_each(|other| refuse_conflict(spec, other))
    }

    fn supervised_like(&self, spec: &ProcessSpec) -> impl Iterator<Item = &ProcessSpec> {
        possible_conflicts(spec, &self.entries).map(|entry| &entry.launch.spec)
    }

    pub(crate) fn end_claim(&mut self, name: &str) {
        self.claims.remove(name);
    }
}
