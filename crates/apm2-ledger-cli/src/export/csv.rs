//! CSV (RFC 4180): a row for each event, for spreadsheets.

use std::io::{self, Write};

use apm2_model::event::actor::Actor;
use serde_json::Value;

use crate::{
    export::{ExportForm, Exported},
    render::words,
    view::event::EventView,
};

const COLUMNS: [&str; 14] = [
    "seq",
    "at",
    "name",
    "process_id",
    "instance",
    "run",
    "type",
    "actor",
    "reason",
    "cause",
    "pid",
    "exit_code",
    "signal",
    "detail",
];

/// The fields of the JSON of an event that have a column of their own. The other fields are in the column `detail`, as JSON.
const NAMED: [&str; 10] = ["seq", "at", "process_id", "instance", "run", "version", "type", "actor", "reason", "cause"];

/// The form.
pub(crate) struct Csv;

impl ExportForm for Csv {
    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        row(out, COLUMNS.map(str::to_owned))
    }

    fn event(&mut self, out: &mut dyn Write, exported: Exported<'_>) -> io::Result<()> {
        let event = exported.event;
        let mut fields = match serde_json::to_value(EventView::of(event, None))? {
            Value::Object(fields) => fields,
            _ => serde_json::Map::new(),
        };
        let at = fields.get("at").and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |fields: &serde_json::Map<String, Value>, name: &str| {
            text(fields.get(name).or_else(|| fields.get("exit")?.get(name)))
        };
        let (pid, code, signal) = (number(&fields, "pid"), number(&fields, "exit_code"), number(&fields, "signal"));
        let code = if code.is_empty() { number(&fields, "code") } else { code };
        NAMED.into_iter().for_each(|name| drop(fields.remove(name)));
        let actor = match &event.actor {
            actor @ Actor::Operator { .. } => inert(words::actor(actor)),
            actor => words::actor(actor),
        };
        row(
            out,
            [
                event.seq.to_string(),
                at,
                inert(exported.name.unwrap_or_default().to_owned()),
                event.stream.process_id.to_string(),
                event.stream.instance.to_string(),
                event.run.to_string(),
                event.kind.name().to_owned(),
                actor,
                inert(event.reason.clone().unwrap_or_default()),
                event.cause.map_or_else(String::new, |cause| cause.to_string()),
                pid,
                code,
                signal,
                if fields.is_empty() { String::new() } else { Value::Object(fields).to_string() },
            ],
        )
    }

    fn end(&mut self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }
}

fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null | Value::Object(_) | Value::Array(_)) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
    }
}

/// A text that a spreadsheet does not take for a formula: one that begins like a formula gets an apostrophe before it.
fn inert(text: String) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text }
}

fn row(out: &mut dyn Write, fields: [String; COLUMNS.len()]) -> io::Result<()> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    writer.write_record(fields)?;
    writer.flush()
}
