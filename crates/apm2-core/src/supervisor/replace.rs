//! Replacing what is supervised under a name, or leaving it as it was.
//!
//! Nothing is stopped before the new launch is known to fit, and what can still fail afterwards (a stop, the launch's file, a
//! record) is undone: the old launch, its instances and their links stay, and what ran runs again.

use std::{collections::HashMap, sync::Arc};

use apm2_model::{
    event::{Draft, kind::EventKind, requester::Request, stream_id::StreamId},
    spec::{
        launch::{Launch, with_instances},
        redact::spec::RedactedSpec,
    },
    state::stream::Stream,
};

use crate::{
    error::ProcessError,
    supervisor::{
        Supervisor,
        change::{start_all, stop_all},
        command::What,
        instance_handle::Link,
        report::Applied,
        table::Entry,
        together::Turn,
    },
};

/// One replacement.
struct Replacement<'a> {
    old: &'a Entry,
    new: Arc<Launch>,
    request: &'a Request,
    /// Instances that stay.
    kept: &'a [Link],
    /// Instances that go.
    surplus: &'a [Link],
    /// Those that run and have to be stopped for it.
    to_stop: Vec<Link>,
    /// What is on record of instances that are added.
    left: HashMap<u32, Stream>,
    /// Instances that were added.
    added: Vec<Link>,
}

impl<'a> Replacement<'a> {
    fn new(old: &'a Entry, new: Arc<Launch>, left: HashMap<u32, Stream>, request: &'a Request) -> Self {
        let is_same_program = old.is_launchable && old.launch.is_as(&with_instances(&new, old.launch.spec.instances));
        let count = usize::try_from(new.spec.instances).unwrap_or(usize::MAX);
        let (kept, surplus) = old.links.split_at(count.min(old.links.len()));
        let stopped: &[Link] = if is_same_program { surplus } else { &old.links };
        // What was stopped already stays so.
        let to_stop = stopped.iter().filter(|link| link.is_busy()).cloned().collect();
        Self { old, new, request, kept, surplus, to_stop, left, added: Vec::new() }
    }
}

impl Supervisor {
    /// Refuses a launch whose specification is too large to be recorded.
    pub(crate) fn check_record(&self, launch: &Launch, request: &Request) -> Result<(), ProcessError> {
        let services = &self.inner.services;
        let draft = Draft {
            stream: StreamId { process_id: launch.spec.id, instance: 0 },
            run: 0,
            actor: request.actor.clone(),
            reason: request.reason.clone(),
            cause: None,
            stamp: services.clock.now(),
            kind: EventKind::Registered { spec: RedactedSpec::new(&launch.spec) },
        };
        let fits = (services.recorder)().check(&draft);
        fits.map_err(|error| ProcessError::InvalidState(format!("{:?}: {error}", launch.spec.name)))
    }

    /// Makes `entry` what `launch` says. What ran and differs is stopped and started again.
    pub(crate) async fn replace(
        &self,
        entry: &Entry,
        launch: Launch,
        request: &Request,
        turn: &mut Turn,
    ) -> Result<Applied, ProcessError> {
        if entry.is_launchable && entry.launch.is_as(&launch) {
            return Ok(Applied::Unchanged);
        }
        // Of the instances that come, if any do.
        let left = self.load_left(&launch, entry.links.len()).await?;
        let launch = Arc::new(launch);
        let prepared = Arc::clone(&launch);
        self.with_launches(move |launches| launches.prepare(&prepared)).await?;
        let ran_any = entry.is_busy();
        let mut replacement = Replacement::new(entry, launch, left, request);
        if let Err(error) = self.install(&mut replacement, turn).await {
            self.undo(replacement).await;
            return Err(error);
        }
        let Replacement { new, kept, surplus, to_stop, added, .. } = replacement;
        let mut links = [kept, surplus].concat();
        let taken_out = self.take_out_last(&mut links, kept.len(), || What::Unregister(request.clone())).await;
        links.extend(added.iter().cloned());
        let changed = Entry { launch: new, is_launchable: true, links: links.clone() };
        match &taken_out {
            Ok(()) => self.table().insert(changed),
            Err(_) => self.shrink(&changed, links).await,
        }
        let restarted = kept.iter().filter(|link| to_stop.iter().any(|stopped| stopped.id == link.id));
        start_all(restarted.chain(added.iter().filter(|_| ran_any)), request).await?;
        taken_out.map(|()| Applied::Changed)
    }

    /// All that can fail and be undone.
    async fn install(&self, replacement: &mut Replacement<'_>, turn: &mut Turn) -> Result<(), ProcessError> {
        let Replacement { new, request, kept, to_stop, left, added, .. } = replacement;
        stop_all(to_stop.iter(), request).await?;
        for link in to_stop.iter() {
            link.ask(What::Settle).await?;
        }
        turn.all_stopped().await;
        self.check_let_go(&new.spec)?;
        self.save(new).await?;
        for link in *kept {
            link.ask(What::Respec { launch: Arc::clone(new), is_launchable: true, request: request.clone() }).await?;
        }
        self.add_instances(new, kept.len(), added, std::mem::take(left), request).await
    }

    /// Takes back what was installed, as far as it was, and starts what was stopped for it.
    async fn undo(&self, replacement: Replacement<'_>) {
        let Replacement { old, request, kept, to_stop, added, .. } = replacement;
        self.withdraw(added, request).await;
        for link in kept {
            let (launch, is_launchable) = (Arc::clone(&old.launch), old.is_launchable);
            let back = link.ask(What::Respec { launch, is_launchable, request: request.clone() }).await;
            note_undone(old, back);
        }
        // What has no values has no launch that could be put back.
        if old.is_launchable {
            note_undone(old, self.save(&old.launch).await);
        }
        let idle = to_stop.iter().filter(|link| !link.is_busy());
        let started = start_all(idle, request).await;
        note_undone(old, started);
    }

    /// Adds the instances from `first` on to `links`, continuing what is left of them on record. What was added until an
    /// error is among `links`, too.
    pub(crate) async fn add_instances(
        &self,
        launch: &Arc<Launch>,
        first: usize,
        links: &mut Vec<Link>,
        mut left: HashMap<u32, Stream>,
        request: &Request,
    ) -> Result<(), ProcessError> {
        let from = links.len();
        for instance in u32::try_from(first).unwrap_or(u32::MAX)..launch.spec.instances {
            let (tender, link) = self.tender(launch, instance, left.remove(&instance), true);
            tokio::spawn(tender.tend());
            links.push(link);
        }
        for link in links.iter().skip(from) {
            let launch = Arc::clone(launch);
            link.ask(What::Respec { launch, is_launchable: true, request: request.clone() }).await?;
        }
        Ok(())
    }

    /// Takes out of supervision what was added and is not wanted after all. Its history stays.
    pub(crate) async fn withdraw(&self, links: Vec<Link>, request: &Request) {
        for link in &links {
            if link.ask(What::Unregister(request.clone())).await.is_err() {
                // It could not be recorded. As long as it is not supervised it is not started, either.
                let _ = link.ask(What::Release).await;
            }
        }
        self.table().remember(links.iter().filter_map(|link| link.view.stream()));
    }

    /// Takes instances out of supervision, the last first, until `keep` are left. What is left after an error is among
    /// `links`.
    pub(crate) async fn take_out_last(
        &self,
        links: &mut Vec<Link>,
        keep: usize,
        what: impl Fn() -> What,
    ) -> Result<(), ProcessError> {
        while let Some(last) = links.get(keep..).and_then(<[Link]>::last) {
            last.ask(what()).await?;
            let stream = last.view.stream();
            links.pop();
            self.table().remember(stream);
        }
        Ok(())
    }

    /// Goes on with as many instances of `entry` as there are `links`.
    pub(crate) async fn shrink(&self, entry: &Entry, links: Vec<Link>) {
        let instances = u32::try_from(links.len()).unwrap_or(u32::MAX);
        let launch = Arc::new(with_instances(&entry.launch, instances));
        if entry.is_launchable
            && let Err(error) = self.save(&launch).await
        {
            tracing::error!(name = %launch.spec.name, %error, "a launch could not be kept");
        }
        self.table().insert(Entry { launch, is_launchable: entry.is_launchable, links });
    }
}

/// A change has failed already, and that is what its client is told.
fn note_undone(entry: &Entry, undone: Result<(), ProcessError>) {
    if let Err(error) = undone {
        tracing::error!(name = %entry.launch.spec.name, %error, "a change that failed could not be undone");
    }
}
