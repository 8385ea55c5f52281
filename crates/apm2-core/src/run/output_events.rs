//! Events about the outputs of a run.

use apm2_model::{
    event::{
        kind::{EventKind, OutputSource},
        origin::EventOrigin,
    },
    state::ProcessState,
};

use crate::{
    output::{drain::Drained, notice::OutputNotice},
    run::instance::SharedInstance,
};

/// Records the outputs that another process still holds open after the end of a run, and the last lines of a failed run.
pub(super) fn record_outputs(shared: &SharedInstance, run: u64, drained: Drained) {
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
    // Events about a run must not be added after the next run has begun.
    if kinds.is_empty() || latest != run {
        return;
    }
    let origin = EventOrigin::default().caused_by(end_seq);
    if let Err(error) = instance.record(&origin, kinds) {
        tracing::warn!(%error, "the end of an output could not be recorded");
    }
}

/// Records that output is being lost. When the loss is over, records how many bytes were lost.
pub(super) fn record_notice(shared: &SharedInstance, run: u64, notice: &OutputNotice) {
    let (source, bytes, cause) = match notice {
        OutputNotice::Dropping { source, cause } => (*source, 0, cause.clone()),
        OutputNotice::Resumed { source, bytes } => (*source, *bytes, "written again".to_owned()),
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
        tracing::warn!(%error, "the loss of output could not be recorded");
    }
}
