//! The command `retain`: a daemon is in its way, and what moved is found afterwards.

use std::time::Instant;

use crate::{
    fixture,
    support::{Place, Running, wait_until},
};

#[test]
fn processes_that_ended_long_ago_are_retained() {
    let place = Place::new();
    place.run(&["retain", "--older-than", "1d"]).left_with(5).said(&["there is no ledger"]);
    place.run(&["retain"]).left_with(2);
    fixture::write_sealed(&place.ledger());
    let before = place.json(&["tail", "-n", "all"]);
    // Periods that reach into the archives have the processes in them.
    let counted = || {
        let statistics = place.json(&["stats", "--since", "1"]);
        let of =
            |one: &serde_json::Value| (one["id"].to_string(), one["instance"].to_string(), one["runs"].to_string());
        statistics["processes"].as_array().unwrap().iter().map(of).collect::<std::collections::BTreeSet<_>>()
    };
    let before_counted = counted();
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
    assert_eq!(counted(), before_counted);
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
    // What is there is read, and the rest is named.
    let words = ["which is missing; the result is without them"];
    let (moved, all) = (done["events"].as_u64().unwrap(), of(&before) as u64);
    for options in [vec![], vec!["--reverse"]] {
        let args = [&["--format", "json", "tail", "-n", "all"], options.as_slice()].concat();
        let found = place.run(&args).left_with(4).said(&words).json();
        assert_eq!(
            (&found[0]["notice"]["kind"], &found[0]["notice"]["seqs"]["last"]),
            (&"events_missing".into(), &moved.into())
        );
        assert_eq!(of(&found) as u64 - 1, all - moved);
    }
    let exported = place.run(&["export"]).left_with(4).said(&words).stdout;
    let seqs =
        exported.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["seq"].as_u64());
    assert!(seqs.eq(moved + 1..=all), "{exported}");
    place.run(&["export", "--as", "csv", "--limit", "1"]).left_with(2);
    // What does not need the archive is whole.
    let later = (moved + 1).to_string();
    place.run(&["tail", "-n", "all", "--since", &later]).succeeded();
    assert!(place.json(&["stats", "--disk"])["oldest"].is_string());
    let at_later = || place.run(&["list", "--all", "--at", &later]).succeeded();
    let alone = at_later();
    std::fs::write(place.path("ecosystem.toml"), ecosystem("")).unwrap();
    place.run(&["up"]).succeeded();
    let beside = at_later();
    assert_eq!((&beside.stdout, beside.stderr.as_str(), alone.stderr.as_str()), (&alone.stdout, "", ""));
}

/// An ecosystem with one process that runs, and these settings of the ledger.
fn ecosystem(settings: &str) -> String {
    format!("[[process]]\nname = 'it'\ncommand = 'sleep'\nargs = ['1000']\n\n[ledger]\n{settings}\n")
}

fn archives(place: &Place) -> usize {
    std::fs::read_dir(place.ledger().join("archive")).map_or(0, Iterator::count)
}

#[test]
fn the_settings_of_an_ecosystem_file_are_applied_when_a_daemon_starts() {
    let place = Place::new();
    fixture::write_sealed(&place.ledger());
    let before = place.json(&["tail", "-n", "all"]).as_array().unwrap().len();
    let up = |settings: &str| {
        std::fs::write(place.path("ecosystem.toml"), ecosystem(settings)).unwrap();
        place.run(&["up"]).succeeded();
    };
    up("retain = '1d'");
    let pid = place.pid_of("it");
    assert_eq!(archives(&place), 0, "the daemon has the ledger open");
    place.run(&["daemon", "--leave"]).succeeded();
    // What reads starts no daemon, and changes nothing.
    place.json(&["list"]);
    assert_eq!(archives(&place), 0);
    up("retain = '1d'");
    assert_eq!((archives(&place), place.pid_of("it")), (1, pid));
    assert!(!place.json(&["list", "--retained"]).as_array().unwrap().is_empty());
    let events = place.json(&["tail", "-n", "all"]);
    assert!(events.as_array().unwrap().len() > before);
    assert_eq!(place.json(&["verify"])["ok"], true);
    // A limit that cannot be met: the archive goes, the journal stays.
    up("retain = '1d'\nmax-bytes = '1kB'");
    assert_eq!(archives(&place), 1);
    place.run(&["daemon", "--leave"]).succeeded();
    up("retain = '1d'\nmax-bytes = '1kB'");
    wait_until("the archive is removed", || (archives(&place) == 0).then_some(()));
    assert_eq!(place.pid_of("it"), pid);
    let report = place.json(&["stats", "--disk"]);
    assert_eq!(report["max_bytes"], 1000);
    assert_eq!(report["excess_bytes"].as_u64(), report["total_bytes"].as_u64().map(|total| total - 1000));
    assert!(place.run(&["stats", "--disk"]).stdout.contains("above the limit"));
    let log = std::fs::read_to_string(place.ledger().join("daemon.log")).unwrap();
    for words in
        ["old events moved into an archive", "removed, because the ledger is larger", "nothing else is removed"]
    {
        assert!(log.contains(words), "{words}: {log}");
    }
    // Without the table, and with `down`, the file has no settings any more.
    std::fs::write(place.path("ecosystem.toml"), ecosystem("").replace("[ledger]", "")).unwrap();
    place.run(&["up"]).succeeded();
    assert!(!place.ledger().join("settings").exists());
    up("max_bytes = 1000000000");
    assert!(place.ledger().join("settings").exists());
    place.run(&["down"]).succeeded();
    assert!(!place.ledger().join("settings").exists());
    place.stop_daemon();
}

/// Number of kills in a normal test run. `APM2_KILL_ROUNDS` sets another number.
const KILL_ROUNDS: u32 = 4;

#[test]
fn a_daemon_that_is_killed_while_it_retains_loses_nothing() {
    let rounds = std::env::var("APM2_KILL_ROUNDS").map_or(KILL_ROUNDS, |text| text.parse().unwrap());
    let (mut before, mut after) = (0, 0);
    let mut took = None;
    for round in 0..=rounds {
        let place = Place::new();
        fixture::write_sealed(&place.ledger());
        let settings = r#"{"version":1,"group":"/e.toml","settings":{"retain":"1day"}}"#;
        std::fs::write(place.ledger().join("settings"), settings).unwrap();
        let events = place.json(&["tail", "-n", "all"]);
        let verified = place.json(&["verify"]);
        let began = Instant::now();
        let daemon = Running::start(&mut place.command(&["daemon"]));
        // The first round finds out how long a start takes.
        let random = u32::try_from(uuid::Uuid::new_v4().as_u64_pair().0 % 1000).unwrap();
        wait_until("the moment, or the start", || match took {
            None => place.ledger().join("daemon.sock").exists().then_some(()),
            Some(took) => (began.elapsed() >= took * random / 1000).then_some(()),
        });
        took.get_or_insert(began.elapsed());
        daemon.crash();
        let has_base = place.ledger().join("journal/base").exists();
        *(if has_base { &mut after } else { &mut before }) += 1;
        let found = place.json(&["tail", "-n", "all"]);
        let (found, events) = (found.as_array().unwrap(), events.as_array().unwrap());
        assert_eq!(found[..events.len()], events[..], "round {round}");
        assert_eq!(place.json(&["verify"])["ok"], true, "round {round}");
        // The next start finishes what is left.
        let retained = place.json(&["retain", "--older-than", "1d"]);
        assert_eq!((archives(&place), retained["archive"].is_null()), (1, has_base), "round {round}");
        let found = place.json(&["verify"]);
        assert_eq!((&found["ok"], &found["store"]), (&true.into(), &"done".into()), "round {round}: {verified}");
    }
    eprintln!("{rounds} kills: {before} before the base was written, {after} after it");
}

#[test]
fn settings_of_the_ledger_that_can_never_work_are_refused() {
    let place = Place::new();
    for (settings, words) in [
        ("retain = '1s'", "at least 1h"),
        ("retain = 'long'", "expected number"),
        ("max_bytes = '10 apples'", "a size is like 10GB"),
        ("forever = true", "unknown field"),
    ] {
        std::fs::write(place.path("ecosystem.toml"), ecosystem(settings)).unwrap();
        place.run(&["up"]).left_with(2).said(&[words]);
    }
    assert!(!place.ledger().exists());
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
