//! Changing several processes at once: what goes and what changes is stopped before anything is started.
//!
//! A process may need what another one holds that changes with it: a port, a log file, a name. So each change stops what it has
//! to stop, waits until the others have, and goes on. What does not change is not touched, and a change that fails is undone by
//! itself: the others go on.

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

/// The lock of one name.
pub(crate) type Changing = OwnedRwLockWriteGuard<()>;

/// One of several changes that are made at once. All of them have to be made, or dropped, for one to come to its end.
pub struct Part {
    supervisor: Supervisor,
    name: String,
    locks: Arc<Locks>,
    turn: Turn,
}

/// The locks of all names, taken in one order, so that two who change the same at once do not wait for each other.
#[derive(Default)]
struct Locks {
    names: BTreeSet<String>,
    taken: OnceCell<Mutex<HashMap<String, Changing>>>,
}

/// What a change knows of those that are made with it.
pub(crate) struct Turn {
    /// Held until it has stopped what it has to stop.
    stopping: Option<watch::Sender<()>>,
    /// Closed once all have.
    stopped: watch::Receiver<()>,
    /// The names of all of them.
    names: Arc<Locks>,
    /// What it has started, each with its latest run before that.
    begun: Vec<(InstanceHandle, u64)>,
}

impl Supervisor {
    /// Changes of the processes with these names that are made at once: one [`Part`] for each, in this order.
    #[must_use]
    pub fn together(&self, names: Vec<String>) -> Vec<Part> {
        let locks = Arc::new(Locks { names: names.iter().cloned().collect(), taken: OnceCell::new() });
        let (stopping, stopped) = watch::channel(());
        let mut seen = BTreeSet::new();
        let part = |name: String| {
            // A name that comes twice waits for itself: the second time it is changed alone.
            let is_first = seen.insert(name.clone());
            let stopping = is_first.then(|| stopping.clone());
            let turn = Turn { stopping, stopped: stopped.clone(), names: Arc::clone(&locks), begun: Vec::new() };
            Part { supervisor: self.clone(), name, locks: Arc::clone(&locks), turn }
        };
        names.into_iter().map(part).collect()
    }
}

impl Part {
    /// [`Supervisor::bring_up`] of a launch with this name.
    ///
    /// # Errors
    /// Those of that; [`ProcessError::InvalidState`] for a launch with another name.
    pub async fn bring_up(
        self,
        launch: LaunchSpec,
        rerun: bool,
        request: &Requester,
    ) -> Result<BroughtUp, ProcessError> {
        if launch.spec.name != self.name {
            return Err(ProcessError::InvalidState(format!("{:?} is not {:?}", launch.spec.name, self.name)));
        }
        let changing = self.lock().await;
        self.supervisor.bring_up_locked(changing, launch, rerun, request, self.turn).await
    }

    /// [`Supervisor::remove`] of a process with this name.
    ///
    /// # Errors
    /// Those of that.
    pub async fn remove(
        self,
        process: ProcessId,
        group: Option<&str>,
        request: &Requester,
    ) -> Result<(), ProcessError> {
        let changing = self.lock().await;
        self.supervisor.remove_locked(&changing, process, group, request).await
    }

    /// The lock of its name, once those of all names are taken.
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

impl Turn {
    /// That of a change that is made alone.
    pub(crate) fn alone() -> Self {
        Self { stopping: None, stopped: watch::channel(()).1, names: Arc::default(), begun: Vec::new() }
    }

    /// Notes that it has stopped what it has to stop, and waits until all have. Returns at once from the second time on.
    pub(crate) async fn all_stopped(&mut self) {
        self.stopping = None;
        // Nothing is ever sent: this ends when all have let go of their end.
        let _ = self.stopped.changed().await;
    }

    /// Notes that these, which are idle, are about to be started.
    pub(crate) fn note_begun(&mut self, handles: &[InstanceHandle]) {
        self.begun.extend(handles.iter().map(|handle| (handle.clone(), latest_run(handle))));
    }

    /// What it has started, each with its latest run before that.
    pub(crate) fn take_begun(&mut self) -> Vec<(InstanceHandle, u64)> {
        std::mem::take(&mut self.begun)
    }

    /// Whether what has this name is changed, too, or goes.
    pub(crate) fn is_with(&self, name: &str) -> bool {
        self.names.names.contains(name)
    }
}

/// The latest run of an instance; 0 before the first.
pub(crate) fn latest_run(handle: &InstanceHandle) -> u64 {
    handle.view.stream().map_or(0, |stream| stream.run)
}
