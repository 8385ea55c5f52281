//! The exit of a command determines the exit code of `run`, and is recorded.

use serde_json::{Value, json};

use crate::support::{Place, finish};

/// State and exit of the only run, after `args` exited with `code`.
#[track_caller]
fn run(args: &[&str], code: i32) -> (Value, Value) {
    let place = Place::new();
    let args: Vec<_> = ["run", "--name", "it"].iter().chain(args).collect();
    let outcome = place.run(&args).left_with(code);
    assert_eq!(outcome.stderr.is_empty(), !(126..=127).contains(&code), "{}", outcome.stderr);
    let shown = place.json(&["show", "it"]);
    assert_eq!(shown["runs"].as_array().unwrap().len(), 1);
    (shown["handle"].clone(), shown["runs"][0].clone())
}

#[test]
fn zero_is_stopped() {
    let (handle, run) = run(&["--", "true"], 0);
    assert_eq!((&handle["state"], &handle["exit_code"]), (&json!("stopped"), &json!(0)));
    assert_eq!((&run["exit"]["outcome"], &run["exit"]["code"]), (&json!("code"), &json!(0)));
}

#[test]
fn seven_is_crashed_with_seven() {
    let (handle, run) = run(&["--", "sh", "-c", "exit 7"], 7);
    assert_eq!((&handle["state"], &handle["exit_code"]), (&json!("crashed"), &json!(7)));
    assert_eq!((&run["exit"]["code"], &run["exit"]["evidence"]), (&json!(7), &json!("observed")));
}

#[test]
fn a_signal_is_kept_and_no_code_is_made_up() {
    let (handle, run) = run(&["--", "sh", "-c", "kill -SEGV $$"], 139);
    assert_eq!((&handle["state"], &handle["exit_code"]), (&json!("crashed"), &Value::Null));
    assert_eq!(handle["signal"], "SIGSEGV");
    assert_eq!((&run["exit"]["outcome"], &run["exit"]["signal"]), (&json!("signal"), &json!("SIGSEGV")));
    assert_eq!(run["exit"]["code"], Value::Null);
}

#[test]
fn a_missing_program_is_127() {
    for program in ["no-such-program-anywhere", "./no/such/program"] {
        let (handle, run) = run(&["--", program], 127);
        assert_eq!((&handle["state"], &handle["started_at"]), (&json!("crashed"), &Value::Null));
        assert_eq!((&run["end"], &run["pid"]), (&json!("spawn_failed"), &Value::Null));
        assert_eq!((&run["spawn_failure"]["stage"], &run["spawn_failure"]["errno"]), (&json!("exec"), &json!(2)));
    }
}

#[test]
fn a_directory_is_126() {
    let (_, run) = run(&["--", "/"], 126);
    assert_eq!((&run["end"], &run["spawn_failure"]["errno"]), (&json!("spawn_failed"), &json!(13)));
}

#[test]
fn a_missing_working_directory_is_not_a_missing_program() {
    let place = Place::new();
    place.run(&["run", "--cwd", "nowhere", "--", "true"]).left_with(1).said(&["cannot be started", "nowhere"]);
    let run = &place.json(&["show", "true"])["runs"][0];
    assert_eq!(run["spawn_failure"]["stage"], "working_directory");
}

#[test]
fn a_failed_start_is_retried_by_policy() {
    let place = Place::new();
    let args = ["run", "--restart", "on-failure", "--max-restarts", "1", "--backoff", "1ms", "--", "./missing"];
    place.run(&args).left_with(127);
    let types = place.types("missing");
    assert_eq!(types.iter().filter(|kind| *kind == "crashed").count(), 2, "{types:?}");
    assert_eq!(place.json(&["list", "--all"])[0]["restart_count"], 0, "a start that failed is no restart");
}

#[test]
fn always_means_after_a_success_too() {
    let place = Place::new();
    place.run_script(&["--name", "it", "--restart", "always", "--max-restarts", "2", "--backoff", "1ms"], "exit 0");
    assert_eq!(place.json(&["list", "--all"])[0]["restart_count"], 2);
}

#[test]
fn what_a_person_gives_reaches_the_command() {
    let place = Place::new();
    std::fs::create_dir(place.path("here")).unwrap();
    let outcome = place
        .command(&["run", "--cwd", "here", "--env", "A=1 2", "--env", "B", "--", "sh", "-c", "pwd; echo \"$A,$B,$C\""])
        .env("B", "from outside")
        .env("C", "not let through")
        .output()
        .unwrap();
    let expected = format!("{}\n1 2,from outside,\n", place.path("here").canonicalize().unwrap().display());
    assert_eq!(String::from_utf8(outcome.stdout).unwrap(), expected);
}

#[test]
fn a_limit_on_file_sizes_is_an_error_and_not_our_death() {
    let place = Place::new();
    // ulimit(1) counts blocks of 512 or 1024 bytes: far less than the first segment of a journal.
    let script = format!("ulimit -f 100; exec {} run -- true", env!("CARGO_BIN_EXE_apm2-ledger"));
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script]).env("APM2_LEDGER_DIR", place.ledger());
    finish(&mut command).left_with(5).said(&["File too large"]);
}

/// An ignored SIGCHLD is inherited, and makes the kernel discard the exit status (wait(2)).
#[test]
fn a_parent_that_ignores_sigchld_does_not_hide_the_exit() {
    let place = Place::new();
    let direct = place.command(&["run", "--name", "it", "--", "sh", "-c", "exit 7"]);
    let mut ignoring = std::process::Command::new("sh");
    ignoring.args(["-c", "trap '' CHLD; exec \"$@\"", "sh"]).arg(direct.get_program()).args(direct.get_args());
    ignoring.envs(direct.get_envs().filter_map(|(name, value)| Some((name, value?))));
    finish(&mut ignoring).left_with(7);
    assert_eq!(place.json(&["show", "it"])["handle"]["exit_code"], json!(7));
}

/// `run -- KEY=value command` is a mistake that would record the value as the name of a program.
#[test]
fn a_command_that_looks_like_an_assignment_is_refused_and_not_recorded() {
    let place = Place::new();
    let outcome = place.run(&["run", "--", "API_KEY=hunter2", "true"]).left_with(2);
    assert!(outcome.stderr.contains("--env") && !outcome.stderr.contains("hunter2"), "{}", outcome.stderr);
    assert!(!place.ledger().exists());
}
