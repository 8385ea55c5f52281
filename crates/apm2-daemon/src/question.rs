//! The questions about a ledger and their answers in the form in which they are sent, see [`ReadLedger`].
//!
//! Events and states are sent in binary frames, each with several of them: the length of each as u32 big-endian, then its
//! bytes. Those of an event are its sequence number as u64 big-endian and its record, those of a state are its record.
//!
//! [`ReadLedger`]: apm2_ledger::ReadLedger

use apm2_ledger::{
    Direction, EventQuery, EventsQuestion, Found, KindSet, StatesQuestion, StreamAt,
    record::{RecordError, decode_event, decode_stream, encode_event},
};
use apm2_model::{
    event::{Event, actor::ActorFilter, end_filter::EndFilter, stream_id::StreamId},
    id_query::UnclearId,
    spec::id::ProcessId,
    state::stream::Stream,
};
use serde::{Deserialize, Serialize};

/// Size in bytes at which a frame of events or states is sent. The last one in it may exceed the size.
const FRAME_BYTES: usize = 64 * 1024;

/// Size of the length before each event or state, in bytes.
const LENGTH_BYTES: usize = 4;

/// A question about the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SentQuestion {
    /// The sequence number of the last event. The answer is `read`.
    Head,
    /// The instances that a text on the command line names. The answer is `found` or `unclear`.
    Find {
        /// The text.
        id: String,
    },
    /// Events, in binary frames. The answer is `read`.
    Events {
        /// Only events of these streams; all when empty.
        streams: Vec<SentStream>,
        /// Only events of the kinds with these names.
        kinds: Option<Vec<String>>,
        /// Only events with a wall-clock time from the first to the second, in nanoseconds since 1970.
        wall_ns: Option<(i64, i64)>,
        /// Only events of these actors; all when empty. An earlier daemon refuses a question with this field or one of the
        /// next two.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        actors: Vec<ActorFilter>,
        /// Only events of runs with this number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<u64>,
        /// Only events that record one of these ends; all events when empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ends: Vec<EndFilter>,
        /// The sequence number of the first event of the range.
        first: u64,
        /// The sequence number of the last event of the range, which is included.
        last: u64,
        /// Whether the events of the range are sent from the last one back.
        backwards: bool,
        /// The greatest number of events.
        max: u64,
    },
    /// The states of all streams after event `upto`, in binary frames. The answer is `read`.
    States {
        /// The sequence number of the event.
        upto: u64,
    },
    /// Of the states of all streams after event `upto`, those of the streams that have events from event `since` on or whose process
    /// is alive, in binary frames. The answer is `read`. An earlier daemon refuses this question.
    ActiveStates {
        /// The sequence number of the first event that makes a stream active.
        since: u64,
        /// The sequence number of the event after which the states are.
        upto: u64,
    },
    /// The states of some streams, each after an event, in binary frames. The answer is `read`.
    StatesOf {
        /// The streams. One without events by then has no state.
        streams: Vec<SentStreamAt>,
    },
}

/// A stream: an instance of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentStream {
    process_id: ProcessId,
    instance: u32,
}

/// A stream, and the sequence number of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SentStreamAt {
    process_id: ProcessId,
    instance: u32,
    seq: u64,
}

impl From<StreamId> for SentStream {
    fn from(StreamId { process_id, instance }: StreamId) -> Self {
        Self { process_id, instance }
    }
}

impl From<SentStream> for StreamId {
    fn from(SentStream { process_id, instance }: SentStream) -> Self {
        Self { process_id, instance }
    }
}

impl From<&EventsQuestion> for SentQuestion {
    fn from(question: &EventsQuestion) -> Self {
        let EventsQuestion { query, first, last, direction, max } = question;
        let names = |kinds: KindSet| kinds.names().map(str::to_owned).collect();
        Self::Events {
            streams: query.streams.iter().copied().map(SentStream::from).collect(),
            kinds: query.kinds.map(names),
            wall_ns: query.wall_ns,
            actors: query.actors.clone(),
            run: query.run,
            ends: query.ends.clone(),
            first: *first,
            last: *last,
            backwards: *direction == Direction::Backwards,
            max: *max,
        }
    }
}

impl From<&StatesQuestion> for SentQuestion {
    fn from(question: &StatesQuestion) -> Self {
        let sent = |at: &StreamAt| SentStreamAt { process_id: at.id.process_id, instance: at.id.instance, seq: at.seq };
        match question {
            StatesQuestion::All(upto) => Self::States { upto: *upto },
            StatesQuestion::Active { since, upto } => Self::ActiveStates { since: *since, upto: *upto },
            StatesQuestion::Of(streams) => Self::StatesOf { streams: streams.iter().map(sent).collect() },
        }
    }
}

/// A question as a reader of the ledger is asked it.
#[derive(Debug, Clone)]
pub(crate) enum Question {
    Head,
    Find(String),
    Events(EventsQuestion),
    States(StatesQuestion),
}

impl From<SentQuestion> for Question {
    fn from(sent: SentQuestion) -> Self {
        match sent {
            SentQuestion::Head => Self::Head,
            SentQuestion::Find { id } => Self::Find(id),
            SentQuestion::Events { streams, kinds, wall_ns, actors, run, ends, first, last, backwards, max } => {
                let streams = streams.into_iter().map(StreamId::from).collect();
                let kinds = kinds.map(|names| KindSet::named(names.iter().map(String::as_str)));
                let query = EventQuery { streams, kinds, wall_ns, actors, run, ends };
                let direction = if backwards { Direction::Backwards } else { Direction::Forwards };
                Self::Events(EventsQuestion { query, first, last, direction, max })
            }
            SentQuestion::States { upto } => Self::States(StatesQuestion::All(upto)),
            SentQuestion::ActiveStates { since, upto } => Self::States(StatesQuestion::Active { since, upto }),
            SentQuestion::StatesOf { streams } => {
                let at = |SentStreamAt { process_id, instance, seq }| StreamAt {
                    id: StreamId { process_id, instance },
                    seq,
                };
                Self::States(StatesQuestion::Of(streams.into_iter().map(at).collect()))
            }
        }
    }
}

/// The answer to [`SentQuestion::Find`]. Its first field says which of the two it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SentFound {
    /// The text names these instances.
    Streams(Vec<SentStream>),
    /// The text names no process.
    Unknown,
    /// The text fits several processes, which are listed as text.
    Ambiguous(Vec<String>),
}

impl SentFound {
    /// The answer `found`.
    pub(crate) fn new(found: Result<Vec<StreamId>, UnclearId>) -> Self {
        match found {
            Ok(streams) => Self::Streams(streams.into_iter().map(SentStream::from).collect()),
            Err(UnclearId::Ambiguous { candidates, .. }) => Self::Ambiguous(candidates),
            Err(UnclearId::Unknown(_) | UnclearId::OneInstance { .. }) => Self::Unknown,
        }
    }

    /// The answer for `text` when the ledger had `size` events.
    pub(crate) fn found(self, text: &str, size: u64) -> Found {
        let streams = match self {
            Self::Streams(streams) => Ok(streams.into_iter().map(StreamId::from).collect()),
            Self::Unknown => Err(UnclearId::Unknown(text.to_owned())),
            Self::Ambiguous(candidates) => Err(UnclearId::Ambiguous { text: text.to_owned(), candidates }),
        };
        Found { streams, size }
    }
}

/// Collects events or states into the bodies of frames.
#[derive(Debug, Default)]
pub(crate) struct FrameBody(Vec<u8>);

impl FrameBody {
    /// Adds an event. Returns whether the frame is to be sent now.
    pub(crate) fn add_event(&mut self, event: &Event) -> Result<bool, RecordError> {
        let mut bytes = event.seq.to_be_bytes().to_vec();
        encode_event(event, &mut bytes)?;
        Ok(self.add(&bytes))
    }

    /// Adds the record of a state. Returns whether the frame is to be sent now.
    pub(crate) fn add_state(&mut self, record: &[u8]) -> bool {
        self.add(record)
    }

    fn add(&mut self, bytes: &[u8]) -> bool {
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(bytes);
        self.0.len() >= FRAME_BYTES
    }

    /// The bytes that were added; `None` when there are none.
    pub(crate) fn take(&mut self) -> Option<Vec<u8>> {
        Some(std::mem::take(&mut self.0)).filter(|bytes| !bytes.is_empty())
    }
}

/// The event in a part of a frame.
pub(crate) fn event(part: &[u8]) -> Result<Event, String> {
    let (seq, record) = part.split_first_chunk().ok_or_else(cut_short)?;
    decode_event(u64::from_be_bytes(*seq), record).map_err(|error| error.to_string())
}

/// The state in a part of a frame.
pub(crate) fn state(part: &[u8]) -> Result<Stream, String> {
    decode_stream(part).map_err(|error| error.to_string())
}

/// The parts of the body of a frame, each of which is an event or a state; an error for one that is cut short.
pub(crate) fn parts(mut body: &[u8]) -> impl Iterator<Item = Result<&[u8], String>> {
    std::iter::from_fn(move || {
        if body.is_empty() {
            return None;
        }
        let part = body.split_first_chunk::<LENGTH_BYTES>().and_then(|(length, rest)| {
            rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX))
        });
        let (part, rest) = part.unwrap_or_default();
        // A part of no bytes is no event and no state.
        body = if part.is_empty() { &[] } else { rest };
        Some(if part.is_empty() { Err(cut_short()) } else { Ok(part) })
    })
}

fn cut_short() -> String {
    "a frame is cut short".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The questions of version 1 of the protocol, as they are sent for ever.
    #[test]
    fn the_questions_have_the_form_that_they_had() {
        let stream = StreamId { process_id: ProcessId::from_bytes([7; 16]), instance: 3 };
        let id = "07070707-0707-0707-0707-070707070707";
        let query = EventQuery {
            streams: vec![stream],
            kinds: Some(KindSet::named(["crashed", "registered"])),
            wall_ns: Some((-1, 5)),
            ..EventQuery::default()
        };
        let by_actor = EventQuery {
            actors: vec!["ann".into(), ActorFilter::Policy],
            run: Some(3),
            ends: vec![EndFilter::Failure, EndFilter::Code(7)],
            ..EventQuery::default()
        };
        let forms = [
            (SentQuestion::Head, r#""head""#.to_owned()),
            (SentQuestion::Find { id: "web-1".to_owned() }, r#"{"find":{"id":"web-1"}}"#.to_owned()),
            (
                SentQuestion::from(&EventsQuestion::last(query, (4, 9), 20)),
                format!(
                    r#"{{"events":{{"streams":[{{"process_id":"{id}","instance":3}}],"kinds":["registered","crashed"],"wall_ns":[-1,5],"first":4,"last":9,"backwards":true,"max":20}}}}"#
                ),
            ),
            (
                SentQuestion::from(&EventsQuestion::all(EventQuery::default(), (1, 9))),
                r#"{"events":{"streams":[],"kinds":null,"wall_ns":null,"first":1,"last":9,"backwards":false,"max":18446744073709551615}}"#
                    .to_owned(),
            ),
            (
                SentQuestion::from(&EventsQuestion::last(by_actor, (1, 9), 5)),
                r#"{"events":{"streams":[],"kinds":null,"wall_ns":null,"actors":["user:ann","policy"],"run":3,"ends":["failed","7"],"first":1,"last":9,"backwards":true,"max":5}}"#
                    .to_owned(),
            ),
            (SentQuestion::from(&StatesQuestion::All(8)), r#"{"states":{"upto":8}}"#.to_owned()),
            (
                SentQuestion::from(&StatesQuestion::Active { since: 3, upto: 8 }),
                r#"{"active_states":{"since":3,"upto":8}}"#.to_owned(),
            ),
            (
                SentQuestion::from(&StatesQuestion::Of(vec![StreamAt { id: stream, seq: 8 }])),
                format!(r#"{{"states_of":{{"streams":[{{"process_id":"{id}","instance":3,"seq":8}}]}}}}"#),
            ),
        ];
        for (question, form) in forms {
            assert_eq!(serde_json::to_string(&question).unwrap(), form);
            assert_eq!(serde_json::from_str::<SentQuestion>(&form).unwrap(), question);
        }
        assert!(serde_json::from_str::<SentQuestion>(r#"{"states":{"upto":8,"later":1}}"#).is_err());
    }

    #[test]
    fn a_frame_that_is_cut_short_is_an_error_and_no_event() {
        let mut body = FrameBody::default();
        body.add(b"abc");
        let whole = body.take().unwrap();
        assert_eq!(parts(&whole).collect::<Vec<_>>(), [Ok(&b"abc"[..])]);
        for length in 1..whole.len() {
            assert_eq!(parts(&whole[..length]).collect::<Vec<_>>(), [Err(cut_short())]);
        }
        assert_eq!(parts(&[0; 4]).collect::<Vec<_>>(), [Err(cut_short())]);
    }
}
