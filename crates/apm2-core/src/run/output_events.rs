//! What is recorded of the outputs of a run.

use apm2_model::{
    event::{
        kind::{EventKind, OutputSource},
        origin::EventOrigin,
    },
    state::ProcessState,
};

use crate::{
    output::{drain::Drained, notice::OutputNotice},
    run::instance::Shared,
};

/// Records what became of the outputs of a run that is over: who holds them, and the last lines of one that failed.
pub(super) fn record_outputs(shared: &Shared, run: u64, drained: Drained) {
    let mut kinds: Vec<EventKind> =
        drained.leaked.into_iter().map(|source| EventKind::OutputLeaked { source }).collect();
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    for (source, lines) in drained.tails {
        match source {
            OutputSource::Stdout => stdout = lines,
            OutputSource::Stderr => stderr = lines,
        }
    }
    let mut instance = shared.lock();
    let (state, latest, end_seq) = {
        let facts = instance.facts();
        (facts.state(), facts.run(), facts.end_seq)
    };
    let has_failed = !matches!(state, ProcessState::Stopped { .. });
    if has_failed && !(stdout.is_empty() && stderr.is_empty()) {
        kinds.push(EventKind::OutputTail { stdout, stderr });
    }
    // Once the next run has begun the events of this one are closed.
    if kinds.is_empty() || latest != run {
        return;
    }
    let origin = EventOrigin::default().caused_by(end_seq);
    if let Err(error) = instance.record(&origin, kinds) {
        tracing::warn!(%error, "the end of an output could not be recorded");
    }
}

/// Records that output is lost, and how much it was once that is known.
pub(super) fn record_notice(shared: &Shared, run: u64, notice: &OutputNotice) {
    let (source, bytes, cause) = match notice {
        OutputNotice::Dropping { source, cause } => (*source, 0, cause.clone()),
        OutputNotice::Resumed { source, bytes } => (*source, *bytes, "kept again".to_owned()),
        OutputNotice::Ended { source, bytes } => (*source, *bytes, "to the end of the run".to_owned()),
        OutputNotice::Lost { source, bytes, cause } => (*source, *bytes, cause.clone()),
    };
    let mut instance = shared.lock();
    let latest = instance.facts().run();
    if latest != run {
        return;
    }
    let dropped = EventKind::OutputDropped { source, bytes, cause };
    if let Err(error) = instance.record(&EventOrigin::default(), vec![dropped]) {
        tracing::warn!(%error, "a lost output could not be recorded");
    }
}
