//! The recorded events of one instance and the state computed from them (the fold). The recorder computes the fold from
//! what it has recorded.

use std::{io, sync::Arc};

use apm2_model::{
    event::{
        NewEvent,
        actor::Actor,
        agent::label::{LABEL_CHARS_MAX, Label},
        exit::RunEnd,
        kind::EventKind,
        origin::EventOrigin,
        stream_id::StreamId,
        timestamp::Clock,
    },
    recorder::{Recorded, Recorder},
    spec::{config::health::DETAIL_CHARS_MAX, redact::known::Known},
    state::stream::{IllegalEvent, Stream},
};

use crate::{adapter::OBSERVATION_CHARS_MAX, error::ProcessError, run::event_feed::EventFeed};

/// A stream together with the recorder that stores its events.
pub(crate) struct History {
    id: StreamId,
    stream: Option<Arc<Stream>>,
    recorder: Box<dyn Recorder>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Receives each recorded event, if a supervisor set a feed.
    pub(crate) feed: Option<EventFeed>,
    /// The known secret values of the instance, which are masked in every event.
    pub(crate) known: Known,
}

impl History {
    /// Continues `stream`; begins a new stream if `stream` is `None`.
    pub(crate) fn new(
        id: StreamId,
        stream: Option<Stream>,
        recorder: Box<dyn Recorder>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { id, stream: stream.map(Arc::new), recorder, clock, feed: None, known: Known::default() }
    }

    /// The id of the stream.
    pub(crate) const fn id(&self) -> StreamId {
        self.id
    }

    /// The state of the stream after all recorded events; `None` before the first event.
    pub(crate) const fn stream(&self) -> Option<&Arc<Stream>> {
        self.stream.as_ref()
    }

    /// Records events of these `kinds` as one commit. Returns the seq of the first event.
    ///
    /// # Errors
    /// [`ProcessError::InvalidState`] when the state does not allow the events; [`ProcessError::Io`] when they were not
    /// recorded. The stream is unchanged in both cases.
    pub(crate) fn record(&mut self, origin: &EventOrigin, kinds: Vec<EventKind>) -> Result<u64, ProcessError> {
        let drafts = self.drafts(origin, kinds);
        let (before, count) = (self.stream.as_ref().map_or(0, |stream| stream.version), drafts.len());
        let Recorded { events, stream } = self.recorder.record(self.stream.as_ref(), drafts).map_err(refusal)?;
        let is_whole = usize::try_from(stream.version.saturating_sub(before)) == Ok(count) && events.len() == count;
        if stream.id != self.id || !is_whole {
            return Err(broken_contract(&format!("{} of {count} events came back", events.len())));
        }
        self.stream = Some(stream);
        let first = events.first().map_or(0, |event| event.seq);
        if let Some(feed) = &self.feed {
            feed.publish(events);
        }
        Ok(first)
    }

    /// The reason as it is recorded: without secrets. The output of a health check is also shortened, as in the events
    /// about health checks.
    fn reason_of(&self, origin: &EventOrigin) -> Option<String> {
        let reason = origin.request.reason.as_deref()?;
        Some(match origin.request.actor {
            Actor::Health => self.known.redact_and_cut(reason, DETAIL_CHARS_MAX),
            _ => self.known.redact_text(reason),
        })
    }

    /// The draft events of a commit, each with the number of its run.
    fn drafts(&self, origin: &EventOrigin, kinds: Vec<EventKind>) -> Vec<NewEvent> {
        let stamp = origin.stamp.unwrap_or_else(|| self.clock.now());
        let reason = self.reason_of(origin);
        let mut run = self.stream.as_ref().map_or(0, |stream| stream.run);
        let drafts = kinds.into_iter().map(|kind| {
            run = kind.run_after(run);
            NewEvent {
                stream: self.id,
                run,
                actor: origin.request.actor.clone(),
                reason: reason.clone(),
                cause: origin.cause,
                stamp,
                kind: masked(kind, &self.known),
            }
        });
        drafts.collect()
    }
}

/// The event with known secret values masked. A [`RedactedSpec`](apm2_model::spec::redact::spec::RedactedSpec) needs no masking.
fn masked(mut kind: EventKind, known: &Known) -> EventKind {
    let mut texts: Vec<&mut String> = Vec::new();
    match &mut kind {
        EventKind::Crashed { cause: RunEnd::SpawnFailed(failure) } => texts.push(&mut failure.message),
        // Texts are masked before they are cut. A text that is cut first may end with a part of a secret, and the mask
        // would not recognize this part.
        EventKind::HealthChanged { detail, .. } => *detail = known.redact_and_cut(detail, DETAIL_CHARS_MAX),
        EventKind::Observed { detail, .. } => *detail = known.redact_and_cut(detail, OBSERVATION_CHARS_MAX),
        EventKind::OutputDropped { cause, .. } => texts.push(cause),
        EventKind::PreStopEnded { command, detail, .. } => texts.extend([command, detail]),
        EventKind::OutputTail { stdout, stderr } => texts.extend(stdout.iter_mut().chain(stderr)),
        EventKind::CredentialRotated { profile, .. } => texts.push(profile),
        EventKind::Agent { report } => {
            report.event.labels_mut().into_iter().for_each(|label| mask_label(label, known));
        }
        _ => {}
    }
    texts.into_iter().for_each(|text| *text = known.mask(text));
    kind
}

/// Masks a name that an agent printed. A name that was cut may end with a part of a secret, which is left out.
fn mask_label(label: &mut Label, known: &Known) {
    let is_cut = label.as_str().chars().count() == LABEL_CHARS_MAX;
    let text = label.as_str().as_bytes();
    let whole = String::from_utf8_lossy(if is_cut { known.without_begun(text) } else { text });
    let masked = known.mask(&whole);
    if masked != label.as_str() {
        *label = Label::new(&masked).unwrap_or_else(Label::redacted);
    }
}

/// Converts an error of the recorder to a process error: events that the state does not allow, or an I/O error.
fn refusal(error: io::Error) -> ProcessError {
    let illegal = error.get_ref().and_then(|inner| inner.downcast_ref::<IllegalEvent>());
    match illegal {
        Some(illegal) => ProcessError::InvalidState(illegal.to_string()),
        None => ProcessError::Io(error),
    }
}

/// The error if the recorder did not return exactly the events that it had to record.
fn broken_contract(what: &str) -> ProcessError {
    ProcessError::Io(io::Error::new(io::ErrorKind::InvalidData, format!("the recorder broke its contract: {what}")))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use apm2_model::{
        clock::SystemClock,
        event::{
            Event,
            agent::{
                event::{AgentEvent, McpServer, ToolCall},
                report::{AgentReport, OutputPosition},
            },
            requester::Requester,
        },
        recorder::NullRecorder,
        spec::{ProcessSpec, agent_kind::AgentKind, redact::spec::RedactedSpec},
    };

    /// A recorder that keeps the events in memory.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<Event>>>);

    impl Recorder for Kept {
        fn record(&mut self, stream: Option<&Arc<Stream>>, drafts: Vec<NewEvent>) -> io::Result<Recorded> {
            let recorded = NullRecorder.record(stream, drafts)?;
            self.0.lock().unwrap().extend(recorded.events.iter().cloned());
            Ok(recorded)
        }

        fn load(&self, _stream: StreamId) -> io::Result<Option<Stream>> {
            Ok(None)
        }
    }

    /// Texts are cut at every position of a secret. No part of the secret may be recorded.
    #[test]
    fn texts_are_masked_before_they_are_cut() {
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
            // The state allows neither event, so the function `masked` is tested directly.
            let kinds = [EventKind::HealthChanged { healthy: false, detail }, observed];
            for kind in kinds {
                let masked = format!("{:?}", masked(kind, &history.known));
                assert!(!masked.contains(&secret[..3]), "{length}: {masked}");
            }
            let budget = vec![EventKind::BudgetReset];
            history.record(&health, budget).unwrap();
        }
        for length in 0..LABEL_CHARS_MAX {
            let label = Label::new(&format!("{}{secret}", "x".repeat(length))).unwrap();
            let call = ToolCall { call_id: label.clone(), tool: label.clone(), mcp_server: None, parent_call_id: None };
            let servers = vec![McpServer { name: label.clone(), status: Some(label.clone()) }];
            let started = AgentEvent::SessionStarted {
                session_id: label.clone(),
                model: Some(label.clone()),
                agent_version: Some(label.clone()),
                permission_mode: Some(label.clone()),
                is_resumed: false,
                mcp_servers: servers,
            };
            for event in [started, AgentEvent::ToolStarted { call, input_bytes: 1 }] {
                let (agent, read_to) = (AgentKind::Custom, OutputPosition::default());
                let kind = EventKind::Agent { report: Box::new(AgentReport { agent, event, read_to }) };
                let masked = format!("{:?}", masked(kind, &history.known));
                assert!(!masked.contains(&secret[..3]), "{length}: {masked}");
            }
        }
        for event in kept.0.lock().unwrap().iter().filter_map(|event| event.reason.as_ref()) {
            assert!(!event.contains(&secret[..3]) && event.chars().count() <= DETAIL_CHARS_MAX, "{event}");
        }
    }
}
