//! Checks the rules of ARCHITECTURE.md that can be found in the source code.

mod documents;
mod file_list;
mod imports;
mod layers;

use std::{
    fs,
    path::{Path, PathBuf},
};

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The source files below a directory, with their contents.
fn sources_of(dir: &Path) -> Vec<(PathBuf, String)> {
    let mut paths = Vec::new();
    sources(dir, &mut paths);
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(&path).unwrap())).collect()
}

/// The source files of the crates that contain the text `needle` outside of comments.
fn files_with(text: &str) -> Vec<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut all = Vec::new();
    let names = [
        "apm2-agents",
        "apm2-core",
        "apm2-daemon",
        "apm2-lanes",
        "apm2-ledger",
        "apm2-ledger-cli",
        "apm2-model",
        "apm2-page",
    ];
    for name in names {
        sources(&crates.join(name).join("src"), &mut all);
    }
    all.sort();
    all.retain(|path| {
        let source = fs::read_to_string(path).unwrap();
        source.lines().any(|line| !line.trim_start().starts_with("//") && line.contains(text))
    });
    all.iter().map(|path| path.strip_prefix(crates).unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn sled_is_used_in_one_folder() {
    let elsewhere: Vec<_> =
        files_with("sled::").into_iter().filter(|file| !file.starts_with("apm2-ledger/src/store/")).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
}

#[test]
fn bincode_is_used_in_one_file() {
    assert_eq!(files_with("bincode::"), ["apm2-ledger/src/codec.rs"]);
}

#[test]
fn unsafe_is_used_in_one_file() {
    assert_eq!(files_with("unsafe {"), ["apm2-core/src/os/child.rs"]);
}

#[test]
fn a_state_is_assigned_in_one_file() {
    assert_eq!(files_with(".state = "), ["apm2-model/src/state/handle.rs"]);
}
