//! Commands that read ask the daemon, and else read the journal. Both print the same.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    thread,
};

use serde_json::Value;

use crate::{
    fixture,
    support::{Outcome, Place, wait_until},
};

const ECOSYSTEM: &str = "
[[process]]
name = 'site'
command = 'sleep'
args = ['1000']
instances = 2

[[process]]
name = 'job'
command = 'sh'
args = ['-c', 'echo out; echo err >&2; exit 3']
restart = { policy = 'never' }
";

/// A ledger with the events of the fixture and two processes that run, and its daemon.
fn place() -> Place {
    let place = Place::new();
    fixture::write(&place.ledger());
    std::fs::write(place.path("ecosystem.toml"), ECOSYSTEM).unwrap();
    // The job ends at once, which `up` reports.
    place.run(&["up"]);
    wait_until("the job has ended", || place.types("job").contains(&"output_tail".to_owned()).then_some(()));
    place
}

/// Runs a command twice: through the daemon and from the journal. Returns what each printed.
fn both(place: &Place, args: &[&str]) -> [Outcome; 2] {
    let with = |way: &[&str]| place.run(&[way, args].concat());
    let (daemon, journal) = (with(&["-v"]), with(&["-v", "--offline"]));
    if daemon.code == 0 {
        assert!(daemon.stderr.contains("from its daemon"), "{args:?}: {}", daemon.stderr);
        assert!(journal.stderr.contains("from its journal"), "{args:?}: {}", journal.stderr);
    }
    [daemon, journal]
}

#[test]
fn what_was_recorded_is_printed_the_same_whoever_is_asked() {
    let place = place();
    let commands: [&[&str]; 26] = [
        &["tail"],
        &["tail", "-n", "3"],
        &["tail", "-n", "all"],
        &["tail", "web-build-unknown"],
        &["tail", "build", "web-1"],
        &["tail", "--type", "crashed", "--type", "restart_scheduled"],
        &["tail", "build", "--type", "running", "-n", "1"],
        &["tail", "--since", "5", "--until", "20"],
        &["tail", "--since", "2026-01-31T12:00:10Z", "--until", "2026-01-31T12:00:30Z"],
        &["tail", "--until", "100000"],
        &["tail", "--exit", "failed", "--exit", "0", "-n", "all", "--reverse"],
        &["tail", "--actor", "policy", "--run", "2", "--at", "30", "--limit", "3"],
        &["show", "build", "--actor", "operator", "--state", "stopping"],
        &["list", "--process", "build", "--process", "site", "--exit", "failed", "--at", "30"],
        &["list", "--at", "12"],
        &["list", "--all", "--at", "2026-01-31T12:00:20Z"],
        &["list", "--at", "0"],
        &["show", "build", "--at", "12"],
        &["show", "build", "--at", "2026-01-31T12:00:20Z", "--events", "2", "--runs", "1"],
        &["show", "build", "--at", "1000000"],
        &["show", "build", "--events", "0", "--runs", "0", "--at", "20"],
        &["show", "site"],
        &["show", "nothing"],
        &["show", "0202"],
        &["logs", "job"],
        &["logs", "nothing"],
    ];
    for args in commands {
        for format in ["table", "json", "jsonl"] {
            let args = [&["--format", format], args].concat();
            // Between the two, a sample of a process may be recorded.
            wait_until(&format!("both print the same: {args:?}"), || {
                let [daemon, journal] = both(&place, &args);
                let is_same = (daemon.code, &daemon.stdout) == (journal.code, &journal.stdout)
                    && errors(&daemon.stderr) == errors(&journal.stderr);
                if !is_same {
                    eprintln!("{args:?}: {daemon:?} and {journal:?}");
                }
                is_same.then_some(())
            });
        }
    }
}

/// What is said on standard error, but for the way to read that was used.
fn errors(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.contains("reading")).collect()
}

/// Removes from a document what depends on the moment, and on whether a daemon reports it.
fn recorded(mut value: Value) -> Value {
    if let Some(fields) = value.as_object_mut() {
        for name in ["supervised", "observed", "uptime_secs", "cpu_percent", "memory_bytes"] {
            fields.remove(name);
        }
        fields.values_mut().for_each(|field| *field = recorded(field.take()));
    } else if let Some(elements) = value.as_array_mut() {
        elements.iter_mut().for_each(|element| *element = recorded(element.take()));
    }
    value
}

#[test]
fn the_present_is_printed_the_same_but_for_what_only_the_daemon_knows() {
    let place = place();
    for args in
        [&["list"][..], &["list", "--all"], &["show", "site-1"], &["show", "job", "--events", "3"], &["show", "build"]]
    {
        wait_until(&format!("both print the same: {args:?}"), || {
            let [daemon, journal] = both(&place, &[&["--format", "json"], args].concat());
            let (daemon, journal) = (recorded(daemon.succeeded().json()), recorded(journal.succeeded().json()));
            (daemon == journal).then_some(())
        });
    }
}

/// Answers every call on the ledger's socket as a daemon does that knows no questions.
fn serve_as_older_daemon(place: &Place) -> File {
    let dir = File::open(place.ledger()).unwrap();
    dir.lock().unwrap();
    let listener = UnixListener::bind(place.ledger().join("daemon.sock")).unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut length) = (stream.unwrap(), [0; 4]);
            if stream.read_exact(&mut length).is_err() {
                continue;
            }
            let mut body = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
            stream.read_exact(&mut body).unwrap();
            let text = r#"{"failed":{"kind":"usage","message":"not a call that this daemon understands: line 1, column 70","hint":null}}"#;
            let length = u32::try_from(text.len() + 1).unwrap().to_be_bytes();
            stream.write_all(&[&length[..], &[0], text.as_bytes()].concat()).unwrap();
        }
    });
    dir
}

#[test]
fn a_daemon_of_an_earlier_version_is_no_error() {
    let place = Place::new();
    fixture::write(&place.ledger());
    let commands: [&[&str]; 5] =
        [&["tail"], &["show", "build"], &["list", "--all"], &["list", "--at", "12"], &["logs", "build"]];
    let read = |args: &[&str]| place.run(args).succeeded().stdout;
    let journal: Vec<_> = commands.iter().map(|args| read(&[&["--format", "jsonl"], *args].concat())).collect();
    let dir = serve_as_older_daemon(&place);
    for (args, journal) in commands.iter().zip(journal) {
        let outcome = place.run(&[&["-v", "--format", "jsonl"], *args].concat()).succeeded();
        outcome.said(&["of an earlier version", "from its journal"]);
        let outcome = place.run(&[&["--format", "jsonl"], *args].concat()).succeeded();
        if args[0] != "list" {
            assert_eq!(outcome.stdout, journal, "{args:?}");
        }
        assert!(!outcome.stderr.contains("does not answer"), "{}", outcome.stderr);
    }
    std::fs::remove_file(place.ledger().join("daemon.sock")).unwrap();
    drop(dir);
}
