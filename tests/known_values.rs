//! Values of variables are masked in every part of the record and in every encoding.

use std::{fs, path::Path};

use crate::support::{Place, wait_until};

/// Must not occur in any part of the record or in any view. None of it looks like a secret by itself.
const SECRET: &str = "zuLEAKnt/ab+12 c\"d";

/// Encodings of the secret: JSON, URL, base64 at three offsets, hexadecimal digits, and
/// a prefix.
/// cut short.
const FORMS: [&str; 8] = [
    "zuLEAKnt/ab+12 c\\\"d",
    "zuLEAKnt%2Fab%2B12%20c%22d",
    "zuLEAKnt%2fab%2b12%20c%22d",
    "enVMRUFLbnQvYWIrMTIgYyJk",
    "dTp6dUxFQUtudC9hYisxMiBjImQ=",
    "7a754c45414b6e742f61622b313220632264",
    "zuLEAKnt/a",
    "zuLEAKnt***",
];

/// Substrings that must not occur in the record.
const PIECES: [&str; 6] = ["LEAK", "MRUFLbnQv", "UxFQUtudC", "4c45414b", "nt%2F", "nt%2f"];

fn assert_masked(text: &str, what: &str) {
    for piece in PIECES {
        assert!(!text.contains(piece), "{piece} is in {what}: {text}");
    }
}

/// Reads a file, or all files below a directory. Returns the number of files.
fn assert_masked_below(path: &Path) -> usize {
    if path.is_dir() {
        return fs::read_dir(path).unwrap().map(|entry| assert_masked_below(&entry.unwrap().path())).sum();
    }
    if !path.is_file() {
        return 0;
    }
    let bytes = fs::read(path).unwrap_or_default();
    assert_masked(&String::from_utf8_lossy(&bytes), &path.display().to_string());
    1
}

/// A process that gets the secret in a variable and has it in every other setting as well.
fn ecosystem(place: &Place) -> String {
    let dir = place.path("zuLEAKnt");
    fs::create_dir_all(&dir).unwrap();
    let printed = FORMS.map(|form| format!("echo '{form}'\n")).concat();
    fs::write(dir.join("work.sh"), format!("{printed}echo \"$HIDDEN\" >&2\nexec sleep 1000\n")).unwrap();
    r#"
[[process]]
name = "it"
command = "sh"
args = ["work.sh", 'zuLEAKnt/ab+12 c"d', "x-zuLEAKnt%2Fab%2B12%20c%22d-y", "MODE", "/bin/sh"]
cwd = "zuLEAKnt"
env = { HIDDEN = 'zuLEAKnt/ab+12 c"d', PIN_TOKEN = "zuLEAKnt", MODE = "batch", SHELL_USED = "/bin/sh" }
[process.restart]
policy = "never"
[process.log]
stderr = "zuLEAKnt/err.log"
[process.health]
check = { script = { command = "sh", args = ["-c", "echo; exit 1", 'zuLEAKnt/ab+12 c"d'] } }
interval = "100ms"
failure_threshold = 1000
[process.shutdown]
timeout = "4s"
pre_stop = [["sh", "-c", "exit 3", 'zuLEAKnt/ab+12 c"d']]
"#
    .to_owned()
}

#[test]
fn a_value_that_is_known_is_recorded_nowhere() {
    let place = Place::new();
    fs::write(place.path("ecosystem.toml"), ecosystem(&place)).unwrap();
    let reason = format!("with {SECRET} and zuLEAKnt/ab");
    place.run(&["up", "--reason", &reason]).succeeded();
    wait_until("it has written", || {
        let written = fs::read_to_string(place.path("zuLEAKnt").join("err.log")).unwrap_or_default();
        written.contains(SECRET).then_some(())
    });
    // A signal that the supervisor did not send: the run has failed, so its last lines are recorded.
    let pid = place.json(&["list"])[0]["pid"].as_u64().unwrap();
    crate::support::send(u32::try_from(pid).unwrap(), nix::sys::signal::Signal::SIGKILL);
    let shown = wait_until("its last lines are kept", || {
        let shown = place.json(&["show", "it"]);
        (!shown["runs"][0]["last_output"].is_null()).then_some(shown)
    });
    place.run(&["start", "it", "--reason", &reason]).succeeded();
    place.run(&["stop", "it", "--reason", &reason]).succeeded();

    assert_masked(&shown.to_string(), "show");
    let spec = &place.events("it")[0]["spec"];
    assert_eq!(spec["args"][1], "<redacted>", "{spec}");
    assert_eq!((&spec["args"][3], &spec["args"][4]), (&"MODE".into(), &"/bin/sh".into()), "what is ordinary stays");
    assert!(spec["cwd"].as_str().unwrap().ends_with("/<redacted>"), "{spec}");
    assert_masked(&place.run(&["-v", "show", "it"]).succeeded().stdout, "show");
    assert_masked(&place.run(&["-v", "replay", "--format", "jsonl"]).succeeded().stdout, "replay");
    // Logs contain the output, and launch files the environment; neither is part of the record.
    let parts = fs::read_dir(place.ledger()).unwrap().map(|entry| entry.unwrap().path());
    let parts: Vec<_> = parts.filter(|path| !path.ends_with("logs") && !path.ends_with("launch")).collect();
    assert!(parts.iter().map(|path| assert_masked_below(path)).sum::<usize>() > 2, "{parts:?}");
}
