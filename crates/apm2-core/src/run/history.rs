//! The events of one instance: recorded first, folded second.

use std::{io, sync::Arc};

use apm2_model::{
    event::{
        Event, NewEvent, actor::Actor, exit::RunEnd, kind::EventKind, origin::EventOrigin, stream_id::StreamId,
        timestamp::Clock,
    },
    recorder::Recorder,
    spec::{config::health::DETAIL_CHARS_MAX, redact::known::Known},
    state::stream::{IllegalEvent, Stream},
};

use crate::{adapter::OBSERVATION_CHARS_MAX, error::ProcessError};

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
    pub(crate) fn record(&mut self, origin: &EventOrigin, kinds: Vec<EventKind>) -> Result<u64, ProcessError> {
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

    /// The reason that is recorded, without secrets. What a health check says has a limit, as in the events of one.
    fn reason_of(&self, origin: &EventOrigin) -> Option<String> {
        let reason = origin.request.reason.as_deref()?;
        Some(match origin.request.actor {
            Actor::Health => self.known.redact_and_cut(reason, DETAIL_CHARS_MAX),
            _ => self.known.redact_text(reason),
        })
    }

    /// The drafts of a commit, each in the run that it belongs to, tried on a copy of the stream.
    fn drafts(&self, origin: &EventOrigin, kinds: Vec<EventKind>) -> Result<Vec<NewEvent>, IllegalEvent> {
        let stamp = origin.stamp.unwrap_or_else(|| self.clock.now());
        let mut trial = self.stream.as_deref().cloned();
        kinds
            .into_iter()
            .map(|kind| {
                let draft = NewEvent {
                    stream: self.id,
                    run: trial.as_ref().map_or(0, |stream| stream.run_of(&kind)),
                    actor: origin.request.actor.clone(),
                    reason: self.reason_of(origin),
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
        // They come whole: cut before they are masked, they would end with a part of a secret.
        EventKind::HealthChanged { detail, .. } => *detail = known.redact_and_cut(detail, DETAIL_CHARS_MAX),
        EventKind::Observed { detail, .. } => *detail = known.redact_and_cut(detail, OBSERVATION_CHARS_MAX),
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use apm2_model::{
        clock::SystemClock,
        event::requester::Requester,
        spec::{ProcessSpec, redact::spec::RedactedSpec},
    };

    /// What was recorded.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<Event>>>);

    impl Recorder for Kept {
        fn record(&mut self, version: u64, drafts: Vec<NewEvent>) -> io::Result<Vec<Event>> {
            let numbered =
                drafts.into_iter().zip(version + 1..).map(|(draft, version)| draft.numbered(version, version));
            let events: Vec<Event> = numbered.collect();
            self.0.lock().unwrap().extend(events.iter().cloned());
            Ok(events)
        }

        fn load(&self, _stream: StreamId) -> io::Result<Option<Stream>> {
            Ok(None)
        }
    }

    /// Of each text that is cut, wherever that is: nothing of a secret is recorded.
    #[test]
    fn what_is_cut_is_masked_before() {
        let secret = "Zq8vK2m1Xw3rT6yU";
        let spec = ProcessSpec::builder().name("n").command("c").build();
        let kept = Kept::default();
        let id = StreamId { process_id: spec.id, instance: 0 };
        let mut history = History::new(id, None, Box::new(kept.clone()), Arc::new(SystemClock));
        history.known = Known::default().with_credentials([secret]);
        let registered = EventKind::Registered { spec: RedactedSpec::new(&spec) };
        history.record(&EventOrigin::default(), vec![registered]).unwrap();
        let longest = OBSERVATION_CHARS_MAX.max(DETAIL_CHARS_MAX);
        for length in (0..longest + 2).filter(|length| length + secret.len() + 2 > DETAIL_CHARS_MAX) {
            let detail = format!("{}{secret} is refused", "x".repeat(length));
            let health = EventOrigin::of(Requester { actor: Actor::Health, reason: Some(detail.clone()) });
            let observed = EventKind::Observed { adapter: "a".to_owned(), detail: detail.clone() };
            // The state allows neither, and what is tried is masked all the same.
            let kinds = [EventKind::HealthChanged { healthy: false, detail }, observed];
            for kind in kinds {
                let masked = format!("{:?}", masked(kind, &history.known));
                assert!(!masked.contains(&secret[..3]), "{length}: {masked}");
            }
            let budget = vec![EventKind::BudgetReset];
            history.record(&health, budget).unwrap();
        }
        for event in kept.0.lock().unwrap().iter().filter_map(|event| event.reason.as_ref()) {
            assert!(!event.contains(&secret[..3]) && event.chars().count() <= DETAIL_CHARS_MAX, "{event}");
        }
    }
}
