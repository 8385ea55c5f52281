//! Instances that are not supervised. Only the data that is needed to resolve ids is held in memory; their streams stay
//! in the store.

use std::{collections::BTreeMap, sync::Arc};

use apm2_model::{event::stream_id::StreamId, id_query::Candidate, spec::id::ProcessId, state::stream::Stream};

/// An unsupervised instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownInstance {
    /// The name of the process. All instances of one process share this text.
    pub(crate) name: Arc<str>,
    /// The seq of the last event of the instance.
    pub(crate) last_seq: u64,
    /// The number of the latest run of the instance.
    pub(crate) run: u64,
    /// The number of instances of the process.
    instances: u32,
}

/// The unsupervised instances, by process id.
#[derive(Debug, Default)]
pub(crate) struct KnownInstances(BTreeMap<StreamId, KnownInstance>);

impl KnownInstances {
    /// Adds the instance to which `stream` belongs.
    pub(crate) fn remember(&mut self, stream: &Stream) {
        let (spec, same_process) = (&stream.handle.spec, self.of(stream.id.process_id).next());
        let shared =
            same_process.filter(|(_, other)| *other.name == *spec.name).map(|(_, other)| Arc::clone(&other.name));
        let known = KnownInstance {
            name: shared.unwrap_or_else(|| Arc::from(spec.name.as_str())),
            last_seq: stream.last_seq,
            run: stream.run,
            instances: spec.instances,
        };
        self.0.insert(stream.id, known);
    }

    pub(crate) fn forget(&mut self, id: StreamId) {
        self.0.remove(&id);
    }

    /// The unsupervised instances of a process.
    pub(crate) fn of(&self, process_id: ProcessId) -> impl Iterator<Item = (StreamId, &KnownInstance)> {
        let (first, last) = (StreamId { process_id, instance: 0 }, StreamId { process_id, instance: u32::MAX });
        self.0.range(first..=last).map(|(id, known)| (*id, known))
    }

    /// The unsupervised instances of all processes that had this name.
    pub(crate) fn named(&self, name: &str) -> impl Iterator<Item = (StreamId, &KnownInstance)> {
        self.0.iter().filter(move |(_, known)| *known.name == *name).map(|(id, known)| (*id, known))
    }

    /// The candidates for the resolution of ids.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = Candidate<'_>> {
        self.0.iter().map(|(id, known)| {
            let KnownInstance { name, last_seq, instances, .. } = known;
            Candidate { id: *id, name, instances: *instances, last_seq: *last_seq }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apm2_model::{
        clock::SystemClock,
        event::{NewEvent, actor::Actor, kind::EventKind, timestamp::Clock as _},
        spec::{ProcessSpec, redact::spec::RedactedSpec},
    };

    /// Memory for one instance, including its id, in bytes. A whole stream takes many times as much.
    const BYTES_MAX: usize = 64;

    fn stream(process_id: ProcessId, name: &str, instance: u32) -> Stream {
        let spec = ProcessSpec::builder().id(process_id).name(name).command("true").instances(4).build();
        let kind = EventKind::Registered { spec: RedactedSpec::new(&spec) };
        let (id, stamp) = (StreamId { process_id, instance }, SystemClock.now());
        let draft = NewEvent { stream: id, run: 0, actor: Actor::System, reason: None, cause: None, stamp, kind };
        Stream::begin(&draft.numbered(7, 1)).unwrap()
    }

    #[test]
    fn what_is_remembered_of_an_instance_is_small_and_its_name_is_there_once() {
        let size = size_of::<StreamId>() + size_of::<KnownInstance>();
        assert!(size <= BYTES_MAX && size * 8 < size_of::<Stream>(), "{size} of {}", size_of::<Stream>());
        let (mut known, id, renamed) = (KnownInstances::default(), ProcessId::new(), ProcessId::new());
        for instance in 0..4 {
            known.remember(&stream(id, "web", instance));
        }
        known.remember(&stream(renamed, "old", 0));
        known.remember(&stream(renamed, "new", 1));
        let names: Vec<&Arc<str>> = known.of(id).map(|(_, known)| &known.name).collect();
        assert!(names.len() == 4 && names.iter().all(|name| Arc::ptr_eq(name, names[0])));
        let named: Vec<StreamId> = known.named("new").map(|(id, _)| id).collect();
        assert_eq!(named, [StreamId { process_id: renamed, instance: 1 }]);
        known.forget(StreamId { process_id: id, instance: 2 });
        assert_eq!(known.of(id).map(|(id, _)| id.instance).collect::<Vec<_>>(), [0, 1, 3]);
    }
}
