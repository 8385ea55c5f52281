//! Arbitrary events, applied to the state machine and to a model.
//!
//! The stream state and the [`Model`] must accept and refuse the same events. A refused event must change nothing. Each
//! accepted commit must leave a valid state in which all invariants hold. Replaying the encoded bytes of all accepted
//! events must give the live state.

#![no_main]

use apm2_core::process::{Event, IllegalEvent, ProcessId, Stream, StreamId};
use apm2_fuzz::{
    model::Model,
    script::{COMMIT_STEPS_MAX, Mistake, Step},
};
use apm2_ledger::record::{decode_event, encode_event};
use libfuzzer_sys::fuzz_target;

/// The highest number of commits for one input. A replay follows each commit.
const COMMITS_MAX: usize = 64;
const STREAM: StreamId = StreamId { process_id: ProcessId::from_bytes([7; 16]), instance: 1 };

fuzz_target!(|commits: Vec<Vec<Step>>| {
    let mut history = History::default();
    for steps in commits.iter().take(COMMITS_MAX) {
        history.try_commit(steps);
    }
});

#[derive(Default)]
struct History {
    events: Vec<Event>,
    live: Option<Stream>,
    model: Option<Model>,
    seconds: u64,
}

impl History {
    fn try_commit(&mut self, steps: &[Step]) {
        let (mut live, mut model) = (self.live.clone(), self.model.clone());
        let mut events = Vec::new();
        for step in steps.iter().take(COMMIT_STEPS_MAX) {
            let event = self.event(step, model.as_ref(), events.len());
            let before = live.clone();
            let accepted = fold(&mut live, &event).is_ok();
            let next = model.as_ref().map_or_else(|| Model::begin(&event), |model| model.after(&event));
            assert_eq!(accepted, next.is_some(), "{event:?} after {before:?}");
            if !accepted {
                assert_eq!(live, before, "a refused event changed the stream");
                return;
            }
            model = next;
            events.push(event);
        }
        let (Some(stream), Some(expected)) = (&live, &model) else { return };
        assert_eq!(stream.broken_invariant().is_none(), expected.may_end_commit(), "{stream:?}");
        if expected.may_end_commit() {
            expected.check(stream);
            self.events.extend(events);
            assert_eq!(replayed(&self.events).as_ref(), Some(stream), "live state and replayed state differ");
            (self.live, self.model) = (live, model);
        }
    }

    fn event(&mut self, step: &Step, model: Option<&Model>, earlier: usize) -> Event {
        self.seconds += u64::from(step.seconds);
        let at = (self.events.len() + earlier) as u64 + 1;
        let draft = step.draft(STREAM, 0, self.seconds);
        let run = model.map_or(0, |model| model.run_of(&draft.kind));
        let version = if step.mistake == Mistake::Version { at + 1 } else { at };
        step.draft(STREAM, run, self.seconds).numbered(at, version)
    }
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

/// Encodes the events, decodes them again and replays them.
fn replayed(events: &[Event]) -> Option<Stream> {
    let mut stream = None;
    for event in events {
        let mut bytes = Vec::new();
        encode_event(event, &mut bytes).expect("an accepted event can be recorded");
        let read = decode_event(event.seq, &bytes).expect("a recorded event can be read");
        assert_eq!(read, *event);
        fold(&mut stream, &read).expect("what was accepted once is accepted again");
    }
    stream
}
