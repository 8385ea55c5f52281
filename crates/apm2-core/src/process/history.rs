//! The events of one instance: recorded first, folded second.

use std::{io, sync::Arc};

use crate::process::{
    Clock, Draft, Event, EventKind, IllegalEvent, Known, ProcessError, Recorder, Request, RunEnd, Stamp, Stream,
    StreamId,
};

/// Where the events of one commit come from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// Who brought them about, and why.
    pub(crate) request: Request,
    /// The seq of the event that caused them.
    pub(crate) cause: Option<u64>,
    /// When they happened, if that was not just now.
    pub(crate) stamp: Option<Stamp>,
}

impl Origin {
    /// What `request` asked for.
    pub(crate) fn of(request: impl Into<Request>) -> Self {
        Self { request: request.into(), ..Self::default() }
    }

    /// The same, as a consequence of the event numbered `cause`.
    pub(crate) fn caused_by(self, cause: Option<u64>) -> Self {
        Self { cause, ..self }
    }

    /// The same, at another time than now.
    pub(crate) fn at(self, stamp: Stamp) -> Self {
        Self { stamp: Some(stamp), ..self }
    }
}

/// A stream together with the recorder that keeps its events.
pub(crate) struct History {
    id: StreamId,
    stream: Option<Arc<Stream>>,
    recorder: Box<dyn Recorder>,
    pub(crate) clock: Arc<dyn Clock>,
    /// The secrets that the instance is given: none of them enters an event.
    pub(crate) known: Known,
}

impl History {
    /// Continues `stream`, or begins a new one.
    pub(crate) fn new(
        id: StreamId,
        stream: Option<Stream>,
        recorder: Box<dyn Recorder>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { id, stream: stream.map(Arc::new), recorder, clock, known: Known::default() }
    }

    /// Whose events these are.
    pub(crate) const fn id(&self) -> StreamId {
        self.id
    }

    /// The fold of all that was recorded; `None` before the first event.
    pub(crate) const fn stream(&self) -> Option<&Arc<Stream>> {
        self.stream.as_ref()
    }

    /// Records `kinds` as one commit and folds them in. Returns the seq of the first.
    ///
    /// What the fold would refuse never reaches the recorder (law 3).
    ///
    /// # Errors
    /// [`ProcessError::InvalidState`] when the events may not follow; [`ProcessError::Io`] when they were not recorded.
    /// Nothing has changed then.
    pub(crate) fn record(&mut self, origin: &Origin, kinds: Vec<EventKind>) -> Result<u64, ProcessError> {
        let drafts = self.drafts(origin, kinds).map_err(|error| ProcessError::InvalidState(error.to_string()))?;
        let version = self.stream.as_ref().map_or(0, |stream| stream.version);
        let expected = drafts.len();
        let events = self.recorder.record(version, drafts)?;
        if events.len() != expected {
            return Err(misnumbered(&format!("{} of {expected} events came back", events.len())));
        }
        let mut next = self.stream.as_deref().cloned();
        for event in &events {
            fold(&mut next, event).map_err(|error| misnumbered(&error.to_string()))?;
        }
        self.stream = next.map(Arc::new);
        Ok(events.first().map_or(0, |event| event.seq))
    }

    /// The drafts of a commit, each in the run that it belongs to, tried on a copy of the stream.
    fn drafts(&self, origin: &Origin, kinds: Vec<EventKind>) -> Result<Vec<Draft>, IllegalEvent> {
        let stamp = origin.stamp.unwrap_or_else(|| self.clock.now());
        let mut trial = self.stream.as_deref().cloned();
        kinds
            .into_iter()
            .map(|kind| {
                let draft = Draft {
                    stream: self.id,
                    run: trial.as_ref().map_or(0, |stream| stream.run_of(&kind)),
                    actor: origin.request.actor.clone(),
                    reason: origin.request.reason.as_deref().map(|reason| self.known.redact_text(reason)),
                    cause: origin.cause,
                    stamp,
                    kind: masked(kind, &self.known),
                };
                let (seq, version) = trial.as_ref().map_or((0, 0), |stream| (stream.last_seq, stream.version));
                fold(&mut trial, &draft.clone().numbered(seq.saturating_add(1), version.saturating_add(1)))?;
                Ok(draft)
            })
            .collect()
    }
}

/// The event without the secrets that are known. A specification is without them already.
fn masked(mut kind: EventKind, known: &Known) -> EventKind {
    let mut texts: Vec<&mut String> = Vec::new();
    match &mut kind {
        EventKind::Crashed { cause: RunEnd::SpawnFailed(failure) } => texts.push(&mut failure.message),
        EventKind::HealthChanged { detail, .. } | EventKind::Observed { detail, .. } => texts.push(detail),
        EventKind::OutputDropped { cause, .. } => texts.push(cause),
        EventKind::PreStopEnded { command, detail, .. } => texts.extend([command, detail]),
        EventKind::OutputTail { stdout, stderr } => texts.extend(stdout.iter_mut().chain(stderr)),
        EventKind::CredentialRotated { profile, .. } => texts.push(profile),
        _ => {}
    }
    texts.into_iter().for_each(|text| *text = known.mask(text));
    kind
}

fn fold(stream: &mut Option<Stream>, event: &Event) -> Result<(), IllegalEvent> {
    match stream {
        Some(stream) => stream.apply(event),
        None => {
            *stream = Some(Stream::begin(event)?);
            Ok(())
        }
    }
}

/// The recorder kept something else than it was given.
fn misnumbered(what: &str) -> ProcessError {
    ProcessError::Io(io::Error::new(io::ErrorKind::InvalidData, format!("the recorder broke its contract: {what}")))
}
