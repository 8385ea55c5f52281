//! What happens in the ledger while the screen is open.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use apm2_model::{
    event::{Event, kind::EventKind, stream_id::StreamId},
    spec::id::ProcessId,
};

use crate::{
    status::{KernelState, Supervision},
    top::{
        app::{App, dialog::Dialog},
        feed::samples::Sample,
        message::{Note, Question},
        snapshot::Snapshot,
    },
};

/// Time after an event after which is looked up which processes are supervised: their files change after the event.
const LAUNCHES_DELAY: Duration = Duration::from_secs(1);

/// Time between two looks at processes that no daemon supervises.
const KERNEL_INTERVAL: Duration = Duration::from_secs(5);

impl App {
    /// Shows a present that was read as a whole.
    pub(super) fn on_snapshot(&mut self, snapshot: Snapshot) {
        let was_supervised = self.live.as_ref().map(Snapshot::is_supervised);
        let is_supervised = snapshot.is_supervised();
        match was_supervised {
            None => self.outbox.questions.push(Question::Samples(u64::MAX)),
            Some(was) if was != is_supervised && is_supervised => self.say(Note::done("a daemon runs now")),
            Some(_) => {}
        }
        self.live = Some(snapshot);
        self.is_list_stale = true;
        self.detail.note_events();
        self.plan_facts(KERNEL_INTERVAL);
    }

    /// Applies the next event.
    pub(super) fn on_event(&mut self, event: &Event) {
        let Some(live) = &mut self.live else { return };
        if event.seq <= live.seq {
            return;
        }
        if !live.apply(event) {
            // An event is missing, or is of an instance that is not held.
            self.outbox.questions.push(Question::Snapshot);
            return;
        }
        if let Some(sample) = Sample::of(event) {
            self.samples.push(event.stream, sample);
        }
        if self.past.is_some() {
            return;
        }
        self.is_list_stale = true;
        if self.list.selected() == Some(event.stream) {
            self.detail.note_events();
        }
        if matches!(
            event.kind,
            EventKind::Registered { .. }
                | EventKind::Unregistered
                | EventKind::Stopped { .. }
                | EventKind::Crashed { .. }
                | EventKind::Terminated { .. }
        ) {
            self.facts_due.get_or_insert(self.now.open_for + LAUNCHES_DELAY);
        }
    }

    /// Notes that no daemon sends events any more.
    pub(super) fn on_daemon_lost(&mut self, supervision: Supervision) {
        let Some(live) = &mut self.live else { return };
        let was_supervised = live.is_supervised();
        live.context.supervision = Some(supervision);
        self.is_list_stale = true;
        if was_supervised {
            self.say(Note::error(match supervision {
                Supervision::Absent => "the daemon has ended; processes that run are not supervised",
                Supervision::Unanswered | Supervision::Answered => "the daemon does not answer",
            }));
        }
        self.facts_due = Some(self.now.open_for);
    }

    /// Takes what changes without events.
    pub(super) fn on_facts(&mut self, observed: HashMap<StreamId, KernelState>, launched: Option<HashSet<ProcessId>>) {
        let Some(live) = &mut self.live else { return };
        self.is_list_stale |= live.observed != observed || live.context.launched != launched;
        live.observed = observed;
        live.context.launched = launched;
        self.plan_facts(KERNEL_INTERVAL);
    }

    /// Plans the next look at processes that no daemon supervises.
    fn plan_facts(&mut self, delay: Duration) {
        if self.live.as_ref().is_some_and(|live| !live.is_supervised()) {
            self.facts_due.get_or_insert(self.now.open_for + delay);
        }
    }

    /// Says why a question was not answered.
    pub(super) fn on_failed(&mut self, question: &Question, text: String) {
        self.detail.failed(question, self.now.open_for);
        match question {
            Question::Jump(_) => {
                self.is_jumping = false;
                self.say(Note::error(text));
            }
            Question::Step(_) => {
                if let Some(past) = &mut self.past {
                    past.stop_stepping();
                }
                self.say(Note::error(text));
            }
            // They are asked again.
            Question::Facts(_) | Question::Samples(_) => self.plan_facts(KERNEL_INTERVAL),
            Question::Overview { .. } => {
                self.dialog.take_if(|dialog| matches!(dialog, Dialog::Overview(_)));
                self.say(Note::error(text));
            }
            Question::History(_) | Question::Why(_) | Question::Snapshot => self.say(Note::error(text)),
        }
    }
}
