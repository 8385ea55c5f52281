//! Recorded streams: those that a recovery needs, and those of a process that is supervised again.
//!
//! A ledger may hold any number of processes that ended long ago. Their streams are loaded one by one when they are needed.

use std::{
    collections::{HashMap, HashSet},
    io,
};

use apm2_model::{
    event::stream_id::StreamId,
    recorder::Recorder,
    spec::{id::ProcessId, launch::LaunchSpec},
    state::stream::Stream,
};

use crate::{
    blocking,
    error::ProcessError,
    supervisor::{Supervisor, known::KnownInstances},
};

/// The record as a recovery needs it: whole streams of what it may have to adopt or start, and of all others only what the
/// resolution of ids needs.
#[derive(Debug, Default)]
pub struct Past {
    launched: HashSet<ProcessId>,
    pub(crate) whole: Vec<Stream>,
    pub(crate) known: KnownInstances,
}

impl Past {
    /// A past without streams, which will hold open streams and those of the processes in `launched` whole. Other streams are
    /// loaded when they are needed.
    #[must_use]
    pub fn of(launched: HashSet<ProcessId>) -> Self {
        Self { launched, ..Self::default() }
    }

    /// Adds a stream. The supervisor's own stream is ignored.
    pub fn add(&mut self, stream: Stream) {
        if stream.id.is_system() {
            return;
        }
        if stream.is_open() || self.launched.contains(&stream.id.process_id) {
            self.whole.push(stream);
        } else {
            self.known.remember(&stream);
        }
    }

    /// The streams that it holds whole, which include all open ones.
    #[must_use]
    pub fn streams(&self) -> &[Stream] {
        &self.whole
    }
}

impl FromIterator<Stream> for Past {
    fn from_iter<T: IntoIterator<Item = Stream>>(streams: T) -> Self {
        let mut past = Self::default();
        streams.into_iter().for_each(|stream| past.add(stream));
        past
    }
}

impl Supervisor {
    /// The recorded streams of the unsupervised instances of `launch` from `first` on, by instance.
    pub(crate) async fn load_left(
        &self,
        launch: &LaunchSpec,
        first: usize,
    ) -> Result<HashMap<u32, Stream>, ProcessError> {
        let wanted = u32::try_from(first).unwrap_or(u32::MAX)..launch.spec.instances;
        let mut known = self.table().known_of(launch.spec.id);
        known.retain(|(id, _)| wanted.contains(&id.instance));
        if known.is_empty() {
            return Ok(HashMap::new());
        }
        let supervisor = self.clone();
        let streams = blocking::step(move || supervisor.load(&known)).await.flatten()?;
        Ok(streams.into_iter().map(|stream| (stream.id.instance, stream)).collect())
    }

    /// The streams of these instances, each with the seq of its last event. Blocks on the disk.
    pub(crate) fn load(&self, known: &[(StreamId, u64)]) -> io::Result<Vec<Stream>> {
        let recorder = self.inner.services.store.recorder();
        let loaded = known.iter().map(|(id, last_seq)| load_one(&*recorder, *id, *last_seq));
        loaded.filter_map(Result::transpose).collect()
    }
}

fn load_one(recorder: &dyn Recorder, id: StreamId, last_seq: u64) -> io::Result<Option<Stream>> {
    let loaded = recorder.load(id)?;
    match &loaded {
        // Continuing with fewer events than were recorded would record two different histories.
        Some(stream) if stream.last_seq < last_seq => {
            let StreamId { process_id, instance } = id;
            let command = format!("the record of {process_id}/{instance} ends before event {last_seq}, which it had");
            Err(io::Error::new(io::ErrorKind::InvalidData, command))
        }
        _ => Ok(loaded),
    }
}
