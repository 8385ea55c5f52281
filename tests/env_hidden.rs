//! Values that `run` is given stand in nobody's command line, and come from a file that nobody else can read.

use std::{fs, os::unix::fs::PermissionsExt as _, os::unix::fs::symlink};

use crate::support::{Place, Running, wait_until};

fn command_line(pid: u32) -> String {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ")
}

#[test]
fn a_value_does_not_stay_in_the_command_line_of_run() {
    let place = Place::new();
    let options = ["run", "--name", "it", "--env", "A=hunter2 a", "--env=B=hunter2\nb", "--env", "C", "--"];
    let mut command = place.command(&options);
    command.args(["sh", "-c", "echo \"$A,$B,$C\" > given; exec sleep 1000"]).env("C", "from outside");
    let run = Running::start(&mut command);
    let given = wait_until("it was given its variables", || {
        fs::read_to_string(place.path("given")).ok().filter(|given| given.ends_with('\n'))
    });
    assert_eq!(given, "hunter2 a,hunter2\nb,from outside\n");
    let seen = command_line(run.pid());
    assert!(seen.contains("run --name it --env-fd=") && !seen.contains("hunter2"), "{seen}");
    // Nor is it left in what the daemon inherits.
    let daemon = place.daemon().unwrap();
    assert!(!command_line(daemon).contains("hunter2"));
    place.run(&["stop", "it"]).succeeded();
    run.outcome();
}

#[test]
fn a_file_of_variables_is_read_if_it_is_ours_alone() {
    let place = Place::new();
    let file = place.path("it.env");
    fs::write(&file, "# c\nexport A='hunter2 a'\nB=\"x\\ny\"\nC=file\n").unwrap();
    let script = ["--", "sh", "-c", "echo \"$A,$B,$C\" > given"];
    let run = |file: &str| place.run(&[&["run", "--env-file", file, "--env", "C=option"][..], &script].concat());

    let refused = run("it.env").left_with(2);
    assert!(refused.stderr.contains("chmod 600") && refused.stderr.contains("others"), "{}", refused.stderr);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    run("it.env").succeeded();
    assert_eq!(fs::read_to_string(place.path("given")).unwrap(), "hunter2 a,x\ny,option\n");

    symlink(&file, place.path("link.env")).unwrap();
    assert!(run("link.env").left_with(2).stderr.contains("symbolic link"));
    assert!(run(".").left_with(2).stderr.contains("not a regular file"));
    assert!(run("missing.env").left_with(2).stderr.contains("cannot be read"));
    fs::write(&file, "A=1\nhunter2\n").unwrap();
    let mistaken = run("it.env").left_with(2).stderr;
    assert!(mistaken.contains("it.env: line 2: there is no `=`") && !mistaken.contains("hunter2"), "{mistaken}");
}
