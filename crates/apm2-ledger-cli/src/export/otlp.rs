//! Log records of the OpenTelemetry protocol in JSON: on each line one request with several records, as the file exporter of
//! the collector writes and its `otlpjsonfile` receiver reads.

use std::io::{self, Write};

use apm2_ledger::Reader;
use apm2_model::event::kind::EventKind;
use serde_json::{Value, json};

use crate::{
    context::write_jsonl,
    export::{
        ExportForm, Exported, Origin,
        gen_ai::{self, GenAi},
        severity::{ERROR, INFO, Severity, WARN},
    },
    view::event::EventView,
};

/// The number of records in one request.
const RECORDS_MAX: usize = 256;

/// The form.
pub(crate) struct OtlpLogs {
    origin: Origin,
    gen_ai: GenAi,
    records: Vec<Value>,
}

impl OtlpLogs {
    pub(crate) fn new(origin: Origin, reader: Reader) -> Self {
        Self { origin, gen_ai: GenAi::new(reader), records: Vec::new() }
    }

    fn flush(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let records = std::mem::take(&mut self.records);
        if records.is_empty() {
            return Ok(());
        }
        let resource = [
            attribute("service.name", &json!("apm2-ledger")),
            attribute("apm2.ledger.id", &json!(self.origin.ledger.to_string())),
        ];
        let scope = json!({ "name": "apm2-ledger", "version": env!("CARGO_PKG_VERSION") });
        let request = json!({
            "resourceLogs": [{
                "resource": { "attributes": resource },
                "scopeLogs": [{ "scope": scope, "logRecords": records }],
            }],
        });
        write_jsonl(out, [request])
    }
}

impl ExportForm for OtlpLogs {
    fn begin(&mut self, _out: &mut dyn Write) -> io::Result<()> {
        Ok(())
    }

    fn event(&mut self, out: &mut dyn Write, exported: Exported<'_>) -> io::Result<()> {
        self.records.push(record(exported, &mut self.gen_ai)?);
        if self.records.len() >= RECORDS_MAX { self.flush(out) } else { Ok(()) }
    }

    fn end(&mut self, out: &mut dyn Write) -> io::Result<()> {
        self.flush(out)
    }
}

fn record(exported: Exported<'_>, gen_ai: &mut GenAi) -> io::Result<Value> {
    let event = exported.event;
    let fields = serde_json::to_value(EventView::of(event, None))?;
    let (severity, severity_text) = severity(&event.kind);
    let mut attributes: Vec<Value> = Vec::new();
    if let Some(name) = exported.name {
        attributes.push(attribute("apm2.name", &json!(name)));
    }
    if let Some(pid) = fields.get("pid") {
        attributes.push(attribute("process.pid", pid));
    }
    if let EventKind::Agent { report } = &event.kind {
        let of_agent = gen_ai.attributes(event, report, exported.name)?;
        attributes.extend(of_agent.iter().map(|(key, value)| attribute(key, value)));
    }
    let fields = fields.as_object().into_iter().flatten();
    // The time has a field of its own. A null is a missing attribute.
    let fields = fields.filter(|(name, value)| *name != "at" && !value.is_null());
    attributes.extend(fields.map(|(name, value)| attribute(&format!("apm2.{name}"), value)));
    let body = match exported.name {
        Some(name) => format!("{name} {}", event.kind.name()),
        None => event.kind.name().to_owned(),
    };
    let nanos = event.stamp.wall_ns.max(0).to_string();
    Ok(json!({
        "timeUnixNano": nanos,
        "observedTimeUnixNano": nanos,
        "severityNumber": severity,
        "severityText": severity_text,
        "eventName": format!("apm2.{}", event.kind.name()),
        "body": { "stringValue": body },
        "attributes": attributes,
    }))
}

const fn severity(kind: &EventKind) -> Severity {
    match kind {
        EventKind::Agent { report } => gen_ai::severity(&report.event),
        EventKind::Crashed { .. } | EventKind::GroupSurvived { .. } | EventKind::OutputDropped { .. } => ERROR,
        EventKind::RestartRefused { rule } if rule.is_giving_up() => ERROR,
        EventKind::StoreRebuilt { .. } | EventKind::TailCut { .. } | EventKind::EndUnobserved { .. } => WARN,
        EventKind::Unhealthy { .. } | EventKind::Terminated { .. } | EventKind::SignalFailed { .. } => WARN,
        EventKind::RestartScheduled { .. } | EventKind::OutputLeaked { .. } | EventKind::OrphansEnded { .. } => WARN,
        _ => INFO,
    }
}

fn attribute(key: &str, value: &Value) -> Value {
    json!({ "key": key, "value": any_value(value) })
}

/// The value as an `AnyValue` of the protocol. In its JSON, 64-bit integers are strings.
fn any_value(value: &Value) -> Value {
    match value {
        Value::Null => json!({}),
        Value::Bool(value) => json!({ "boolValue": value }),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => json!({ "intValue": integer.to_string() }),
            None => json!({ "doubleValue": number.as_f64() }),
        },
        Value::String(text) => json!({ "stringValue": text }),
        Value::Array(elements) => {
            json!({ "arrayValue": { "values": elements.iter().map(any_value).collect::<Vec<_>>() } })
        }
        Value::Object(fields) => {
            let fields: Vec<_> = fields.iter().map(|(key, value)| attribute(key, value)).collect();
            json!({ "kvlistValue": { "values": fields } })
        }
    }
}
