//! What somebody waits for who waits for a process: its runs from one start on, until it neither runs nor is due to.

use crate::event::{
    Event,
    kind::{EventKind, StartTrigger},
};

/// The runs that one start led to: the first, and each that its policy or an operator's restart had follow.
///
/// A start that is asked for once all that is over begins another series.
#[derive(Debug, Clone)]
pub struct Series {
    first: u64,
    /// The seq of the event that ended the latest run of it.
    end_seq: Option<u64>,
    is_over: bool,
}

impl Series {
    /// The series that begins with this run.
    #[must_use]
    pub const fn from(run: u64) -> Self {
        Self { first: run, end_seq: None, is_over: false }
    }

    /// Takes the next event of its stream. Whether that belongs to the series.
    pub fn takes(&mut self, event: &Event) -> bool {
        match &event.kind {
            EventKind::StartRequested { trigger } if event.run > self.first => {
                self.is_over |= !self.is_continued_by(*trigger, event.cause);
            }
            EventKind::Stopped { .. } | EventKind::Crashed { .. } | EventKind::Terminated { .. } => {
                self.end_seq = Some(event.seq);
            }
            _ => {}
        }
        event.run >= self.first && !self.is_over
    }

    /// Whether it is over by what it has taken: something else was started.
    #[must_use]
    pub const fn is_over(&self) -> bool {
        self.is_over
    }

    /// A start that waited for the end of the run before it is caused by that end.
    fn is_continued_by(&self, trigger: StartTrigger, cause: Option<u64>) -> bool {
        matches!(trigger, StartTrigger::Restart { .. }) || (cause.is_some() && cause == self.end_seq)
    }
}
