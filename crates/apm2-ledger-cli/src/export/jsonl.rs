//! JSON lines: one object for each event, as `tail` prints it. An export of all events has the records, too, so that it can
//! be imported with the same hash chain.
//!
//! The first line is a header with the version of the form, the id of the ledger, and the number and the hash of its events.

use std::io::{self, Write};

use apm2_ledger::{Chain, Head};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    context::write_jsonl,
    export::{ExportForm, Exported, Origin},
    view::event::EventView,
};

/// The version of the form.
pub(crate) const VERSION: u32 = 1;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// The version of the form.
    pub(crate) apm2_ledger_export: u32,
    pub(crate) ledger: Uuid,
    /// The number of events of the ledger.
    pub(crate) size: u64,
    /// The hash chain value after the last of them, in hexadecimal digits.
    pub(crate) chain: String,
    /// Whether each event follows, with its record.
    pub(crate) complete: bool,
}

impl Header {
    /// The number and the hash of the events; `None` when the hash is not one.
    pub(crate) fn head(&self) -> Option<Head> {
        let mut chain = [0; 32];
        let digits = self.chain.as_bytes().chunks_exact(2);
        if self.chain.len() != 64 {
            return None;
        }
        for (byte, digits) in chain.iter_mut().zip(digits) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Head { size: self.size, chain: Chain(chain) })
    }
}

/// What an import reads of a line.
#[derive(Debug, Deserialize)]
pub(crate) struct RecordLine {
    pub(crate) seq: u64,
    record: String,
}

impl RecordLine {
    /// The record; `None` when it is not base64.
    pub(crate) fn record(&self) -> Option<Vec<u8>> {
        STANDARD.decode(&self.record).ok()
    }
}

/// A line with an event.
#[derive(Serialize)]
struct EventLine<'a> {
    #[serde(flatten)]
    event: EventView<'a>,
    name: Option<&'a str>,
    /// The record of the event in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<String>,
}

/// The form.
pub(crate) struct JsonLines {
    pub(crate) origin: Origin,
}

impl ExportForm for JsonLines {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let Origin { ledger, head, is_complete } = self.origin;
        let chain = head.chain.to_string();
        write_jsonl(
            out,
            [Header { apm2_ledger_export: VERSION, ledger, size: head.size, chain, complete: is_complete }],
        )
    }

    fn event(&mut self, out: &mut dyn Write, exported: Exported<'_>) -> io::Result<()> {
        let record = exported.record.map(|record| STANDARD.encode(record));
        write_jsonl(out, [EventLine { event: EventView::of(exported.event, None), name: exported.name, record }])
    }

    fn end(&mut self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}
