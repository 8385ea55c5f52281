//! One rule for which process an id means, for commands that ask the daemon and for those that read the ledger.

use std::fs;

use serde_json::Value;

use crate::support::Place;

fn write_file(place: &Place, name: &str, processes: &[(&str, u32)]) {
    let process = |(name, instances): &(&str, u32)| {
        let command = "command = 'sh'\nargs = ['-c', 'exec sleep 1000']";
        format!("[[process]]\nname = '{name}'\n{command}\ninstances = {instances}\n")
    };
    fs::write(place.path(name), processes.iter().map(process).collect::<String>()).unwrap();
}

/// Name, instance and state of the process that `show` finds by `id`.
fn shown(place: &Place, id: &str) -> (String, u64, String) {
    let handle = place.json(&["show", id])["handle"].clone();
    let text = |key: &str| handle[key].as_str().unwrap().to_owned();
    (text("name"), handle["instance"].as_u64().unwrap(), text("state"))
}

#[test]
fn an_instance_and_a_process_of_one_file_cannot_have_the_same_name() {
    let place = Place::new();
    write_file(&place, "ecosystem.toml", &[("web", 2), ("web-1", 1)]);
    for args in [&["up"][..], &["up", "--dry-run"]] {
        place.run(args).left_with(2).said(&["web-1", "would have the name of the other"]);
    }
    assert_eq!(place.json(&["list"]), Value::Array(Vec::new()), "nothing of the file is supervised");
}

#[test]
fn every_command_means_the_same_by_a_name_that_was_used_before() {
    let place = Place::new();
    place.run_script(&["--name", "web-1"], "true").succeeded();
    write_file(&place, "ecosystem.toml", &[("web", 2)]);
    place.run(&["up"]).succeeded();
    assert_eq!(shown(&place, "web-1"), ("web".to_owned(), 1, "running".to_owned()));
    place.run(&["stop", "web-1"]).succeeded();
    assert_eq!(shown(&place, "web-1"), ("web".to_owned(), 1, "stopped".to_owned()));
    assert_eq!(shown(&place, "web-0").2, "running");
    place.run(&["down", "--name", "web-1"]).left_with(2).said(&["one instance of \"web\"", "name the process: web"]);
    place.run(&["down"]).succeeded();
    place.run_script(&["--name", "web-1"], "true").succeeded();
    assert_eq!(shown(&place, "web-1"), ("web-1".to_owned(), 0, "stopped".to_owned()));
}

#[test]
fn an_id_can_be_written_in_any_way_for_every_command() {
    let place = Place::new();
    write_file(&place, "ecosystem.toml", &[("web", 1)]);
    place.run(&["up"]).succeeded();
    let id = place.json(&["show", "web"])["handle"]["id"].as_str().unwrap().to_owned();
    for text in
        [id.to_uppercase(), id.replace('-', ""), id[..13].to_uppercase(), id[..4].to_owned(), "web-0".to_owned()]
    {
        assert_eq!(shown(&place, &text).0, "web", "{text}");
        place.run(&["restart", &text]).succeeded();
    }
    for text in [&id[..3], "web-1", "web-00", "WEB"] {
        place.run(&["show", text]).left_with(3);
        place.run(&["restart", text]).left_with(3).said(&["hint: "]);
    }
}
