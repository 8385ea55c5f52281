//! The builder of a supervisor, for programs that embed one. Provides defaults for everything that is not set, and runs
//! the recovery.

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
    /// A builder of a supervisor that records its events in `store`, such as a ledger.
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

/// Builds a [`Supervisor`].
#[must_use]
pub struct SupervisorBuilder {
    services: Services,
}

impl SupervisorBuilder {
    /// Writes the output of processes without configured log files to files below `dir`. Without this setting, such
    /// output is discarded.
    pub fn logs(mut self, dir: impl Into<PathBuf>) -> Self {
        self.services.logs = Some((LogsDir::new(dir), Arc::new(LogThreads::default())));
        self
    }

    /// Stores launch specifications in `launches`, so that the next supervisor can start the processes again. Without
    /// this setting, the next supervisor adopts running processes but restarts no process.
    pub fn launches(mut self, launches: impl LaunchStore + 'static) -> Self {
        self.services.launches = Arc::new(launches);
        self
    }

    /// Takes timestamps from `clock` instead of the system clock.
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.services.clock = Arc::new(clock);
        self
    }

    /// Observes processes with the adapters that `adapters` chooses.
    pub fn adapters(mut self, adapters: AdapterFactory) -> Self {
        self.services.adapters = adapters;
        self
    }

    /// Reads the recorded events, and takes over the processes of an earlier supervisor. Must be called within a tokio
    /// runtime with its I/O and time drivers.
    ///
    /// # Errors
    /// The recorded events cannot be read, or recorded processes may be alive in another pid namespace.
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
