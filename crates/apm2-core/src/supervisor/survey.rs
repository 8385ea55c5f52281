//! Computes the state that a recovery would find, without recovering anything. For `up --dry-run`.

use std::{collections::HashMap, sync::Arc};

use apm2_model::{
    spec::{id::ProcessId, launch::with_instances},
    state::stream::Stream,
};

use crate::{
    error::ProcessError,
    os::procfs::{ProcessStatus, status_of},
    supervisor::{Supervisor, table::TableEntry},
};

/// The reason for closing a run that is recorded as open but does not run. The survey records nothing.
const NOT_RUNNING: &str = "it does not run";

impl Supervisor {
    pub(crate) fn survey(&self, streams: Vec<Stream>, is_ours: bool) -> Result<(), ProcessError> {
        let mut by_process: HashMap<ProcessId, Vec<Stream>> = HashMap::new();
        for stream in streams.into_iter().filter(|stream| !stream.id.is_system()) {
            // The process does not run. A recovery would record the end of its run.
            let runs = is_ours && is_running(&stream);
            let stream = if runs { stream } else { self.disown(stream, NOT_RUNNING)? };
            by_process.entry(stream.id.process_id).or_default().push(stream);
        }
        for launch in self.inner.services.launches.load_all()?.launches {
            let streams = by_process.remove(&launch.spec.id).unwrap_or_default();
            if streams.iter().all(|stream| stream.unregistered) {
                self.table().remember(streams);
                continue;
            }
            let open =
                streams.iter().filter(|stream| stream.is_open()).map(|stream| stream.id.instance.saturating_add(1));
            let instances = open.max().unwrap_or_default().max(launch.spec.instances);
            let launch = Arc::new(with_instances(&launch, instances));
            let mut of_instance: HashMap<u32, Stream> =
                streams.into_iter().map(|stream| (stream.id.instance, stream)).collect();
            let handles = (0..instances).map(|instance| {
                let stream = of_instance.remove(&instance);
                let runs = stream.as_ref().is_some_and(Stream::is_open);
                let (actor, handle) = self.actor(&launch, instance, stream, true);
                actor.set_busy(runs);
                handle
            });
            let handles = handles.collect();
            self.table().insert(TableEntry { launch, is_launchable: true, handles });
        }
        self.table().remember(by_process.into_values().flatten());
        Ok(())
    }
}

/// Whether the main process of the instance is alive, or may be alive.
fn is_running(stream: &Stream) -> bool {
    let may_be_alive = |observed| matches!(observed, ProcessStatus::Alive | ProcessStatus::Unverifiable);
    stream.is_open() && stream.identity.is_some_and(|identity| may_be_alive(status_of(&identity)))
}
