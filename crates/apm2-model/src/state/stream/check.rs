//! Checks which events a stream refuses for other reasons than its state: the version, the run, an open request, and
//! the process of the run.

use crate::{
    event::{Event, exit::RunEnd, kind::EventKind},
    state::stream::{IllegalEvent, Stream},
};

impl Stream {
    /// Refuses an event that does not fit the stream, in addition to what [`transition`](crate::state::transition) refuses.
    pub(super) fn check(&self, event: &Event) -> Result<(), IllegalEvent> {
        if event.stream != self.id {
            return Err(IllegalEvent::Stream);
        }
        let (expected, found) = (self.version.saturating_add(1), event.version);
        if found != expected {
            return Err(IllegalEvent::Version { expected, found });
        }
        let expected = self.run_of(&event.kind);
        if event.run != expected {
            return Err(IllegalEvent::Run { expected, found: event.run });
        }
        self.check_registration(&event.kind)?;
        self.check_intent(&event.kind)?;
        self.check_end(&event.kind)
    }

    fn check_registration(&self, kind: &EventKind) -> Result<(), IllegalEvent> {
        match kind {
            EventKind::Registered { .. } => Err(IllegalEvent::Registration(kind.name())),
            EventKind::SpecChanged { spec } if spec.id != self.id.process_id || self.id.instance >= spec.instances => {
                Err(IllegalEvent::ForeignSpec)
            }
            // After `unregistered`, only a new specification is allowed. It registers the instance again.
            EventKind::SpecChanged { .. } => Ok(()),
            _ if self.unregistered => Err(IllegalEvent::Registration(kind.name())),
            _ => Ok(()),
        }
    }

    fn check_intent(&self, kind: &EventKind) -> Result<(), IllegalEvent> {
        let fits = match kind {
            EventKind::StartRequested { .. } | EventKind::Unregistered => self.intent.is_none(),
            EventKind::Starting { trigger, .. } => self.intent.is_some_and(|intent| intent.trigger == *trigger),
            _ => true,
        };
        if fits { Ok(()) } else { Err(IllegalEvent::Intent(kind.name())) }
    }

    fn check_end(&self, kind: &EventKind) -> Result<(), IllegalEvent> {
        let spawned = self.handle.pid.is_some();
        match kind {
            EventKind::Terminated { .. } if !self.kill_sent => Err(IllegalEvent::NotKilled),
            EventKind::Crashed { cause } if spawned != matches!(cause, RunEnd::Exit(_)) => Err(IllegalEvent::WrongEnd),
            // INV-0008: after a start that spawned no process, only `Crashed` is allowed.
            EventKind::Running | EventKind::Stopping { .. } if !spawned => Err(IllegalEvent::WrongEnd),
            _ => Ok(()),
        }
    }
}
