//! The way to a supervisor for those who embed one: defaults for all that is not said, and the recovery.

use std::{collections::HashSet, io, path::PathBuf, sync::Arc};

use apm2_model::{clock::SystemClock, event::timestamp::Clock, policy::boot::Boot, recorder::EventStore};

use crate::{
    blocking,
    output::log::{files::LogsDir, threads::LogThreads},
    supervisor::{
        Supervisor,
        launch_store::{LaunchStore, NoLaunchStore},
        past::Past,
        report::Recovery,
        services::{AdapterFactory, Services},
        unrecovered::Unrecovered,
    },
};

impl Supervisor {
    /// Begins to make a supervisor that records in `store`, such as a ledger.
    pub fn builder(store: impl EventStore + 'static) -> SupervisorBuilder {
        SupervisorBuilder {
            services: Services {
                store: Arc::new(store),
                clock: Arc::new(SystemClock),
                launches: Arc::new(NoLaunchStore),
                place: None,
                fd_store: None,
                logs: None,
                adapters: Arc::new(|_| None),
            },
        }
    }
}

/// Makes a [`Supervisor`].
#[must_use]
pub struct SupervisorBuilder {
    services: Services,
}

impl SupervisorBuilder {
    /// Keeps output that names no file below `dir`. Without it, such output is not kept.
    pub fn logs(mut self, dir: impl Into<PathBuf>) -> Self {
        self.services.logs = Some((LogsDir::new(dir), Arc::new(LogThreads::default())));
        self
    }

    /// Keeps what processes are launched with, for the next supervisor to start them again. Without it, that one adopts what runs and
    /// restarts nothing.
    pub fn launches(mut self, launches: impl LaunchStore + 'static) -> Self {
        self.services.launches = Arc::new(launches);
        self
    }

    /// Takes time stamps from `clock`, in place of the clock of the system.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.services.clock = Arc::new(clock);
        self
    }

    /// Has processes observed by what `adapters` chooses.
    pub fn adapters(mut self, adapters: AdapterFactory) -> Self {
        self.services.adapters = adapters;
        self
    }

    /// Reads what is on record, and takes over what an earlier supervisor left. Has to be called within a tokio runtime with its
    /// I/O and time drivers.
    ///
    /// # Errors
    /// When the record cannot be read, or processes of it may be alive in another pid namespace.
    pub async fn recover(self) -> io::Result<(Supervisor, Recovery)> {
        let (store, launches) = (Arc::clone(&self.services.store), Arc::clone(&self.services.launches));
        let past = blocking::step(move || read_past(&*store, &*launches)).await.flatten()?;
        let unrecovered = Unrecovered::new(self.services);
        let unseen = unrecovered.out_of_sight(past.streams(), || None);
        if !unseen.is_empty() {
            let text = format!("may be alive in another pid namespace: {}", unseen.join(", "));
            return Err(io::Error::other(text));
        }
        Ok(unrecovered.recover(Boot::default(), past).await)
    }
}

fn read_past(store: &dyn EventStore, launches: &dyn LaunchStore) -> io::Result<Past> {
    let stored = launches.load_all()?;
    let unreadable = stored.unreadable.iter().map(|launch| launch.process);
    let launched: HashSet<_> = stored.launches.iter().map(|launch| launch.spec.id).chain(unreadable).collect();
    let mut past = Past::of(launched);
    store.each_stream(&mut |stream| past.add(stream))?;
    Ok(past)
}
