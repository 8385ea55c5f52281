//! Closing what the record of a copied ledger has open, without touching a process.
//!
//! The record of a copy or of a restored backup tells of runs that belong to the ledger it was copied from. Its processes may
//! be alive, and are supervised there, or will be. So they are neither adopted nor signalled, and nothing is started in their
//! place until an operator says so.

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
    /// Whether the record has something of this instance open, or due, or to be started.
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
            // How it ends is not known here, and will not be.
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
