//! Which streams are gone, so that they move into the archive alone.

use std::{collections::HashSet, fs, io, ops::ControlFlow};

use apm2_model::{
    spec::id::ProcessId,
    state::stream::{FollowUp, Stream},
};

use crate::{
    dir::{LAUNCH_DIR, LedgerDir},
    error::ReadError,
    read::{current_states::each_at, reader::Reader, state::State},
};

/// What decides whether a process is gone.
pub(crate) struct Living {
    /// The processes with events after those that move. An instance may have its first event there.
    later: HashSet<ProcessId>,
    /// The processes that are supervised: those with a launch file.
    launched: HashSet<ProcessId>,
}

impl Living {
    pub(crate) fn new(dir: &LedgerDir, later: HashSet<ProcessId>) -> io::Result<Self> {
        Ok(Self { later, launched: launched(dir)? })
    }

    /// Whether no later event of the stream can come: no run is open, none will follow, and the process is not supervised.
    fn is_over(&self, stream: &Stream) -> bool {
        let is_supervised =
            || stream.wanted || stream.follow_up != FollowUp::Nothing || self.launched.contains(&stream.id.process_id);
        !self.later.contains(&stream.id.process_id)
            && !stream.is_open()
            && stream.intent.is_none()
            && (stream.unregistered || !is_supervised())
    }
}

/// Calls `visit` with the state of each stream after event `seq`, and whether it is gone, in the order of the stream ids. A process
/// is gone when all its instances are: an instance may be supervised again while its process is.
pub(crate) fn each_state(
    reader: &Reader,
    seq: u64,
    living: &Living,
    visit: &mut dyn FnMut(Stream, bool) -> ControlFlow<()>,
) -> Result<(), ReadError> {
    let mut instances: Vec<Stream> = Vec::new();
    each_at(reader, seq, State::decoded, |stream| {
        if instances.first().is_some_and(|first| first.id.process_id != stream.id.process_id)
            && visit_all(&mut instances, living, visit).is_break()
        {
            return ControlFlow::Break(());
        }
        instances.push(*stream);
        ControlFlow::Continue(())
    })?;
    let _ = visit_all(&mut instances, living, visit);
    Ok(())
}

/// Calls `visit` with the instances of one process.
fn visit_all(
    instances: &mut Vec<Stream>,
    living: &Living,
    visit: &mut dyn FnMut(Stream, bool) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let is_gone = instances.iter().all(|stream| living.is_over(stream));
    instances.drain(..).try_for_each(|stream| visit(stream, is_gone))
}

/// The processes with a launch file, by their ids in the names of the files.
fn launched(dir: &LedgerDir) -> io::Result<HashSet<ProcessId>> {
    let entries = match fs::read_dir(dir.at().join(LAUNCH_DIR)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
        entries => entries?,
    };
    let mut found = HashSet::new();
    for entry in entries {
        let name = entry?.file_name();
        let id: Option<ProcessId> =
            name.to_str().and_then(|name| name.split('.').next()).and_then(|id| id.parse().ok());
        found.extend(id);
    }
    Ok(found)
}
