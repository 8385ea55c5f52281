//! Tests of the results of a recorder for valid and invalid events.

use super::*;
use crate::{
    event::kind::EventKind,
    spec::{config::restart::RestartConfig, redact::spec::RedactedSpec},
    state::stream::IllegalEvent,
    testing::{History, ID},
};

#[test]
fn the_null_recorder_numbers_and_folds_events_and_stores_none() {
    let history = History::under(RestartConfig::default());
    let draft = |kind: &EventKind| {
        let Event { stream, run, actor, reason, cause, stamp, kind, .. } = history.next(kind);
        NewEvent { stream, run, actor, reason, cause, stamp, kind }
    };
    let drafts = || vec![draft(&EventKind::BudgetReset), draft(&EventKind::Unregistered)];
    assert!(NullRecorder.check(&draft(&EventKind::BudgetReset)).is_ok());
    let before = Arc::new(Stream { version: 4, ..history.stream.clone() });
    let recorded = NullRecorder.record(Some(&before), drafts()).unwrap();
    let expected: Vec<Event> =
        drafts().into_iter().zip(5..).map(|(draft, number)| draft.numbered(number, number)).collect();
    assert_eq!(recorded.events, expected);
    assert_eq!((recorded.stream.version, recorded.stream.unregistered), (6, true));
    let registered = draft(&EventKind::Registered { spec: RedactedSpec::new(&history.stream.handle.spec) });
    let begun = NullRecorder.record(None, vec![registered.clone(), draft(&EventKind::BudgetReset)]).unwrap();
    assert_eq!((begun.events.len(), begun.stream.version, begun.stream.last_seq), (2, 2, 2));
    assert!(NullRecorder.load(StreamId { process_id: ID, instance: 0 }).unwrap().is_none());
    assert!(NullRecorder.recorder().load(StreamId { process_id: ID, instance: 0 }).unwrap().is_none());
    NullRecorder.each_stream(&mut |stream| panic!("{:?} was not stored", stream.id)).unwrap();
}

#[test]
fn an_event_that_is_not_allowed_is_not_recorded() {
    let history = History::under(RestartConfig::default());
    let stream = Arc::new(history.stream.clone());
    let refused = Recorded::fold(Some(&stream), vec![history.next(&EventKind::Running)]).unwrap_err();
    let cause = refused.get_ref().and_then(|error| error.downcast_ref::<IllegalEvent>());
    assert!(matches!(cause, Some(IllegalEvent::WrongEnd)), "{refused:?}");
    let refused = Recorded::fold(None, vec![history.next(&EventKind::Running)]).unwrap_err();
    let cause = refused.get_ref().and_then(|error| error.downcast_ref::<IllegalEvent>());
    assert!(matches!(cause, Some(IllegalEvent::Registration("running"))), "{refused:?}");
    assert!(Recorded::fold(None, Vec::new()).is_err());
    let unchanged = Recorded::fold(Some(&stream), Vec::new()).unwrap();
    assert_eq!((unchanged.stream, unchanged.events), (stream, Vec::new()));
}
