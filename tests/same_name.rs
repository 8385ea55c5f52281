//! A process run again under the same name keeps its id, so its history continues.

use serde_json::json;

use crate::support::Place;

#[test]
fn the_same_name_is_the_same_process() {
    let place = Place::new();
    place.run_script(&["--name", "it"], "exit 1").left_with(1);
    let id = place.json(&["list", "--all"])[0]["id"].clone();
    place.run_script(&["--name", "it"], "exit 1").left_with(1);
    let shown = place.json(&["show", "it"]);
    assert_eq!(shown["handle"]["id"], id);
    assert_eq!(shown["runs"].as_array().unwrap().len(), 2);
    assert_eq!(shown["handle"]["restart_count"], 0, "a start by an operator is no restart");
    assert_eq!(place.json(&["list", "--all"]).as_array().unwrap().len(), 1);
    assert!(!place.types("it").contains(&"spec_changed".to_owned()), "nothing changed");
}

#[test]
fn another_command_under_the_same_name_is_a_change_of_its_specification() {
    let place = Place::new();
    place.run_script(&["--name", "it"], "exit 1").left_with(1);
    place.run_script(&["--name", "it"], "exit 2").left_with(2);
    let events = place.events("it");
    let changed = events.iter().find(|event| event["type"] == "spec_changed").unwrap();
    assert_eq!(changed["spec"]["args"], json!(["-c", "exit 2"]));
}

#[test]
fn another_name_is_another_process() {
    let place = Place::new();
    for name in ["a", "b", "A"] {
        place.run_script(&["--name", name], "true").succeeded();
    }
    let list = place.json(&["list", "--all"]);
    let names: Vec<_> = list.as_array().unwrap().iter().map(|handle| handle["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["A", "a", "b"]);
}

#[test]
fn a_name_that_looks_like_the_beginning_of_an_id_is_a_name() {
    let place = Place::new();
    place.run_script(&["--name", "first"], "true").succeeded();
    let id = place.json(&["list", "--all"])[0]["id"].as_str().unwrap().to_owned();
    let prefix = &id[..8];
    place.run_script(&["--name", prefix], "exit 1").left_with(1);
    assert_eq!(place.json(&["list", "--all"]).as_array().unwrap().len(), 2);
    assert_eq!(place.json(&["show", prefix])["handle"]["name"], prefix);
    assert_eq!(place.json(&["show", &id])["handle"]["name"], "first");
}

/// A run by hand resets the restart budget.
#[test]
fn a_run_by_hand_has_its_restarts_again() {
    let place = Place::new();
    let options = ["--name", "it", "--restart", "on-failure", "--max-restarts", "1", "--backoff", "1ms"];
    for _ in 0..2 {
        place.run_script(&options, "echo up; exit 3").left_with(3);
    }
    assert_eq!(place.json(&["show", "it"])["handle"]["restart_count"], 2);
    assert_eq!(place.types("it").iter().filter(|kind| *kind == "budget_reset").count(), 1);
}
