//! Error messages: one message for each failure, with the name of the object concerned.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    process::{Command, Stdio},
};

use crate::support::{Outcome, Place, finish};

/// Runs the program after a shell command, in the directory of the place.
fn after(place: &Place, shell: &str, args: &[&str]) -> Outcome {
    let command = place.command(args);
    let program = command.get_program().to_owned();
    let mut shell_command = Command::new("sh");
    shell_command.args(["-c", &format!("{shell}; exec \"$0\" \"$@\"")]).arg(program).args(args);
    shell_command.current_dir(command.get_current_dir().unwrap()).env_clear();
    shell_command.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).stdin(Stdio::null());
    finish(&mut shell_command)
}

#[test]
fn an_empty_variable_names_no_ledger() {
    let place = Place::new();
    let outcome = finish(place.command(&["list"]).env("APM2_LEDGER_DIR", ""));
    outcome.left_with(5).said(&["there is no ledger in", ".local/state/apm2/ledger"]);
}

#[test]
fn a_directory_that_is_not_text_is_refused() {
    let place = Place::new();
    let odd = place.path("").join(OsStr::from_bytes(b"\xff"));
    fs::create_dir(&odd).unwrap();
    fs::write(odd.join("ecosystem.toml"), "[[process]]\nname = 'it'\ncommand = 'true'\n").unwrap();
    let is_clear = |outcome: Outcome, what: &str| {
        let outcome = outcome.left_with(2).said(&[what, "\\xff", "is not UTF-8", "hint: "]);
        assert_eq!(outcome.stderr.lines().count(), 2, "{}", outcome.stderr);
    };
    let run = ["run".as_ref(), "--cwd".as_ref(), odd.as_os_str(), "--".as_ref(), "true".as_ref()];
    is_clear(place.run::<&OsStr>(&run), "--cwd: ");
    is_clear(after(&place, "cd \"$(printf '\\377')\"", &["run", "--", "true"]), "the current directory: ");
    is_clear(after(&place, "cd \"$(printf '\\377')\"", &["up"]), "the ecosystem file: ");
    assert!(!place.ledger().exists(), "nothing was begun");
}

#[test]
fn a_directory_that_was_removed_is_said_to_be() {
    let place = Place::new();
    let outcome = after(&place, "mkdir gone; cd gone; rmdir ../gone", &["run", "--", "true"]);
    outcome.left_with(2).said(&["the current directory cannot be named: it does not exist any more", "--cwd"]);
    let outcome = after(&place, "mkdir gone; cd gone; rmdir ../gone", &["run", "--cwd", "/", "--", "true"]);
    outcome.succeeded();
}

#[test]
fn a_program_that_cannot_be_executed_says_why() {
    let place = Place::new();
    let script = |name: &str, text: &str, mode: u32| {
        fs::write(place.path(name), text).unwrap();
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    script("no-interpreter", "#!/no/such/shell\n", 0o755);
    script("not-executable", "true\n", 0o644);
    fs::create_dir(place.path("directory")).unwrap();
    for (program, code, why) in [
        ("./no-interpreter", 127, "its interpreter \"/no/such/shell\" does not exist"),
        ("./missing", 127, "No such file or directory"),
        ("./not-executable", 126, "it is not executable"),
        ("./directory", 126, "it is a directory"),
    ] {
        let said = place.run(&["run", "--", program]).left_with(code).said(&[&format!("{program}: "), why]).stderr;
        assert_eq!((said.lines().count(), said.matches(program).count()), (1, 1), "{said}");
    }
}

#[test]
fn a_second_daemon_fails_and_names_the_first() {
    let place = Place::new();
    place.run(&["run", "--", "true"]).succeeded();
    let pid = place.daemon().unwrap();
    let outcome = place.run(&["daemon"]).left_with(5);
    outcome.said(&[&format!("a daemon of this ledger is already running, as process {pid}"), "--leave"]);
}
