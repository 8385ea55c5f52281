//! The forms in which events leave a ledger. Each form is a file of its own.

pub(crate) mod cloud_event;
pub(crate) mod csv;
pub(crate) mod gen_ai;
pub(crate) mod jsonl;
pub(crate) mod otlp;
pub(crate) mod partial_file;
pub(crate) mod severity;

use std::io::{self, Write};

use apm2_ledger::Head;
use apm2_model::event::Event;
use uuid::Uuid;

/// The ledger that is exported.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin {
    pub(crate) ledger: Uuid,
    /// The last event at the beginning of the export.
    pub(crate) head: Head,
    /// Whether all events are exported.
    pub(crate) is_complete: bool,
}

/// An event that is exported.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exported<'a> {
    pub(crate) event: &'a Event,
    /// The displayed name of the instance; `None` for events of the ledger itself.
    pub(crate) name: Option<&'a str>,
    /// The record of the event, in an export of all events.
    pub(crate) record: Option<&'a [u8]>,
}

/// Writes events in one form.
pub(crate) trait ExportForm {
    /// Writes what comes before the events.
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()>;

    /// Writes an event.
    fn event(&mut self, out: &mut dyn Write, exported: Exported<'_>) -> io::Result<()>;

    /// Writes what comes after the events.
    fn end(&mut self, out: &mut dyn Write) -> io::Result<()>;
}
