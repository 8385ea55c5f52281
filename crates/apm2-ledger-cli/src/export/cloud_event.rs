//! CloudEvents 1.0 in the JSON format, one event on each line.

use std::io::{self, Write};

use serde::Serialize;

use crate::{
    context::write_jsonl,
    export::{ExportForm, Exported, Origin},
    view::event::EventView,
};

/// An event with the attributes of CloudEvents. `sequence` is one of the documented extension attributes.
#[derive(Serialize)]
struct CloudEvent<'a> {
    specversion: &'static str,
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(serialize_with = "crate::view::time")]
    time: chrono::DateTime<chrono::Utc>,
    /// The displayed name of the instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    /// The sequence number with leading zeros, so that it sorts as text.
    sequence: String,
    datacontenttype: &'static str,
    data: EventView<'a>,
}

/// The form.
pub(crate) struct CloudEvents {
    pub(crate) origin: Origin,
}

impl ExportForm for CloudEvents {
    fn begin(&mut self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn event(&mut self, out: &mut dyn Write, exported: Exported<'_>) -> io::Result<()> {
        let event = exported.event;
        let line = CloudEvent {
            specversion: "1.0",
            id: event.seq.to_string(),
            source: format!("urn:apm2-ledger:{}", self.origin.ledger),
            kind: format!("apm2.{}.v1", event.kind.name()),
            time: event.stamp.wall(),
            // An empty subject is not allowed.
            subject: exported.name.filter(|name| !name.is_empty()),
            sequence: format!("{:020}", event.seq),
            datacontenttype: "application/json",
            data: EventView::of(event, None),
        };
        write_jsonl(out, [line])
    }

    fn end(&mut self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}
