//! Eight processes of one file, each with another failure.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    thread,
};

use serde_json::Value;

use crate::support::{Place, gone, wait_until};

/// A server that answers every request with 500 until the tests end. Returns its port.
fn sick_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // The request arrives in one piece, and the client may disconnect before the answer.
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 500 Sick\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    port
}

/// The example of the documentation with a real server for the health check, and its log file.
pub(crate) fn eight(place: &Place) -> String {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/example");
    fs::copy(example.join("api.env"), place.path("api.env")).unwrap();
    let text = fs::read_to_string(example.join("ecosystem.toml")).unwrap();
    let sick = format!("http://127.0.0.1:{}/", sick_server());
    assert!(text.contains("http://127.0.0.1:9/"));
    text.replace("http://127.0.0.1:9/", &sick)
}

fn handle(place: &Place, name: &str) -> Value {
    let listed = place.json(&["list", "--all"]);
    listed.as_array().unwrap().iter().find(|handle| handle["display_name"] == name).cloned().unwrap_or_default()
}

fn logs(place: &Place, name: &str) -> String {
    place.run(&["logs", name, "-n", "all"]).succeeded().stdout
}

/// The processes that have the name of an instance of this ledger in their environment.
fn carriers(ids: &[String]) -> Vec<u32> {
    let pids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let environ = String::from_utf8_lossy(&environ);
        let markers = environ.split('\0').filter(|entry| entry.starts_with("APM2_RUN="));
        let is_ours = |marker: &str| ids.iter().any(|id| marker.contains(id.as_str()));
        markers.into_iter().any(is_ours) && !gone(*pid)
    })
    .collect()
}

#[test]
fn each_of_eight_processes_is_reported_right_and_down_leaves_nothing() {
    let place = Place::new();
    fs::write(place.path("ecosystem.toml"), eight(&place)).unwrap();
    let planned = place.run(&["up", "--dry-run"]).succeeded().stdout;
    assert_eq!((planned.lines().count(), planned.matches("create").count()), (8, 8), "{planned}");
    assert!(!place.ledger().exists(), "nothing was done, and no daemon was started for it");
    // Two of them fail at once, on purpose. On a busy machine one of them can fail after `up` has looked.
    let up = place.run(&["up", "--reason", "the test"]).left_with(1);
    let is_reported = |name| up.stderr.contains(&format!("{name}: cannot start: it ended right after its start"));
    assert!(is_reported("flapper") || is_reported("crasher"), "{}", up.stderr);

    wait_until("the flapper has spent its budget", || {
        place.types("flapper").contains(&"restart_refused".to_owned()).then_some(())
    });
    let flapper = handle(&place, "flapper");
    assert_eq!(
        (&flapper["state"], &flapper["exit_code"], &flapper["restart_count"]),
        (&"crashed".into(), &9.into(), &3.into())
    );
    let refused = place.events("flapper").pop().unwrap();
    assert_eq!((&refused["rule"], &refused["restarts"]), (&"budget_spent".into(), &3.into()));

    wait_until("the crasher came back", || {
        handle(&place, "crasher")["restart_count"].as_u64().filter(|count| *count > 2)
    });
    let runs = place.json(&["show", "crasher"])["runs"].clone();
    assert_eq!(runs[0]["last_output"]["stderr"], serde_json::json!(["because of this"]), "it says why it died");
    assert!(logs(&place, "crasher").contains("going down"));

    wait_until("the sick one is found out", || {
        place.types("sick").contains(&"restart_scheduled".to_owned()).then_some(())
    });
    let events = place.events("sick");
    let unhealthy = events.iter().find(|event| event["type"] == "unhealthy").unwrap();
    assert_eq!(unhealthy["actor"]["kind"], "health");
    assert!(unhealthy["reason"].as_str().unwrap().contains("HTTP 500"), "{unhealthy}");

    for name in ["stubborn", "twins-0", "twins-1", "chatty", "secretive", "parent"] {
        assert_eq!(handle(&place, name)["state"], "running", "{name}");
    }
    wait_until("it has its credential", || logs(&place, "secretive").contains("has it").then_some(()));
    place.run(&["reload", "secretive"]).succeeded();
    wait_until("it was told", || logs(&place, "secretive").contains("rotated").then_some(()));
    let rotated = place.events("secretive").into_iter().find(|event| event["type"] == "credential_rotated").unwrap();
    assert_eq!((&rotated["profile"], &rotated["variables"]), (&"api".into(), &serde_json::json!(["API_KEY"])));
    assert_nowhere(&place, "hunter2");

    wait_until("chatty files are rotated and compressed", || {
        let names = fs::read_dir(place.ledger().join("logs/chatty-0")).unwrap();
        let mut names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.any(|name| name.ends_with(".gz")).then_some(())
    });
    assert!(logs(&place, "chatty").lines().count() > 10_000);

    let list = place.json(&["list"]);
    let ids: Vec<String> =
        list.as_array().unwrap().iter().map(|handle| handle["id"].as_str().unwrap().into()).collect();
    wait_until("all of them run, with what they started", || (carriers(&ids).len() > 10).then_some(()));
    place.run(&["down"]).succeeded();
    assert_eq!(carriers(&ids), Vec::<u32>::new(), "down leaves nothing behind, not what called setsid either");
    assert_eq!(handle(&place, "stubborn")["state"], "terminated");
    assert_eq!(handle(&place, "twins-1")["state"], "stopped");
    assert_eq!(fs::read_dir(place.ledger().join("launch")).unwrap().count(), 0, "what they were launched with is gone");
    place.stop_daemon();
    assert_eq!(place.json(&["verify"])["ok"], true);
}

/// Values of credentials are only in the profile and in the process.
fn assert_nowhere(place: &Place, secret: &str) {
    let mut dirs = vec![place.ledger()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.is_file() {
                let bytes = fs::read(&path).unwrap_or_default();
                let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
                assert!(!found, "{secret} is in {}", path.display());
            }
        }
    }
}

#[test]
fn up_changes_what_differs_and_nothing_else() {
    let place = Place::new();
    let write = |text: &str| fs::write(place.path("ecosystem.toml"), text).unwrap();
    let process = |name: &str, seconds: u32, instances: u32| {
        format!("[[process]]\nname = '{name}'\ncommand = 'sleep'\nargs = ['{seconds}']\ninstances = {instances}\n")
    };
    write(&[process("a", 1000, 1), process("b", 1000, 1), process("c", 1000, 2)].concat());
    place.run(&["up"]).succeeded();
    let before = place.json(&["list"]);
    write(&[process("a", 1000, 1), process("b", 2000, 1), process("d", 1000, 1)].concat());
    let planned = place.json(&["up", "--dry-run"]);
    let actions: Vec<_> =
        planned.as_array().unwrap().iter().map(|outcome| outcome["action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["unchanged", "change", "create", "remove"]);
    place.run(&["up"]).succeeded();
    let pid = |list: &Value, name: &str| {
        list.as_array()
            .unwrap()
            .iter()
            .find(|handle| handle["display_name"] == name)
            .map(|handle| handle["pid"].clone())
    };
    let after = place.json(&["list", "--all"]);
    assert_eq!(pid(&before, "a"), pid(&after, "a"), "what is the same runs on");
    assert_ne!(pid(&before, "b"), pid(&after, "b"));
    assert_eq!(pid(&after, "c-0"), Some(Value::Null));
    place.run(&["scale", "a=3"]).succeeded();
    let scaled = place.json(&["list"]);
    assert_eq!(pid(&after, "a"), pid(&scaled, "a-0"), "scaling leaves what runs alone");
    assert!(pid(&scaled, "a-2").is_some_and(|pid| pid.is_u64()));
    place.run(&["scale", "a=1"]).succeeded();
    let two =
        place.run(&["--format", "json", "scale", "a=2", "nobody=2", "b=2"]).left_with(3).said(&["nobody", "list"]);
    let failed: Vec<_> = two.json().as_array().unwrap().iter().map(|outcome| outcome["error"].is_string()).collect();
    assert_eq!(failed, [false, true, false], "one that is not there keeps nobody from the others");
    place.run(&["scale", "a=1", "b=1"]).succeeded();
    place.run(&["stop", "a"]).succeeded();
    assert!(place.run(&["stop", "a"]).succeeded().stdout.contains("it does not run"));
    place.run(&["start", "nobody"]).left_with(3);
    place.run(&["down"]).succeeded();
    place.run(&["down"]).succeeded().said(&["no process of ", "ecosystem.toml is supervised", "down --all"]);
    place.run(&["down", "--all"]).succeeded().said(&["nothing is supervised"]);
}

#[test]
fn an_error_in_the_file_has_its_line_and_no_values() {
    let place = Place::new();
    for (text, said) in [
        ("[[process]]\nname = 'a'\ncommand = 'true'\ncolour = 'red'\n", "colour"),
        ("[[process]]\nname = 'a b'\ncommand = 'true'\n", "letters"),
        ("[[process]]\nname = 'a'\ncommand = 'true'\n[[process]]\nname = 'a'\ncommand = 'true'\n", "two processes"),
        ("[[process]]\nname = 'a'\ncommand = 'true'\nenv = { KEY = hunter2 }\n", "line 4"),
        ("[[process]]\nname = 'a'\ncommand = 'true'\nrestart = { backoff = '1' }\n", "backoff"),
        ("[[process]]\nname = 'a'\ncommand = 'true'\ncredentials = { profile = 'p' }\n", "profile.p"),
        ("[[process]]\nname = 'a'\ncommand = 'true'\nenv = 'hunter2'\n", "string, expected a map"),
        ("", "[[process]]"),
    ] {
        fs::write(place.path("ecosystem.toml"), text).unwrap();
        let outcome = place.run(&["up"]).left_with(2).said(&["ecosystem.toml", said]);
        assert!(!outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
    }
    place.run(&["up", "/dev/zero"]).left_with(2).said(&["larger than"]);
    place.run(&["up", "nowhere.toml"]).left_with(2).said(&["nowhere.toml", "hint: "]);
    assert!(!place.ledger().exists(), "no daemon was started for it");
}
