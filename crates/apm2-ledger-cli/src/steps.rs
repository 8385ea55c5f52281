//! Events with the transitions that they caused. An event itself does not contain the state before it.

use std::{
    collections::{HashMap, VecDeque},
    ops::ControlFlow,
};

use apm2_ledger::{EventQuery, EventsQuestion, ReadError, ReadLedger as _, StatesQuestion, StreamAt};
use apm2_model::{
    event::{Event, stream_id::StreamId},
    state::stream::Stream,
};

use crate::source::{LedgerSource, ReadFailure};

/// Largest number of gaps between shown events over which states are asked for. With more gaps, all events of the streams
/// are read.
const GAPS_MAX: usize = 64;

/// The names of the states before and after an event; `None` when the event is not a transition.
pub(crate) type Transition = Option<(&'static str, &'static str)>;

/// One event with the transition that it caused.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) event: Event,
    pub(crate) transition: Transition,
}

/// The states of streams.
pub(crate) type States = HashMap<StreamId, Stream>;

/// Adds to each event its transition. Also returns the states of the streams after their last events. The events are in
/// the order of the ledger, and may be of several streams.
pub(crate) fn steps(source: &LedgerSource, events: Vec<Event>) -> Result<(Vec<Step>, States), ReadFailure> {
    let (firsts, gaps) = unknown_states(&events);
    if gaps.len() > GAPS_MAX {
        return steps_of_all(source, events, firsts);
    }
    let mut asked: Vec<StreamAt> = firsts.into_iter().chain(gaps).collect();
    asked.sort_unstable_by_key(|at| at.seq);
    let mut states = States::new();
    let mut found: VecDeque<Stream> = states_at(source, asked.clone())?.into();
    let mut asked: VecDeque<StreamAt> = asked.into();
    let mut steps = Vec::new();
    for event in events {
        if asked.front().is_some_and(|at| is_before(*at, &event)) {
            asked.pop_front();
            states.extend(found.pop_front().map(|state| (event.stream, state)));
        }
        let transition = apply(&mut states, &event)?;
        steps.push(Step { event, transition });
    }
    Ok((steps, states))
}

fn is_before(at: StreamAt, event: &Event) -> bool {
    at.id == event.stream && at.seq.saturating_add(1) == event.seq
}

/// The states before the first event of each stream, and those before the events whose predecessor is not among the events.
fn unknown_states(events: &[Event]) -> (Vec<StreamAt>, Vec<StreamAt>) {
    let (mut firsts, mut gaps) = (Vec::new(), Vec::new());
    let mut versions: HashMap<StreamId, u64> = HashMap::new();
    for event in events.iter().filter(|event| !event.stream.is_system()) {
        let at = StreamAt { id: event.stream, seq: event.seq.saturating_sub(1) };
        match versions.insert(event.stream, event.version) {
            None if event.version > 1 => firsts.push(at),
            Some(before) if before.saturating_add(1) != event.version => gaps.push(at),
            _ => {}
        }
    }
    (firsts, gaps)
}

/// The states that are asked for, which all exist.
fn states_at(source: &LedgerSource, asked: Vec<StreamAt>) -> Result<Vec<Stream>, ReadFailure> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let (count, first) = (asked.len(), asked.first().map_or(0, |at| at.seq));
    let found = source.states_of(&StatesQuestion::Of(asked))?;
    if found.len() == count { Ok(found) } else { Err(ReadError::Gap { seq: first }.into()) }
}

/// The same, from all events of the streams between the first and the last of the events.
fn steps_of_all(
    source: &LedgerSource,
    events: Vec<Event>,
    firsts: Vec<StreamAt>,
) -> Result<(Vec<Step>, States), ReadFailure> {
    let mut streams: Vec<StreamId> =
        events.iter().map(|event| event.stream).filter(|stream| !stream.is_system()).collect();
    streams.sort_unstable();
    streams.dedup();
    let mut states: States = states_at(source, firsts)?.into_iter().map(|state| (state.id, state)).collect();
    let seqs = (events.first().map_or(1, |event| event.seq), events.last().map_or(0, |event| event.seq));
    let mut transitions: HashMap<u64, Transition> = events.iter().map(|event| (event.seq, None)).collect();
    let mut failed = Ok(());
    let query = EventQuery { streams, ..EventQuery::default() };
    source.events(&EventsQuestion::all(query, seqs), &mut |event| {
        // The first events of a stream may be before the first one that is shown.
        if states.get(&event.stream).is_some_and(|state| state.last_seq >= event.seq) {
            return ControlFlow::Continue(());
        }
        match apply(&mut states, &event) {
            Ok(transition) => {
                if let Some(shown) = transitions.get_mut(&event.seq) {
                    *shown = transition;
                }
                ControlFlow::Continue(())
            }
            Err(error) => {
                failed = Err(error);
                ControlFlow::Break(())
            }
        }
    })?;
    failed?;
    let step = |event: Event| Step { transition: transitions.remove(&event.seq).flatten(), event };
    Ok((events.into_iter().map(step).collect(), states))
}

/// Applies an event to the state of its stream. Returns its transition.
pub(crate) fn apply(states: &mut States, event: &Event) -> Result<Transition, ReadError> {
    if event.stream.is_system() {
        return Ok(None);
    }
    let illegal = |source| ReadError::Illegal { seq: event.seq, source };
    match states.get_mut(&event.stream) {
        Some(stream) => stream.apply_with_transition(event).map_err(illegal),
        None => {
            states.insert(event.stream, Stream::begin(event).map_err(illegal)?);
            Ok(None)
        }
    }
}
