//! The command `stats`: real processes, in each way of reading.

use serde_json::{Value, json};

use crate::support::{Place, wait_until};

const ECOSYSTEM: &str = "
[[process]]
name = 'fails'
command = 'sh'
args = ['-c', 'exit 3']
restart = { policy = 'on-failure', max_restarts = 2, backoff = { fixed = { delay = '10ms' } } }

[[process]]
name = 'steady'
command = 'sleep'
args = ['1000']

[[process]]
name = 'absent'
command = '/nonexistent/program'
restart = { policy = 'never' }
";

fn of<'a>(stats: &'a Value, name: &str) -> &'a Value {
    let all = stats["processes"].as_array().unwrap();
    all.iter().find(|process| process["name"] == name).unwrap_or_else(|| panic!("no {name} in {stats}"))
}

#[test]
fn runs_crashes_and_uptime_are_those_of_the_history() {
    let place = Place::new();
    std::fs::write(place.path("ecosystem.toml"), ECOSYSTEM).unwrap();
    place.run(&["up"]);
    wait_until("the policy gives up", || place.types("fails").contains(&"restart_refused".to_owned()).then_some(()));
    let stats = place.json(&["stats"]);
    let fails = of(&stats, "fails");
    assert_eq!(
        (&fails["runs"], &fails["restarts"], &fails["crashes"], &fails["given_up"]),
        (&json!(3), &json!(2), &json!(3), &json!(1))
    );
    let ends = json!([{"state": "crashed", "cause": "exit", "exit_code": 3, "signal": null, "count": 3}]);
    assert_eq!(fails["ends"], ends);
    assert_eq!(fails["recovery_ms"]["count"], 2, "{fails}");
    let sum = |values: &Value| values.as_array().unwrap().iter().map(|value| value.as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum(&fails["series"]["starts"]), sum(&fails["series"]["crashes"])), (3, 3));
    let steady = of(&stats, "steady");
    assert_eq!((&steady["runs"], &steady["crashes"], &steady["ends"]), (&json!(1), &json!(0), &json!([])));
    assert!(steady["up_share"].as_f64().unwrap() > 0.0, "{steady}");
    let absent = of(&stats, "absent");
    assert_eq!((&absent["ends"][0]["cause"], &absent["up_ms"]), (&json!("spawn_failed"), &json!(0)));
    // A process that has ended counts in periods with events of it only. One that is alive always counts.
    let later = place.json(&["stats", "--since", &place.json(&["tail", "-n", "1"])[0]["seq"].to_string()]);
    let names: Vec<_> = later["processes"].as_array().unwrap().iter().map(|process| &process["name"]).collect();
    assert_eq!(names, ["steady"]);
    assert!(of(&later, "steady")["up_share"].as_f64().unwrap() > 0.9, "{later}");
    let page = place.run(&["stats", "fails"]).succeeded().stdout;
    for part in ["3, of which 2 restarts", "3 times: 3 × exit code 3", "gave up   1 time", "\nOver time, ", "crashes  "]
    {
        assert!(page.contains(part), "{part:?} in {page}");
    }
    place.run(&["stats", "--since", "2026-01-31", "--until", "2026-01-30"]).left_with(2);
    place.run(&["stats", "nothing"]).left_with(3);
}

#[test]
fn each_way_of_reading_gives_the_same_statistics() {
    let place = Place::supervising(ECOSYSTEM.split("\n\n").nth(1).unwrap());
    let last = place.json(&["tail", "-n", "1"])[0]["seq"].to_string();
    for args in [
        &["stats", "--until", &last][..],
        &["stats", "steady", "--until", &last],
        &["stats", "--since", "1", "--until", &last],
    ] {
        assert_eq!(place.json(args), place.json(&[&["--offline"], args].concat()), "{args:?}");
    }
}

#[test]
fn the_parts_of_the_ledger_add_up() {
    let place = Place::new();
    place.run_script(&["--name", "talks"], "head -c 200000 /dev/zero").succeeded();
    place.run_script(&["--name", "silent"], "true").succeeded();
    let online = place.json(&["stats", "--disk"]);
    place.stop_daemon();
    let offline = place.json(&["--offline", "stats", "--disk"]);
    for document in [&online, &offline] {
        let parts = document["parts"].as_object().unwrap();
        let sum: u64 = parts.values().map(|bytes| bytes.as_u64().unwrap()).sum();
        assert_eq!(document["total_bytes"], sum, "{document}");
        for part in ["plain_segments", "store", "logs", "daemon_log", "other"] {
            assert!(parts[part].as_u64().unwrap() > 0 || part == "daemon_log", "{part}: {document}");
        }
        assert_eq!(document["logs"][0]["name"], "talks-0", "the largest is first: {document}");
        assert!(document["logs"][0]["bytes"].as_u64().unwrap() >= 200_000, "{document}");
        assert!(
            document["events"].as_u64().unwrap() >= 8 && document["journal_bytes_per_event"].is_u64(),
            "{document}"
        );
        assert!(document["oldest"].as_str().unwrap() < document["newest"].as_str().unwrap(), "{document}");
    }
    let table = place.run(&["stats", "--disk"]).succeeded().stdout;
    assert!(
        table.contains("plain segments") && table.contains("  talks-0") && table.contains("an event in the journal"),
        "{table}"
    );
    place.run(&["stats", "--disk", "talks"]).left_with(2);
    place.run(&["--ledger", "none", "stats", "--disk"]).left_with(5);
}
