//! The command `report`: a page that a browser opens without a network, made of what is recorded.

use std::{fs, os::unix::fs::MetadataExt as _};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{
    fixture,
    support::{Place, gone, send, wait_until},
};

/// Ends a page, begins another element, reorders and hides.
const HOSTILE: &str = "</script><img src=x onerror=alert(1)>&lt;\u{202e}\u{200b}<!--";

/// The document in a page.
fn document(page: &str) -> Value {
    let (_, data) = page.split_once("<script type=\"application/json\" id=\"data\">").unwrap();
    serde_json::from_str(data.split_once("</script>").unwrap().0).unwrap()
}

fn reported(place: &Place, args: &[&str]) -> (String, Value) {
    let page = place.run(&[&["report"], args].concat()).succeeded().stdout;
    let document = document(&page);
    (page, document)
}

#[test]
fn the_figures_are_those_of_the_other_commands() {
    let place = Place::new();
    fixture::write(&place.ledger());
    let since = ["--since", "2026-01-01"];
    let (_, document) = reported(&place, &since);
    let verified = place.json(&["verify"]);
    assert_eq!(document["ledger"]["events"], verified["size"]);
    let facts = document["evidence"]["facts"].as_array().unwrap();
    assert!(facts.iter().any(|fact| fact["value"] == verified["chain"]), "{facts:?}");
    let stats = place.json(&[&["stats"], &since[..]].concat());
    let processes = document["processes"].as_array().unwrap();
    let one = |key: &str| processes.iter().find(|process| process["key"] == key).unwrap_or_else(|| panic!("{key}"));
    for statistics in stats["processes"].as_array().unwrap() {
        let (id, instance) = (statistics["process_id"].as_str().unwrap(), &statistics["instance"]);
        let process = one(&format!("{id}/{instance}"));
        let name = statistics["display_name"].as_str().unwrap();
        for figure in ["restarts", "crashes"] {
            assert_eq!(process[figure], statistics[figure], "{name}: {figure}");
        }
        let why = place.json(&["why", name]);
        assert_eq!(process["story"]["headline"], why["text"], "{name}");
        let told: Vec<&Value> = process["story"]["causes"].as_array().unwrap().iter().map(|one| &one["text"]).collect();
        let causes: Vec<&Value> = why["causes"].as_array().unwrap().iter().map(|one| &one["text"]).collect();
        assert_eq!(told, causes, "{name}");
        // The spans cover the period.
        let spans: Vec<u64> = process["spans"].as_array().unwrap().iter().map(|one| one.as_u64().unwrap()).collect();
        let mut next = 0;
        for span in spans.chunks(3) {
            assert_eq!(span[0], next, "{name}");
            next = span[1] + 1;
        }
        assert_eq!(next, document["period"]["buckets"].as_u64().unwrap(), "{name}");
    }
}

#[test]
fn a_file_is_private_and_is_not_overwritten() {
    let place = Place::new();
    fixture::write(&place.ledger());
    let path = place.path("page.html");
    let name = path.to_str().unwrap();
    place.run(&["report", "-o", name]).succeeded().said(&["written to"]);
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    let before = fs::read(&path).unwrap();
    place.run(&["report", "-o", name]).left_with(2).said(&["exists already"]);
    assert_eq!(fs::read(&path).unwrap(), before);
    assert!(!place.path("page.html.partial").exists());
    place.run(&["report", "-o", "later.html", "--since", "99999"]).left_with(2);
    assert!(!place.path("later.html").exists() && !place.path("later.html.partial").exists());
}

#[test]
fn the_summary_names_processes_with_times_and_causes() {
    let place = Place::new();
    let processes = "
[[process]]
name = 'taken'
command = 'sleep'
args = ['1000']
restart = { policy = 'always', backoff = '100ms' }

[[process]]
name = 'absent'
command = '/no/such/program'
restart = { policy = 'never' }
";
    fs::write(place.path("ecosystem.toml"), processes).unwrap();
    place.run(&["up"]).left_with(1);
    let taken = place.pid_of("taken");
    place.kill_daemon();
    send(taken, Signal::SIGKILL);
    wait_until("the process has ended", || gone(taken).then_some(()));
    place.run(&["up"]).left_with(1);
    wait_until("the end is found", || place.types("taken").contains(&"end_unobserved".to_owned()).then_some(()));
    let (_, document) = reported(&place, &[]);
    let fact = |question: &str| {
        let facts = document["facts"].as_array().unwrap();
        facts.iter().find(|fact| fact["question"] == question).unwrap_or_else(|| panic!("{question} in {facts:?}"))
    };
    let down = &fact("What is down now?")["parts"][0];
    assert_eq!((&down["process"]["name"], down["at_ms"].is_i64()), (&"absent".into(), true), "{down}");
    let details = down["details"].as_str().unwrap();
    assert!(details.contains("/no/such/program: No such file or directory; not restarted"), "{details}");
    let gap = &fact("When did no daemon run?")["parts"][0];
    let unseen = &gap["parts"][0];
    assert_eq!((&gap["details"], &unseen["process"]["name"]), (&"the daemon died".into(), &"taken".into()));
    assert_eq!(unseen["answer"], "ended unseen: SIGKILL");
    assert!(fact("What was the longest outage?")["parts"][0]["answer"].as_str().unwrap().ends_with(", still down"));
    let unseen = document["unseen"].as_array().unwrap();
    assert_eq!((unseen.len(), &unseen[0]["process"]["name"]), (1, &"taken".into()));
    let requests = document["requests"].as_array().unwrap();
    let first = requests.last().unwrap();
    assert_eq!((&first["what"], first["processes"].as_array().unwrap().len()), (&"start".into(), 2), "{requests:?}");
}

#[test]
fn recorded_text_stays_data_and_is_visible() {
    let place = Place::new();
    let script = format!("printf '%s\\n' '{HOSTILE}' >&2; exit 3");
    place.run(&["run", "--name", "it", "--reason", HOSTILE, "--", "sh", "-c", &script]).left_with(3);
    let (page, document) = reported(&place, &[]);
    let (_, after) = page.split_once("id=\"data\">").unwrap();
    let data = after.split_once("</script>").unwrap().0;
    assert!(!data.contains(['<', '>', '&']), "no character can end the element");
    let process = &document["processes"][0];
    assert!(process["last_output"]["stderr"].as_str().unwrap().contains("</script><img"));
    assert!(process["command"].as_str().unwrap().contains(r"\u202e"));
    let action = document["requests"].as_array().unwrap().iter().find(|one| !one["reason"].is_null()).unwrap();
    assert!(action["reason"].as_str().unwrap().ends_with(r"&lt;\u202e\u200b<!--"), "{action}");
}

#[test]
fn ten_megabytes_of_lines_are_cut() {
    let place = Place::new();
    let script = "yes '<b>0123456789</b>' | head -c 10000000 >&2; exit 1";
    place.run(&["run", "--name", "it", "--", "sh", "-c", script]).left_with(1);
    let (page, _) = reported(&place, &[]);
    assert!(page.len() < 300_000, "{}", page.len());
}

#[test]
fn an_empty_ledger_and_an_empty_period_have_a_page() {
    let place = Place::new();
    apm2_ledger::Ledger::open(&place.ledger()).unwrap().close().unwrap();
    let (page, document) = reported(&place, &[]);
    assert!(page.starts_with("<!DOCTYPE html>") && document["processes"].as_array().unwrap().is_empty());
    assert_eq!((&document["ledger"]["events"], &document["evidence"]["tone"]), (&0.into(), &"good".into()));
    let place = Place::new();
    fixture::write(&place.ledger());
    let (_, document) = reported(&place, &["--since", "1 minute ago"]);
    assert!(document["period"]["to_ms"].as_i64() > document["period"]["from_ms"].as_i64());
}
