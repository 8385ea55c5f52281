//! The command `retain`: a daemon is in its way, and what moved is found afterwards.

use crate::{fixture, support::Place};

#[test]
fn processes_that_ended_long_ago_are_retained() {
    let place = Place::new();
    place.run(&["retain", "--older-than", "1d"]).left_with(5).said(&["there is no ledger"]);
    place.run(&["retain"]).left_with(2);
    fixture::write_sealed(&place.ledger());
    let before = place.json(&["tail", "-n", "all"]);
    let (verified, listed) = (place.json(&["verify"]), place.json(&["list", "--all"]));
    let nothing = place.json(&["retain", "--older-than", "1000y", "--dry-run"]);
    assert_eq!((&nothing["archive"], &nothing["events"]), (&serde_json::Value::Null, &0.into()));
    assert!(place.run(&["retain", "--older-than", "1000y"]).succeeded().stdout.contains("old enough"));
    let plan = place.json(&["retain", "--older-than", "1d", "--dry-run"]);
    assert_eq!((&plan["dry_run"], &plan["removed_files"]), (&true.into(), &serde_json::json!([])));
    // The logs of the first process that is gone, from the beginning of 1970.
    let is_gone = |handle: &&serde_json::Value| handle["id"] == plan["processes"][0];
    let name = listed.as_array().unwrap().iter().find(is_gone).unwrap()["name"].as_str().unwrap();
    let log = place.ledger().join(format!("logs/{name}-0/stdout.log"));
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    std::fs::write(&log, "a line\n").unwrap();
    std::fs::File::open(&log).unwrap().set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let path = format!("logs/{name}-0");
    let text = place.run(&["retain", "--older-than", "1d", "--dry-run"]).succeeded().stdout;
    assert!(text.lines().any(|line| line.starts_with("would be removed") && line.contains(&path)), "{text}");
    let done = place.json(&["retain", "--older-than", "1d"]);
    for field in ["archive", "first_seq", "last_seq", "events", "from", "until", "bytes", "processes", "kept_instances"]
    {
        assert_eq!(done[field], plan[field], "{field}");
    }
    assert_eq!((&done["removed_files"][0]["path"], log.exists()), (&path.as_str().into(), false));
    let gone = done["processes"].as_array().unwrap();
    assert!(!gone.is_empty(), "{done}");
    assert_eq!(place.json(&["tail", "-n", "all"]), before);
    let after = place.json(&["verify"]);
    assert_eq!((&after["ok"], &after["store"], &after["chain"]), (&true.into(), &"done".into(), &verified["chain"]));
    let of = |list: &serde_json::Value| list.as_array().unwrap().len();
    let retained = place.json(&["list", "--retained"]);
    assert_eq!(of(&retained) as u64, done["instances"].as_u64().unwrap());
    assert_eq!(of(&place.json(&["list", "--all"])) + of(&retained), of(&listed));
    let (id, name) = (gone[0].as_str().unwrap(), retained[0]["name"].as_str().unwrap());
    for text in [id, &id[..13], name] {
        assert!(place.run(&["show", text]).succeeded().stdout.contains(name), "{text}");
        place.run(&["why", text]).succeeded();
        place.run(&["export", text]).succeeded();
    }
    // A missing archive is no damage.
    let archive = place.ledger().join("archive").join(done["archive"].as_str().unwrap());
    std::fs::rename(&archive, place.path("cold")).unwrap();
    let report = place.json(&["verify"]);
    assert_eq!((&report["ok"], &report["missing_archives"][0]["seqs"]["first"]), (&true.into(), &1.into()));
    assert!(place.run(&["verify"]).succeeded().stdout.contains("missing, not checked"));
    place.run(&["show", id]).left_with(4).said(&["are in the archive", "which is missing"]);
    place.run(&["list", "--all"]).succeeded();
    place.run(&["tail", "-n", "3"]).succeeded();
}

#[test]
fn a_daemon_is_in_the_way() {
    let place = Place::supervising("[[process]]\nname = 'it'\ncommand = 'sleep'\nargs = ['1000']\n");
    let pid = place.pid_of("it");
    place.run(&["retain", "--older-than", "1d"]).left_with(5).said(&["in use", "daemon --leave"]);
    place.json(&["retain", "--older-than", "1d", "--dry-run"]);
    place.run(&["daemon", "--leave"]).succeeded();
    assert_eq!(place.json(&["retain", "--older-than", "1d"])["events"], 0);
    assert_eq!(place.pid_of("it"), pid, "it runs as before");
    place.run(&["stop", "it"]).succeeded();
    place.stop_daemon();
}
