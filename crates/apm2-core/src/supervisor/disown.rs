//! Closing the open runs of a copied ledger without touching a process.
//!
//! A copied ledger or a restored backup contains open runs that belong to the original ledger. The processes of these
//! runs may be alive and supervised there. For that reason, these processes are neither adopted nor signalled, and no
//! process is started in their place until an operator requests it.

use std::sync::Arc;

use apm2_model::{
    event::{
        actor::Actor,
        exit::{Exit, RunEnd},
        kind::{EventKind, RestartRule},
        origin::EventOrigin,
        requester::Requester,
    },
    state::stream::{FollowUp, Stream},
};

use crate::{
    error::ProcessError,
    run::{history::History, instance::end_event},
    supervisor::Supervisor,
};

impl Supervisor {
    /// Whether this instance has an open run, a restart that is due, or should run.
    #[must_use]
    pub fn is_unfinished(stream: &Stream) -> bool {
        !stream.id.is_system() && (stream.is_open() || stream.follow_up != FollowUp::Nothing || stream.wanted)
    }

    pub(crate) fn disown(&self, stream: Stream, reason: &str) -> Result<Stream, ProcessError> {
        if !Self::is_unfinished(&stream) {
            return Ok(stream);
        }
        let mut kinds = match stream.intent {
            Some(intent) => vec![
                EventKind::Starting { identity: None, trigger: intent.trigger },
                EventKind::Crashed { cause: RunEnd::NeverConfirmed },
            ],
            None if stream.handle.state.has_exited() => Vec::new(),
            // The process of the run belongs to another supervisor, so its exit cannot be observed here.
            None => vec![end_event(&stream.handle.state, Exit::UNKNOWN, false)],
        };
        kinds.push(EventKind::RestartRefused { rule: RestartRule::StopRequested });
        let origin = EventOrigin::of(Requester { actor: Actor::Recovery, reason: Some(reason.to_owned()) });
        let services = &self.inner.services;
        let (id, recorder, clock) = (stream.id, services.store.recorder(), Arc::clone(&services.clock));
        let mut history = History::new(id, Some(stream.clone()), recorder, clock);
        history.record(&origin, kinds)?;
        Ok(history.stream().map_or(stream, |left| Stream::clone(left)))
    }
}
