//! Attributes that a daemon and its keeper inherit from the client that started them: none that affects other clients.

use std::{
    fs,
    process::{Command, Stdio},
};

use nix::sys::signal::Signal;

use crate::support::{Place, gone, helpers_of, send, wait_until};

fn proc_file(pid: u32, name: &str) -> String {
    String::from_utf8_lossy(&fs::read(format!("/proc/{pid}/{name}")).unwrap()).into_owned()
}

/// Field `number` of `/proc/PID/stat`, numbered as in proc(5).
fn stat(pid: u32, number: usize) -> i64 {
    let stat = proc_file(pid, "stat");
    let (_, after_name) = stat.rsplit_once(") ").unwrap();
    after_name.split(' ').nth(number - 3).unwrap().parse().unwrap()
}

fn status(pid: u32, field: &str) -> String {
    let status = proc_file(pid, "status");
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_once(':').unwrap().1.trim().to_owned()
}

fn helpers(place: &Place) -> [u32; 2] {
    ["daemon", "keeper"].map(|name| {
        let of_name = || helpers_of(&place.ledger(), &[name]).first().copied();
        wait_until(&format!("there is a {name}"), of_name)
    })
}

/// The program's path, quoted for a shell.
fn in_shell(place: &Place) -> String {
    format!("'{}' --ledger '{}'", env!("CARGO_BIN_EXE_apm2-ledger"), place.ledger().display())
}

fn ecosystem(place: &Place, processes: &[(&str, &str)]) {
    let text = processes.iter().map(|(name, script)| {
        format!("[[process]]\nname = '{name}'\ncommand = 'sh'\nargs = ['-c', \"\"\"{script}\"\"\"]\nrestart = {{ policy = 'never' }}\n")
    });
    fs::write(place.path("ecosystem.toml"), text.collect::<String>()).unwrap();
}

/// The daemon is killed, a supervised process starts the next one, and then ends.
#[test]
fn a_daemon_that_a_supervised_process_started_outlives_it() {
    let place = Place::new();
    let agent = format!(
        "while [ ! -e go ]; do sleep 0.01; done; {} run --name tool -- true && echo > ran; while [ ! -e end ]; do sleep 0.01; done",
        in_shell(&place)
    );
    ecosystem(&place, &[("agent", &agent), ("innocent", "sleep 1000")]);
    place.run(&["up"]).succeeded();
    let innocent = place.pid_of("innocent");
    place.kill_daemon();
    fs::write(place.path("go"), "").unwrap();
    wait_until("the agent has started a daemon", || place.path("ran").exists().then_some(()));
    let [daemon, keeper] = helpers(&place);
    for helper in [daemon, keeper] {
        assert_eq!(stat(helper, 6), i64::from(helper), "it leads its own session");
        assert!(!proc_file(helper, "environ").contains("APM2_RUN"));
    }
    fs::write(place.path("end"), "").unwrap();
    wait_until("the agent's end is on record", || place.types("agent").contains(&"stopped".to_owned()).then_some(()));
    assert_eq!(place.daemon(), Some(daemon));
    assert!(!gone(innocent), "what has nothing to do with it runs on");
    assert_eq!(place.json(&["show", "innocent"])["handle"]["state"], "running");
}

/// A process of one ledger uses another ledger. Stopping that process does not affect the other ledger.
#[test]
fn a_daemon_of_another_ledger_outlives_the_run_that_started_it() {
    let (place, other) = (Place::new(), Place::new());
    let agent = format!(
        "{} run --name tool -- true && echo > ran; {} daemon; echo > again; sleep 1000",
        in_shell(&other),
        in_shell(&place)
    );
    ecosystem(&place, &[("agent", &agent)]);
    place.run(&["up"]).succeeded();
    wait_until("the agent has used the other ledger", || place.path("ran").exists().then_some(()));
    ecosystem(&other, &[("unrelated", "sleep 1000")]);
    other.run(&["up"]).succeeded();
    let (unrelated, daemon) = (other.pid_of("unrelated"), other.daemon().unwrap());
    place.run(&["stop", "agent"]).succeeded();
    assert!(!gone(unrelated) && other.daemon() == Some(daemon));
}

#[test]
fn a_daemon_that_is_asked_for_below_a_supervised_process_is_detached_from_it() {
    let (place, other) = (Place::new(), Place::new());
    let agent = format!("{} daemon 2> said; echo > began; sleep 1000", in_shell(&other));
    ecosystem(&place, &[("agent", &agent)]);
    place.run(&["up"]).succeeded();
    wait_until("the daemon of the other ledger began", || place.path("began").exists().then_some(()));
    let daemon = other.daemon().unwrap();
    assert_eq!(stat(daemon, 6), i64::from(daemon));
    assert!(!proc_file(daemon, "environ").contains("APM2_RUN"));
    let said = fs::read_to_string(place.path("said")).unwrap();
    assert!(said.contains("APM2_RUN") && said.contains(&daemon.to_string()), "{said}");
    place.run(&["stop", "agent"]).succeeded();
    assert_eq!(other.daemon(), Some(daemon));
}

/// Shell commands that set every attribute that a client can have.
const UNUSUAL: &str = "ulimit -S -n 100; ulimit -H -c 1000000; ulimit -S -c 0; ulimit -S -t 1000; ulimit -S -f 1000000; ulimit -H -f 10000000
ulimit -S -s 4096; trap '' HUP INT QUIT TERM USR1 USR2 CHLD PIPE; umask 0
echo 500 > /proc/self/oom_score_adj; echo 1000000 > /proc/self/timerslack_ns
exec 7> held; exec nice -n 5 ionice -c 3 chrt -b 0 taskset -c 0 setarch -R \"$@\"";

#[test]
fn a_daemon_inherits_nothing_of_its_first_client() {
    let place = Place::new();
    ecosystem(&place, &[("it", "sleep 1000")]);
    let asked = place.command(&["up"]);
    let mut client = Command::new("setsid");
    client.args(["--wait", "env", "--ignore-signal=RTMAX", "--block-signal=USR1", "sh", "-c", UNUSUAL, "sh"]);
    client.arg(asked.get_program()).args(asked.get_args()).current_dir(place.path("."));
    client.env_clear().envs(asked.get_envs().filter_map(|(name, value)| Some((name, value?))));
    client.env("APM2_RUN", "0/0/0").env("NOTIFY_SOCKET", "/nowhere").env("TOKEN", "of-the-first-client");
    client.stdin(Stdio::null()).stdout(Stdio::null());
    assert!(client.status().unwrap().success());
    let daemon_and_keeper = helpers(&place);
    for pid in daemon_and_keeper {
        assert_eq!((stat(pid, 5), stat(pid, 6)), (i64::from(pid), i64::from(pid)), "group and session");
        assert_eq!((stat(pid, 7), stat(pid, 8)), (0, -1), "no terminal");
        let environ = proc_file(pid, "environ");
        for name in ["APM2_RUN", "NOTIFY_SOCKET", "TOKEN", "APM2_LEDGER_DIR"] {
            assert!(!environ.contains(name), "{environ}");
        }
        assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap().to_str(), Some("/"));
        let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
        let held = open.filter_map(|fd| fs::read_link(fd.path()).ok()).find(|path| path.ends_with("held"));
        assert_eq!(held, None);
        assert_eq!(u64::from_str_radix(&status(pid, "SigBlk"), 16).unwrap(), 0);
        let ignored = u64::from_str_radix(&status(pid, "SigIgn"), 16).unwrap();
        assert_eq!(ignored & !(1 << (Signal::SIGPIPE as u32 - 1)), 0, "Rust ignores SIGPIPE itself: {ignored:x}");
        assert_eq!(proc_file(pid, "personality").trim(), "00000000");
        assert_eq!(stat(pid, 41), 0, "the scheduling policy");
        assert_eq!(proc_file(pid, "oom_score_adj").trim(), "0");
        assert_eq!(proc_file(pid, "timerslack_ns").trim(), "50000");
        assert_eq!(status(pid, "Cpus_allowed"), status(std::process::id(), "Cpus_allowed"));
        assert_limits(pid);
    }
    assert_eq!(status(daemon_and_keeper[0], "Umask"), "0077");
    let said = fs::read_to_string(place.ledger().join("daemon.log")).unwrap();
    // Attributes that need a privilege to reset are reset with it, and reported in the log without it.
    assert_eq!(said.contains("Max core file size"), !has_capability(CAP_SYS_RESOURCE), "{said}");
    assert_eq!(said.contains("niceness"), !has_capability(CAP_SYS_NICE), "{said}");
    if has_capability(CAP_SYS_NICE) {
        daemon_and_keeper.iter().for_each(|pid| assert_eq!(stat(*pid, 19), 0, "the niceness"));
    }
}

/// Bits of capabilities(7).
const CAP_SYS_NICE: u32 = 23;
const CAP_SYS_RESOURCE: u32 = 24;

fn has_capability(bit: u32) -> bool {
    u64::from_str_radix(&status(std::process::id(), "CapEff"), 16).unwrap() & (1 << bit) != 0
}

/// Soft limits are at least those of process 1, as far as the hard ones allow that.
fn assert_limits(pid: u32) {
    let parse = |word: &str| word.parse().unwrap_or(u64::MAX);
    let limits = |pid: u32| -> Vec<(u64, u64)> {
        let text = proc_file(pid, "limits");
        let of_line = |line: &str| {
            let words: Vec<&str> = line[26..].split_whitespace().collect();
            (parse(words[0]), parse(words[1]))
        };
        text.lines().skip(1).map(of_line).collect()
    };
    for ((soft, hard), (usual_soft, usual_hard)) in limits(pid).into_iter().zip(limits(1)) {
        let is_enough = if has_capability(CAP_SYS_RESOURCE) {
            soft >= usual_soft && hard >= usual_hard
        } else {
            soft >= usual_soft.min(hard)
        };
        assert!(is_enough, "{soft} {hard} where process 1 has {usual_soft} {usual_hard}");
    }
}

/// A signal to the terminal's foreground process group (Ctrl-C) does not reach the daemon.
#[test]
fn a_signal_to_the_group_of_the_client_does_not_reach_the_daemon() {
    let place = Place::new();
    let running = place.start_script(&["--name", "it"], "echo > runs; sleep 1000");
    wait_until("it runs", || place.path("runs").exists().then_some(()));
    let [daemon, keeper] = helpers(&place);
    for helper in [daemon, keeper] {
        assert_ne!(stat(helper, 5), stat(running.pid(), 5));
        assert_ne!(stat(helper, 6), stat(running.pid(), 6));
    }
    send(running.pid(), Signal::SIGINT);
    assert!(running.outcome().code > 128);
    assert_eq!(helpers(&place), [daemon, keeper]);
}
