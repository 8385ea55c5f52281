//! The commands `export` and `import`: what leaves a ledger, and the same ledger made of it.

use std::{fs, process::Stdio};

use serde_json::{Value, json};

use crate::{
    fixture,
    support::{Place, finish},
};

fn place() -> Place {
    let place = Place::new();
    fixture::write(&place.ledger());
    place
}

fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// Runs the command on the ledger in the directory `name`.
fn on(place: &Place, name: &str, args: &[&str]) -> crate::support::Outcome {
    let dir = place.path(name).into_os_string().into_string().unwrap();
    place.run(&[&["--ledger", &dir], args].concat())
}

#[test]
fn a_whole_ledger_is_imported_with_the_same_chain() {
    let place = place();
    let file = place.path("all.jsonl").into_os_string().into_string().unwrap();
    place.run(&["export", "-o", &file]).succeeded();
    let exported = fs::read_to_string(&file).unwrap();
    let header = lines(&exported).remove(0);
    let verified = place.json(&["verify"]);
    assert_eq!(
        (&header["size"], &header["chain"], &header["complete"]),
        (&verified["size"], &verified["chain"], &json!(true))
    );
    assert_eq!(exported.lines().count() as u64, header["size"].as_u64().unwrap() + 1);
    on(&place, "dry", &["import", "--dry-run", &file]).succeeded();
    assert!(!place.path("dry").exists() && !place.path("dry.partial").exists());
    on(&place, "copy", &["import", &file]).succeeded();
    let copy = on(&place, "copy", &["--format", "json", "verify"]).succeeded().json();
    assert_eq!((&copy["size"], &copy["chain"]), (&verified["size"], &verified["chain"]));
    let tail = ["--format", "jsonl", "tail", "-n", "all"];
    assert_eq!(on(&place, "copy", &tail).succeeded().stdout, place.run(&tail).succeeded().stdout);
    // It is a ledger like any other.
    on(&place, "copy", &["run", "--name", "later", "--", "true"]).succeeded();
    on(&place, "copy", &["verify"]).succeeded();
    on(&place, "copy", &["import", &file]).left_with(1).said(&["exists already"]);
    place.run(&["export", "-o", &file]).left_with(2).said(&["exists already", "give another name"]);
    // An export that another one is writing is not touched.
    let (other, partial) = (place.path("other.jsonl"), place.path("other.jsonl.partial"));
    fs::write(&partial, "a").unwrap();
    place.run(&["export", "-o", other.to_str().unwrap()]).left_with(2).said(&["exists already", "another export"]);
    assert!(!other.exists() && fs::read_to_string(&partial).unwrap() == "a");
    on(&place, "copy", &["daemon", "--stop"]);
}

#[test]
fn an_import_through_a_pipe_checks_each_line() {
    let place = place();
    let exported = place.run(&["export"]).succeeded().stdout;
    let all: Vec<&str> = exported.lines().collect();
    let import = |name: &str, text: String| {
        let dir = place.path(name);
        let mut command = place.command(&["--ledger", dir.to_str().unwrap(), "import", "-"]);
        let input = place.path("input");
        fs::write(&input, text).unwrap();
        let outcome = finish(command.stdin(Stdio::from(fs::File::open(&input).unwrap())));
        assert_eq!(dir.exists(), outcome.code == 0, "{outcome:?}");
        assert!(!place.path(&format!("{name}.partial")).exists());
        outcome
    };
    let text = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    import("a", text(&all)).succeeded();
    import("b", text(&all[..all.len() - 1])).left_with(1).said(&["the stated hash is"]);
    import("b", exported[..exported.len() - 5].to_owned()).left_with(1).said(&["cut short"]);
    import("b", String::new()).left_with(1).said(&["the export is empty"]);
    let without = [&all[..5], &all[6..]].concat();
    import("b", text(&without)).left_with(1).said(&["event 6 follows where event 5 is expected"]);
    let edited = exported.replacen("\"record\":\"A", "\"record\":\"B", 1);
    if edited != exported {
        import("b", edited).left_with(1);
    }
    let newer = exported.replacen("\"apm2_ledger_export\":1", "\"apm2_ledger_export\":2", 1);
    import("b", newer).left_with(1).said(&["newer than 1"]);
    let part = place.run(&["export", "--type", "crashed"]).succeeded().stdout;
    import("b", part).left_with(1).said(&["only a part of the events"]);
    import("b", "{\"no\": 1}\n".to_owned()).left_with(1).said(&["line 1: missing field"]);
    import("b", " ".repeat(9 << 20)).left_with(1).said(&["line 1: the line is longer than 8388608 bytes"]);
}

#[test]
fn csv_has_a_row_for_each_event_and_no_formula() {
    let place = place();
    place.run(&["run", "--name", "formula", "--reason", "=1+1", "--", "true"]).succeeded();
    let text = place.run(&["export", "--as", "csv"]).succeeded().stdout;
    assert!(text.starts_with("seq,at,name,") && text.contains("\r\n"));
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let headers = reader.headers().unwrap().clone();
    let column = |name: &str| headers.iter().position(|header| header == name).unwrap();
    let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
    let events = lines(&place.run(&["--offline", "--format", "jsonl", "tail", "-n", "all"]).succeeded().stdout);
    assert_eq!(rows.len(), events.len());
    for (row, event) in rows.iter().zip(&events) {
        assert_eq!(
            (&row[0], &row[column("type")]),
            (event["seq"].to_string().as_str(), event["type"].as_str().unwrap())
        );
        assert!(row.iter().all(|field| !field.starts_with(['=', '+', '@'])), "{row:?}");
    }
    assert!(rows.iter().any(|row| &row[column("reason")] == "'=1+1"));
    assert!(rows.iter().any(|row| &row[column("signal")] == "SIGSEGV"), "{text}");
    assert!(rows.iter().any(|row| &row[column("exit_code")] == "2"), "{text}");
}

#[test]
fn cloud_events_and_log_records_have_the_required_fields() {
    let place = place();
    let size = place.json(&["verify"])["size"].as_u64().unwrap();
    let events = lines(&place.run(&["export", "--as", "cloudevents"]).succeeded().stdout);
    assert_eq!(events.len() as u64, size);
    for (event, seq) in events.iter().zip(1_u64..) {
        assert_eq!((&event["specversion"], &event["id"]), (&json!("1.0"), &json!(seq.to_string())));
        let kind = event["data"]["type"].as_str().unwrap();
        assert_eq!(event["type"], format!("apm2.{kind}.v1"));
        assert!(event["source"].as_str().unwrap().starts_with("urn:apm2-ledger:"), "{event}");
    }
    let requests = lines(&place.run(&["export", "build", "--as", "otlp", "--exit", "failed"]).succeeded().stdout);
    let [request] = requests.as_slice() else { panic!("{requests:?}") };
    let records = request["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().unwrap();
    assert_eq!(records.len(), 3);
    for record in records {
        assert_eq!((&record["severityNumber"], &record["eventName"]), (&json!(17), &json!("apm2.crashed")));
        let nanos = record["timeUnixNano"].as_str().unwrap();
        assert!(nanos.len() == 19 && nanos.bytes().all(|byte| byte.is_ascii_digit()), "{record}");
    }
    assert_eq!(place.run(&["export", "--as", "otlp", "--exit", "99"]).succeeded().stdout, "");
}
