//! Answers the questions of the screen from the ledger, one after the other.

use std::{collections::HashMap, ops::ControlFlow, sync::mpsc::SyncSender};

use apm2_ledger::{EventQuery, EventsQuestion, KindSet, ReadLedger as _, StatesQuestion, StreamAt};
use apm2_model::{
    event::{Event, kind::EventKind},
    state::stream::Stream,
};

use crate::{
    changed_streams::changed_streams,
    context::Context,
    error::CliError,
    filter::ChosenEvents,
    history::{InstanceHistory, Shown},
    moment::Moment,
    source::{LedgerSource, ReadFailure},
    status::{KernelState, StatusContext, Supervision},
    steps::States,
    supervisors,
    time::At,
    top::{
        feed::{mailbox::Mailbox, overview, samples::Sample, snapshots},
        message::{Answer, DetailKey, Message, PastAnswer, PastStates, Question, Step, StepDirection},
        snapshot::Snapshot,
    },
    why::evidence::Evidence,
};

/// How many of the last runs and events of a process are shown.
const SHOWN: Shown = Shown { runs: 50, events: 300 };

/// Largest number of samples that are read for the small charts.
const SAMPLES_MAX: u64 = 2_000;

/// The kinds of events that a step passes over: they record no change.
const PASSED_OVER: [&str; 2] = ["sampled", "checkpointed"];

/// Answers questions until the screen is closed.
pub(crate) fn serve(context: &Context, questions: &Mailbox, screen: &SyncSender<Message>) {
    loop {
        let question = questions.take();
        let message = match answer(context, &question) {
            Ok(message) => message,
            Err(error) => Message::Answer(Box::new(Answer::Failed(question, error.message().to_owned()))),
        };
        if screen.send(message).is_err() {
            return;
        }
    }
}

fn answer(context: &Context, question: &Question) -> Result<Message, CliError> {
    let answer = match question {
        Question::History(key) => Answer::History(*key, context.read(|source| history(source, *key))?.0),
        Question::Why(key) => Answer::Why(*key, context.read(|source| evidence(source, *key))?.0),
        Question::Jump(at) => {
            Answer::Past(context.read_supervised(|source, supervision| jump(source, supervision, *at, context))?)
        }
        Question::Step(step) => context.read(|source| self::step(source, *step))?.0,
        Question::Samples(upto) => Answer::Samples(context.read(|source| samples(source, *upto))?.0),
        Question::Overview { until, down } => Answer::Overview(Box::new(overview::read(context, *until, down)?)),
        Question::Facts(processes) => {
            let observed: HashMap<_, _> =
                processes.iter().map(|(id, identity)| (*id, KernelState::of(identity.as_ref()))).collect();
            Answer::Facts { observed, launched: context.launched()? }
        }
        Question::Snapshot => {
            return Ok(Message::Snapshot(Box::new(match snapshots::from_daemon(context)? {
                Ok(snapshot) => snapshot,
                Err(_) => snapshots::from_journal(context, context.supervision()?)?,
            })));
        }
    };
    Ok(Message::Answer(Box::new(answer)))
}

fn history(source: &LedgerSource, key: DetailKey) -> Result<Option<InstanceHistory>, ReadFailure> {
    let upto = source.head()?.end().min(key.upto);
    let chosen = ChosenEvents { query: EventQuery::stream(key.id), seqs: (1, upto) };
    InstanceHistory::read(source, key.id, &chosen, SHOWN)
}

fn evidence(source: &LedgerSource, key: DetailKey) -> Result<Option<Evidence>, ReadFailure> {
    let upto = source.head()?.end().min(key.upto);
    Evidence::read(source, key.id, upto)
}

fn samples(
    source: &LedgerSource,
    upto: u64,
) -> Result<Vec<(apm2_model::event::stream_id::StreamId, Sample)>, ReadFailure> {
    let query = EventQuery { kinds: Some(KindSet::named(["sampled"])), ..EventQuery::default() };
    let events = source.events_in_order(&EventsQuestion::last(query, (1, upto), SAMPLES_MAX))?;
    Ok(events.iter().filter_map(|event| Some((event.stream, Sample::of(event)?))).collect())
}

/// All instances at a time, or after an event. `supervision` is whether a supervisor runs now.
fn jump(source: &LedgerSource, supervision: Supervision, at: At, context: &Context) -> Result<PastAnswer, ReadFailure> {
    let moment = context.moment(source, Some(at), "event")?;
    let query = EventQuery::default();
    let event = source.events_in_order(&EventsQuestion::all(query, (moment.seq.max(1), moment.seq)))?.pop();
    let is_unwatched = supervisors::none_at(source, &moment, event.as_ref())?;
    let moment = Moment { is_unwatched: is_unwatched.unwrap_or(supervision == Supervision::Absent), ..moment };
    let streams = source.states_of(&StatesQuestion::All(moment.seq))?;
    Ok(PastAnswer { moment, event, states: all_at(streams, moment) })
}

fn all_at(streams: Vec<Stream>, moment: Moment) -> PastStates {
    PastStates::All(Box::new(Snapshot::new(moment.seq, streams, StatusContext::past(moment))))
}

/// The event to which a step leads, and the instances that have events between the two moments.
fn step(source: &LedgerSource, step: Step) -> Result<Answer, ReadFailure> {
    let Some(event) = next_event(source, step)? else { return Ok(Answer::NoStep(step.direction)) };
    let moment = Moment::past(event.seq, event.stamp.wall());
    let is_unwatched = supervisors::none_at(source, &moment, Some(&event))?.unwrap_or(false);
    let moment = Moment { is_unwatched, ..moment };
    let (first, last) = (event.seq.min(step.from).saturating_add(1), event.seq.max(step.from));
    let states = match changed_streams(source, KindSet::ALL, (first, last))? {
        None => all_at(source.states_of(&StatesQuestion::All(moment.seq))?, moment),
        Some(ids) => {
            let asked = ids.iter().map(|id| StreamAt { id: *id, seq: event.seq }).collect();
            let found = source.states_of(&StatesQuestion::Of(asked))?;
            let states: States = found.into_iter().map(|stream| (stream.id, stream)).collect();
            let absent = ids.into_iter().filter(|id| !states.contains_key(id)).collect();
            PastStates::Changed { from: step.from, states, absent }
        }
    };
    Ok(Answer::Past(PastAnswer { moment, event: Some(event), states }))
}

fn next_event(source: &LedgerSource, step: Step) -> Result<Option<Event>, ReadFailure> {
    let kinds = EventKind::NAMES.into_iter().filter(|kind| !PASSED_OVER.contains(kind));
    let streams = step.of.into_iter().collect();
    let query = EventQuery { streams, kinds: Some(KindSet::named(kinds)), ..EventQuery::default() };
    let question = match step.direction {
        StepDirection::Earlier => EventsQuestion::last(query, (1, step.from.saturating_sub(1)), 1),
        StepDirection::Later => {
            let last = source.head()?.end();
            EventsQuestion { max: 1, ..EventsQuestion::all(query, (step.from.saturating_add(1), last)) }
        }
    };
    let mut found = None;
    source.events(&question, &mut |event| {
        found = Some(event);
        ControlFlow::Break(())
    })?;
    Ok(found)
}
