//! The resource usage of a run is that of all its processes.

use std::fs;

use crate::support::{Place, wait_until};

#[test]
fn a_run_is_measured_with_all_its_processes() {
    let place = Place::new();
    let file = r#"
[[process]]
name = "a"
command = "sh"
args = ["-c", "(x=$(head -c 30000000 /dev/zero | tr '\\0' x); sleep 1000; echo $x) & setsid sleep 1000 & wait"]
"#;
    fs::write(place.path("ecosystem.toml"), file).unwrap();
    place.run(&["up"]).succeeded();
    // The first measurement is made when the run is 15 s old.
    let handle = wait_until("a measurement", || {
        Some(place.json(&["list"])[0].clone()).filter(|handle| !handle["memory_bytes"].is_null())
    });
    assert!(handle["memory_bytes"].as_u64().unwrap() > 30_000_000, "{handle}");
    assert_eq!(handle["processes"], 4, "{handle}");
    let sampled = place.events("a").into_iter().find(|event| event["type"] == "sampled").unwrap();
    assert_eq!(sampled["processes"], 4);
}
