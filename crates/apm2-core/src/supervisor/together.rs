//! Changes of several processes at once: every stop comes before any start.
//!
//! A process may need a port, a log file or a name that another process in the same set of changes still uses. For that
//! reason, each change first stops its instances, then waits at a barrier until all changes have stopped theirs, and
//! then continues. Unchanged processes are not affected. If one change fails, only this change is undone; the other
//! changes continue.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use apm2_model::{
    event::requester::Requester,
    spec::{id::ProcessId, launch::LaunchSpec},
};
use tokio::sync::{OnceCell, OwnedRwLockWriteGuard, watch};

use crate::{
    error::ProcessError,
    supervisor::{Supervisor, instance_handle::InstanceHandle, report::BroughtUp},
};

/// The lock of one process name.
pub(crate) type Changing = OwnedRwLockWriteGuard<()>;

/// One of several changes that are made at the same time. Each of them must be carried out or dropped before any of
/// them can complete.
pub struct Part {
    supervisor: Supervisor,
    name: String,
    locks: Arc<Locks>,
    turn: ChangeTurn,
}

/// The locks of all names. They are taken in one order, so that two sets of changes cannot deadlock.
#[derive(Default)]
struct Locks {
    names: BTreeSet<String>,
    taken: OnceCell<Mutex<HashMap<String, Changing>>>,
}

/// The barrier between the stops and the starts of several changes.
pub(crate) struct ChangeTurn {
    /// Dropped when this change has made its stops.
    stopping: Option<watch::Sender<()>>,
    /// Closed when all changes have made their stops.
    stopped: watch::Receiver<()>,
    /// The names of all processes in the set of changes.
    names: Arc<Locks>,
    /// The instances that this change has started, each with its latest run before the start.
    begun: Vec<(InstanceHandle, u64)>,
}

impl Supervisor {
    /// Prepares changes of the processes with these names, which are made at the same time. Returns one [`Part`] for
    /// each name, in this order.
    #[must_use]
    pub fn together(&self, names: Vec<String>) -> Vec<Part> {
        let locks = Arc::new(Locks { names: names.iter().cloned().collect(), taken: OnceCell::new() });
        let (stopping, stopped) = watch::channel(());
        let mut seen = BTreeSet::new();
        let part = |name: String| {
            // A second change of the same name would wait for the barrier of the first one, so it is made separately.
            let is_first = seen.insert(name.clone());
            let stopping = is_first.then(|| stopping.clone());
            let turn = ChangeTurn { stopping, stopped: stopped.clone(), names: Arc::clone(&locks), begun: Vec::new() };
            Part { supervisor: self.clone(), name, locks: Arc::clone(&locks), turn }
        };
        names.into_iter().map(part).collect()
    }
}

impl Part {
    /// Makes the change with [`Supervisor::bring_up`]. `launch` must have the name of this part.
    ///
    /// # Errors
    /// Those of [`Supervisor::bring_up`]; [`ProcessError::InvalidState`] for a launch with another name.
    pub async fn bring_up(
        self,
        launch: impl Into<Box<LaunchSpec>>,
        rerun: bool,
        request: &Requester,
    ) -> Result<BroughtUp, ProcessError> {
        let launch = launch.into();
        if launch.spec.name != self.name {
            return Err(ProcessError::InvalidState(format!("{:?} is not {:?}", launch.spec.name, self.name)));
        }
        let changing = self.lock().await;
        self.supervisor.bring_up_locked(changing, launch, rerun, request, self.turn).await
    }

    /// Makes the change with [`Supervisor::remove`].
    ///
    /// # Errors
    /// Those of [`Supervisor::remove`].
    pub async fn remove(
        self,
        process: ProcessId,
        group: Option<&str>,
        request: &Requester,
    ) -> Result<(), ProcessError> {
        let changing = self.lock().await;
        self.supervisor.remove_locked(&changing, process, group, request).await
    }

    /// The lock of the name of this part, when the locks of all names are taken.
    async fn lock(&self) -> Changing {
        let taken = self.locks.taken.get_or_init(|| async {
            let mut taken = HashMap::new();
            for name in &self.locks.names {
                taken.insert(name.clone(), self.supervisor.changing(name).await);
            }
            Mutex::new(taken)
        });
        let ours = taken.await.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
        match ours {
            Some(changing) => changing,
            None => self.supervisor.changing(&self.name).await,
        }
    }
}

impl ChangeTurn {
    /// The barrier of a change that is made alone.
    pub(crate) fn alone() -> Self {
        Self { stopping: None, stopped: watch::channel(()).1, names: Arc::default(), begun: Vec::new() }
    }

    /// Marks the stops of this change as complete, and waits until all changes have made their stops. Returns
    /// immediately from the second call on.
    pub(crate) async fn all_stopped(&mut self) {
        self.stopping = None;
        // No value is ever sent. The wait ends when all senders are dropped.
        let _ = self.stopped.changed().await;
    }

    /// Records that these idle instances are about to be started.
    pub(crate) fn note_begun(&mut self, handles: &[InstanceHandle]) {
        self.begun.extend(handles.iter().map(|handle| (handle.clone(), latest_run(handle))));
    }

    /// Returns the instances that this change has started, each with its latest run before the start.
    pub(crate) fn take_begun(&mut self) -> Vec<(InstanceHandle, u64)> {
        std::mem::take(&mut self.begun)
    }

    /// Whether the set of changes contains the process with this name.
    pub(crate) fn is_with(&self, name: &str) -> bool {
        self.names.names.contains(name)
    }
}

/// The number of the latest run of an instance; 0 before the first run.
pub(crate) fn latest_run(handle: &InstanceHandle) -> u64 {
    handle.view.stream().map_or(0, |stream| stream.run)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size_of_future<F>(_: impl FnOnce(Part, Box<LaunchSpec>, &'static Requester) -> F) -> usize {
        size_of::<F>()
    }

    /// One call changes any number of processes, and there is such a future for each of them.
    #[test]
    fn the_future_of_a_change_does_not_contain_its_later_steps() {
        let size = size_of_future(|part, launch, request| part.bring_up(launch, false, request));
        assert!(size < 1024, "{size}");
    }
}
