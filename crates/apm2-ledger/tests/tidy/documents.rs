//! Checks that the paths named in ARCHITECTURE.md exist.

use std::{fs, path::Path};

/// Expands a pattern such as `a/{b,c}.rs` to paths.
fn expanded(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else { return vec![pattern.to_owned()] };
    let (choices, after) = rest.split_once('}').unwrap();
    choices.split(',').map(|choice| format!("{before}{choice}{after}")).collect()
}

#[test]
fn every_path_in_the_table_of_the_architecture_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let patterns = text.split('`').skip(1).step_by(2).filter(|code| code.contains("/src/"));
    let paths: Vec<String> = patterns.flat_map(expanded).collect();
    assert!(paths.len() > 50, "{} paths are not the table", paths.len());
    let missing: Vec<&String> = paths.iter().filter(|path| !root.join("crates").join(path).exists()).collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names files that do not exist: {missing:?}");
}

#[test]
fn every_path_in_the_pages_on_common_changes_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join("docs/changing.md")).unwrap();
    let folders = ["crates/", "docs/", "fuzz/", "migrations/", "tests/"];
    let is_path = |code: &&str| folders.iter().any(|folder| code.starts_with(folder));
    let paths: Vec<&str> = text.split('`').skip(1).step_by(2).filter(is_path).collect();
    assert!(paths.len() > 40, "{} paths are not the lists", paths.len());
    let missing: Vec<&&str> = paths.iter().filter(|path| !root.join(path).exists()).collect();
    assert!(missing.is_empty(), "docs/changing.md names files that do not exist: {missing:?}");
}
