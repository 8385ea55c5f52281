//! A name belongs to one ecosystem file, however many ask for it at the same time.

use std::fs;

use crate::support::{Place, Running};

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
        // The file of the other takes nothing away, either.
        for file in &files {
            place.run(&["down", file]).succeeded();
        }
    }
    let starts = place.types("same").iter().filter(|kind| *kind == "running").count();
    assert_eq!(starts, usize::try_from(ROUNDS).unwrap(), "nothing was taken over");
}
