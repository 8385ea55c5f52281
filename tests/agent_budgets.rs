//! Budgets, silence and loops of supervised agents, played by shell scripts that print the lines of Claude Code: what is recorded, what is
//! done, and that a killed daemon changes nothing of it.

use std::fs;

use serde_json::Value;

use crate::{
    agents::{LINES, SUCCESS},
    support::{Place, wait_until},
};

/// A script that goes on after its lines until it is stopped, and prints a result on SIGINT.
const UNTIL_STOPPED: &str = "while :; do sleep 0.1; done";

/// A daemon that supervises an agent named `a`, which is this script, with these lines in its table.
fn limited(script: &str, settings: &str) -> Place {
    let place = Place::new();
    fs::write(place.path("agent.sh"), format!("{LINES}\n{script}")).unwrap();
    let ecosystem = format!(
        "[[process]]\nname = 'a'\ncommand = 'sh'\nargs = ['agent.sh']\nrestart = {{ policy = 'always', backoff = '50ms' }}\n\
         shutdown = {{ timeout = '4s' }}\n\
         [process.agent]\nkind = 'claude-code'\n{settings}\n"
    );
    fs::write(place.path("ecosystem.toml"), ecosystem).unwrap();
    place.run(&["up"]);
    place
}

fn of_kind(place: &Place, kind: &str) -> Vec<Value> {
    place.events("a").into_iter().filter(|event| event["type"] == kind).collect()
}

fn report(place: &Place, name: &str) -> Value {
    wait_until(name, || of_kind(place, "agent").into_iter().find(|event| event["event"] == name))
}

fn stopped(place: &Place) -> Value {
    wait_until("the refusal", || of_kind(place, "restart_refused").pop())
}

/// Asserts that the agent was stopped for this budget, once, and not started again.
fn assert_stopped(place: &Place, scope: &str, budget: &str, limit: u64) -> Value {
    let spent = report(place, "budget_spent");
    let refused = stopped(place);
    for event in [&spent, &refused] {
        assert_eq!((&event["scope"], &event["budget"]), (&scope.into(), &budget.into()), "{event}");
        assert_eq!(event["limit"], limit, "{event}");
        assert!(event["used"].as_u64().unwrap() >= limit, "{event}");
    }
    assert_eq!((&refused["rule"], &refused["finding"]), (&"agent_stopped".into(), &"budget".into()));
    assert_eq!(of_kind(place, "start_requested").len(), 1);
    let list = place.run(&["list", "--all"]).succeeded().stdout;
    assert!(list.contains("stopped: "), "{list}");
    spent
}

#[test]
fn each_budget_stops_its_agent_for_good_also_after_a_daemon_was_killed() {
    // Each script uses its budget only when `go` exists.
    let begin = "init s-1; tool s-1 c-0; : > begun; while [ ! -e go ]; do sleep 0.02; done";
    let turn = format!("result s-1 '{SUCCESS}'; echo");
    let rows = [
        ("run = { cost_usd = 0.01 }", turn.clone(), "run", "cost_micros", 10_000),
        ("session = { input_tokens = 122 }", turn.clone(), "session", "input_tokens", 122),
        ("day = { output_tokens = 6 }", turn.clone(), "day", "output_tokens", 6),
        // The tokens of the turn in progress count, too.
        ("run = { total_tokens = 30 }", "tool s-1 c-1; tool s-1 c-2".to_owned(), "run", "total_tokens", 30),
        ("day = { tool_calls = 1 }", "tool s-1 c-1".to_owned(), "day", "tool_calls", 1),
        ("session = { turns = 1 }", format!("{turn}; {turn}"), "session", "turns", 1),
        ("day = { wall_time = '1500ms' }", String::new(), "day", "wall_time_ms", 1500),
    ];
    for (number, (budget, script, scope, name, limit)) in rows.into_iter().enumerate() {
        // One without a kill is enough: what follows is the same.
        for is_killed in [true, false].into_iter().take(if number == 0 { 2 } else { 1 }) {
            let place = limited(&format!("{begin}\n{script}\n{UNTIL_STOPPED}"), &format!("budget = {{ {budget} }}"));
            wait_until("the first half", || place.path("begun").exists().then_some(()));
            report(&place, "tool_ended");
            if is_killed {
                place.kill_daemon();
                place.run(&["start", "never"]).left_with(3);
            }
            fs::write(place.path("go"), "").unwrap();
            assert_stopped(&place, scope, name, limit);
            let signals: Vec<_> = of_kind(&place, "signal_sent").iter().map(|event| event["signal"].clone()).collect();
            assert_eq!(signals.first(), Some(&"SIGINT".into()), "{budget}");
            place.stop_daemon();
            place.run(&["verify"]).succeeded();
        }
    }
}

#[test]
fn an_agent_that_ignores_signals_is_killed_and_its_memory_is_that_of_all_its_processes() {
    let script = format!(
        "trap '' INT TERM; init s-1; sh -c 'x=$(head -c 60000000 /dev/zero | tr \"\\0\" x); sleep 1000; echo $x' & {UNTIL_STOPPED}"
    );
    let place = limited(&script, "budget = { memory_bytes = 40000000 }");
    let spent = assert_stopped(&place, "run", "memory_bytes", 40_000_000);
    assert!(spent["used"].as_u64().unwrap() < 1_000_000_000, "{spent}");
    let signals: Vec<_> = of_kind(&place, "signal_sent").iter().map(|event| event["signal"].clone()).collect();
    assert_eq!(signals, ["SIGINT", "SIGTERM", "SIGKILL"]);
    let why = place.run(&["why", "a"]).succeeded().stdout;
    assert!(why.contains("MiB of memory of 38 MiB of memory were used"), "{why}");
    place.stop_daemon();
}

#[test]
fn a_start_on_a_day_whose_budget_is_spent_is_refused() {
    let place = limited(&format!("init s-1; result s-1 '{SUCCESS}'; exit 1"), "budget = { day = { cost_usd = 0.01 } }");
    assert_stopped(&place, "day", "cost_micros", 10_000);
    let list = place.run(&["list", "--all"]).succeeded().stdout;
    assert!(list.contains("stopped: 0.01 USD of 0.01 USD a day were spent at "), "{list}");
    for order in ["start", "restart"] {
        let refused = place.run(&[order, "a"]).left_with(1);
        assert!(refused.stderr.contains("0.01 USD of 0.01 USD a day were spent"), "{}", refused.stderr);
    }
    place.kill_daemon();
    place.run(&["start", "a"]).left_with(1);
    assert_eq!(of_kind(&place, "start_requested").len(), 1);
    let shown = place.json(&["show", "a"]);
    assert_eq!(shown["handle"]["agent"]["stopped_for"]["budget"], "cost_micros", "{}", shown["handle"]["agent"]);
    place.stop_daemon();
    place.run(&["verify"]).succeeded();
}

#[test]
fn a_session_whose_budget_is_spent_is_not_gone_on_with() {
    let script = format!("init s-$(ls runs* 2>/dev/null | wc -l); : > runs$$; result s '{SUCCESS}'; exit 1");
    let settings = "resume_args = ['--resume', '{session}']\nbudget = { session = { cost_usd = 0.01 } }";
    let place = limited(&script, settings);
    assert_stopped(&place, "session", "cost_micros", 10_000);
    place.run(&["start", "a"]).succeeded();
    let chosen = wait_until("the second run", || {
        of_kind(&place, "agent").into_iter().filter(|event| event["event"] == "session_chosen").nth(1)
    });
    assert_eq!((&chosen["resumed"], &chosen["session_reason"]), (&false.into(), &"budget_spent".into()));
    place.stop_daemon();
}

#[test]
fn a_new_session_is_not_stopped_for_the_time_of_the_session_before() {
    let script = &format!("init s-1; {UNTIL_STOPPED}");
    let settings = "resume_args = ['--resume', '{session}']\nbudget = { session = { wall_time = '1500ms' } }";
    let place = limited(script, settings);
    assert_stopped(&place, "session", "wall_time_ms", 1500);
    fs::write(place.path("agent.sh"), format!("{LINES}\ninit s-2; : > second; {UNTIL_STOPPED}")).unwrap();
    place.run(&["start", "a"]).succeeded();
    wait_until("the start of the new session", || {
        of_kind(&place, "agent").into_iter().find(|event| event["event"] == "session_started" && event["run"] == 2)
    });
    let spent = wait_until("the end of the new session", || {
        of_kind(&place, "agent").into_iter().find(|event| event["event"] == "budget_spent" && event["run"] == 2)
    });
    assert!((1500..10_000).contains(&spent["used"].as_u64().unwrap()), "{spent}");
    place.stop_daemon();
    place.run(&["verify"]).succeeded();
}

/// The processor time of a process in hundredths of a second.
fn processor_time(pid: u32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ');
    fields.skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

#[test]
fn a_daemon_is_idle_while_an_agent_whose_time_is_used_up_ignores_its_stop() {
    let place =
        limited(&format!("trap '' INT TERM; init s-1; {UNTIL_STOPPED}"), "budget = { run = { wall_time = '1s' } }");
    report(&place, "budget_spent");
    let daemon = place.daemon().unwrap();
    let before = processor_time(daemon);
    wait_until("SIGKILL", || of_kind(&place, "signal_sent").into_iter().find(|event| event["signal"] == "SIGKILL"));
    // The stop takes 4 s; the questions of this test are answered in them.
    let used = processor_time(daemon) - before;
    assert!(used < 200, "{used} hundredths of a second");
    place.stop_daemon();
}

#[test]
fn a_silent_agent_is_recorded_and_then_restarted_or_stopped_as_configured() {
    let script = format!("init s-1; {UNTIL_STOPPED}");
    let restarted = limited(&script, "silence = { model = '1s', reaction = 'restart' }");
    let stalled = report(&restarted, "stalled");
    assert_eq!((&stalled["phase"], &stalled["reaction"]), (&"model".into(), &"restart".into()));
    wait_until("the restart", || (of_kind(&restarted, "start_requested").len() >= 2).then_some(()));
    let stopping = of_kind(&restarted, "stopping");
    assert!(stopping[0]["reason"].as_str().unwrap().contains("while it waited for the model"), "{stopping:?}");
    restarted.stop_daemon();

    let recorded = limited(&script, "silence = { model = '1s' }");
    report(&recorded, "stalled");
    assert_eq!(of_kind(&recorded, "stopping").len(), 0);
    recorded.stop_daemon();

    let ended =
        limited(&format!("init s-1; result s-1 '{SUCCESS}'; echo; {UNTIL_STOPPED}"), "silence = { result = '1s' }");
    let stalled = report(&ended, "stalled");
    assert_eq!(stalled["phase"], "finished");
    wait_until("the next run", || (of_kind(&ended, "start_requested").len() >= 2).then_some(()));
    ended.stop_daemon();
    ended.run(&["verify"]).succeeded();
}

#[test]
fn an_agent_that_makes_the_same_call_again_and_again_is_stopped() {
    let script = format!("init s-1; for i in 1 2 3 4 5; do tool s-1 c-$i; done; {UNTIL_STOPPED}");
    let place = limited(&script, "loop = { calls = 4, reaction = 'stop' }");
    let found = report(&place, "loop_detected");
    assert_eq!((&found["calls"], &found["reaction"]), (&4.into(), &"stop".into()));
    let refused = stopped(&place);
    assert_eq!((&refused["finding"], &refused["calls"]), (&"loop".into(), &4.into()));
    let list = place.run(&["list", "--all"]).succeeded().stdout;
    assert!(list.contains("stopped: the same tool call was made 4 times in a row at "), "{list}");
    place.stop_daemon();
    place.run(&["verify"]).succeeded();
}
