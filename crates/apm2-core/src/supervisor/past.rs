//! The recorded streams that a recovery needs, and those of a process that is supervised again.
//!
//! A ledger may contain any number of processes that ended long ago. Their streams are loaded one by one when they are
//! needed.

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

/// The recorded data that a recovery needs: the complete streams of instances that may have to be adopted or started,
/// and for all other instances only the data that is needed to resolve ids.
#[derive(Debug, Default)]
pub struct Past {
    launched: HashSet<ProcessId>,
    pub(crate) whole: Vec<Stream>,
    pub(crate) known: KnownInstances,
}

impl Past {
    /// An empty past. It will hold complete streams for open runs and for the processes in `launched`. Other streams
    /// are loaded when they are needed.
    #[must_use]
    pub fn of(launched: HashSet<ProcessId>) -> Self {
        Self { launched, ..Self::default() }
    }

    /// Adds the state of a stream. The system stream is ignored.
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

    /// The streams that are held completely. They include all streams with an open run.
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
    /// The recorded streams of the unsupervised instances of `launch`, from instance number `first` on, by instance.
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

    /// Loads the streams of these instances. Each instance is given with the expected seq of its last event. Blocks on
    /// the disk.
    pub(crate) fn load(&self, known: &[(StreamId, u64)]) -> io::Result<Vec<Stream>> {
        let recorder = self.inner.services.store.recorder();
        let loaded = known.iter().map(|(id, last_seq)| load_one(&*recorder, *id, *last_seq));
        loaded.filter_map(Result::transpose).collect()
    }
}

fn load_one(recorder: &dyn Recorder, id: StreamId, last_seq: u64) -> io::Result<Option<Stream>> {
    let loaded = recorder.load(id)?;
    match &loaded {
        // A stream with fewer events than were recorded must not be continued: the events after it would be recorded
        // twice, differently.
        Some(stream) if stream.last_seq < last_seq => {
            let StreamId { process_id, instance } = id;
            let command = format!("the record of {process_id}/{instance} ends before event {last_seq}, which it had");
            Err(io::Error::new(io::ErrorKind::InvalidData, command))
        }
        _ => Ok(loaded),
    }
}
