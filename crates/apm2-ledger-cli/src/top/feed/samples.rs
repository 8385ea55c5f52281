//! Measurements of processes, as they are recorded.

use apm2_model::event::{Event, kind::EventKind};

/// One measurement of all processes of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    /// The number of the event.
    pub(crate) seq: u64,
    /// The run that was measured.
    pub(crate) run: u64,
    /// Processor use in hundredths of a percent of one core.
    pub(crate) cpu_centipercent: u32,
    /// Resident memory in bytes.
    pub(crate) memory_bytes: u64,
}

impl Sample {
    /// The measurement that an event records.
    pub(crate) const fn of(event: &Event) -> Option<Self> {
        match event.kind {
            EventKind::Sampled { cpu_centipercent, memory_bytes, .. } => {
                Some(Self { seq: event.seq, run: event.run, cpu_centipercent, memory_bytes })
            }
            _ => None,
        }
    }
}
