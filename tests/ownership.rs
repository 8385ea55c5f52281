//! A name belongs to one ecosystem file, also with concurrent requests.

use std::{fs, path::PathBuf};

use nix::sys::signal::Signal;

use crate::support::{Place, Running, gone, send, wait_until};

/// Rounds of a race that either side may win.
const ROUNDS: u32 = 6;

fn write_file(place: &Place, dir: &str) -> String {
    fs::create_dir_all(place.path(dir)).unwrap();
    let file = place.path(dir).join("ecosystem.toml");
    let process = "[[process]]\nname = 'same'\ncommand = 'sh'\n";
    fs::write(&file, format!("{process}args = ['-c', 'echo from {dir}; exec sleep 1000']\n")).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn of_two_files_that_ask_at_once_for_the_same_name_one_is_refused() {
    let place = Place::new();
    place.run(&["run", "--name", "warm", "--", "true"]).succeeded();
    let files = ["a", "b"].map(|dir| write_file(&place, dir));
    for _ in 0..ROUNDS {
        let ups = files.each_ref().map(|file| Running::start(&mut place.command(&["up", file])));
        let outcomes = ups.map(Running::outcome);
        let mut codes = outcomes.each_ref().map(|outcome| outcome.code);
        codes.sort_unstable();
        assert_eq!(codes, [0, 1], "{outcomes:?}");
        let refused = outcomes.into_iter().find(|outcome| outcome.code == 1).unwrap();
        refused.said(&["same is supervised already, by /"]);
        let handle = place.json(&["list", "--name", "same"])[0].clone();
        assert_eq!((&handle["state"], &handle["restart_count"]), (&"running".into(), &0.into()));
        // The other file removes nothing, either.
        for file in &files {
            place.run(&["down", file]).succeeded();
        }
    }
    let starts = place.types("same").iter().filter(|kind| *kind == "running").count();
    assert_eq!(starts, usize::try_from(ROUNDS).unwrap(), "nothing was taken over");
}

/// How the launch files are lost.
#[derive(Debug, Clone, Copy)]
enum Left {
    Nothing,
    NoText,
    HalfOfIt,
    AnothersLaunch,
}

/// Removes the launch files of all processes, and kills the daemon.
fn lose_launches(place: &Place, left: Left) {
    let files: Vec<PathBuf> =
        fs::read_dir(place.ledger().join("launch")).unwrap().map(|entry| entry.unwrap().path()).collect();
    let texts: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    place.kill_daemon();
    for (at, file) in files.iter().enumerate() {
        match left {
            Left::Nothing => fs::remove_file(file).unwrap(),
            Left::NoText => fs::write(file, "").unwrap(),
            Left::HalfOfIt => fs::write(file, &texts[at][..texts[at].len() / 2]).unwrap(),
            Left::AnothersLaunch => fs::write(file, &texts[(at + 1) % texts.len()]).unwrap(),
        }
    }
}

/// The owner of processes whose launch files are lost gets them back by `up`, in whatever state they are; other files do not.
#[test]
fn the_owner_of_a_lost_launch_takes_it_again_by_up() {
    let place = Place::new();
    let process = |name: &str, script: &str, settings: &str| {
        format!("[[process]]\nname = '{name}'\ncommand = 'sh'\nargs = ['-c', '{script}']\n{settings}\n")
    };
    let forever = "exec sleep 1000";
    let text = [
        process("runs", forever, "env = { TOKEN = 'abcdefgh-12345' }"),
        process("several", forever, "instances = 3"),
        process("stopped", forever, ""),
        process("ended", forever, "restart = { policy = 'never' }"),
        process("waits", "test -e go && exec sleep 1000; exit 1", "restart = { policy = 'always', backoff = '1h' }"),
    ];
    let files = ["a", "b"].map(|dir| {
        fs::create_dir_all(place.path(dir)).unwrap();
        let file = place.path(dir).join("ecosystem.toml");
        fs::write(&file, text.concat()).unwrap();
        file.to_str().unwrap().to_owned()
    });
    let [ours, others] = files.each_ref().map(String::as_str);
    let running = || {
        let listed = place.json(&["list"]);
        let handles = listed.as_array().unwrap().iter();
        handles.filter(|handle| handle["state"] == "running").map(|handle| handle["pid"].as_u64().unwrap()).collect()
    };
    // One of them fails at first.
    place.run(&["up", ours]).left_with(1);
    for left in [Left::Nothing, Left::NoText, Left::HalfOfIt, Left::AnothersLaunch] {
        drop(fs::remove_file(place.path("a/go")));
        place.run(&["stop", "stopped"]).succeeded();
        place.run(&["restart", "waits"]).succeeded();
        let ended = place.json(&["show", "ended"])["handle"]["pid"].as_u64().unwrap();
        send(u32::try_from(ended).unwrap(), Signal::SIGKILL);
        wait_until("it has ended", || (place.json(&["show", "ended"])["handle"]["state"] == "crashed").then_some(()));
        let before: Vec<u64> = running();
        lose_launches(&place, left);
        fs::write(place.path("a/go"), "").unwrap();
        // Without a daemon and with one.
        place.run(&["up", "--dry-run", ours]).succeeded();
        place.run(&["up", ours]).succeeded();
        let after: Vec<u64> = running();
        assert_eq!(after.len(), 7, "{left:?}: {}", place.run(&["list"]).stdout);
        assert!(before.iter().all(|pid| gone(u32::try_from(*pid).unwrap())), "{left:?}: {before:?} {after:?}");
        // It belongs to the owner again.
        place.run(&["up", others]).left_with(1).said(&["is supervised already, by /"]);
        assert_eq!(running(), after, "{left:?}");
    }
    place.run(&["down", ours]).succeeded();
    assert_eq!(running(), Vec::<u64>::new());
}
