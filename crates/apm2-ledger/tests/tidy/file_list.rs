//! Keeps docs/files.md equal to the source files: each file without tests, with the first sentence of its head and its
//! constants.

use std::{fs, path::Path};

use super::sources_of;

const CRATES: [&str; 8] = [
    "apm2-model",
    "apm2-agents",
    "apm2-lanes",
    "apm2-page",
    "apm2-core",
    "apm2-ledger",
    "apm2-daemon",
    "apm2-ledger-cli",
];

const INTRODUCTION: &str = "# Every source file\n\n\
    The first sentence of the head of each source file but those of tests, and the names of its constants. To search, not to read: \
    [ARCHITECTURE.md](../ARCHITECTURE.md)\nhas the parts and how they fit. After a change of a head or of a constant, write \
    this file again with\n`APM2_WRITE_FILES=1 cargo test -p apm2-ledger --test ledger -- tidy::file_list`.\n";

/// The first sentence of the `//!` comment at the beginning of a file.
fn head(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let paragraph: Vec<&str> = lines.skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty()).collect();
    let paragraph = paragraph.join(" ");
    let end = paragraph.find(". ").map_or(paragraph.len(), |end| end + 1);
    paragraph[..end].to_owned()
}

/// The names of the constants that are defined at the outermost level of a file, outside of its tests.
fn constants(text: &str) -> Vec<&str> {
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
    let definition = |line: &'_ str| -> Option<usize> {
        let start = ["const ", "pub const ", "pub(crate) const ", "pub(super) const "];
        start.iter().find(|start| line.starts_with(**start)).map(|start| start.len())
    };
    let names = text.lines().filter_map(|line| line.get(definition(line)?..)?.split_once(':')).map(|(name, _)| name);
    names.filter(|name| name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')).collect()
}

fn list() -> String {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut list = INTRODUCTION.to_owned();
    for name in CRATES {
        list.push_str(&format!("\n## crates/{name}/src\n\n| file | |\n|---|---|\n"));
        let dir = crates.join(name).join("src");
        for (path, text) in sources_of(&dir) {
            let path = path.strip_prefix(&dir).unwrap().to_str().unwrap();
            if path.ends_with("tests.rs") || path.contains("tests/") {
                continue;
            }
            let head = head(&text).replace('|', "\\|");
            assert!(!head.is_empty(), "{name}/src/{path} has no head");
            let constants: Vec<String> = constants(&text).iter().map(|name| format!("`{name}`")).collect();
            let constants = if constants.is_empty() { String::new() } else { format!(" {}", constants.join(", ")) };
            list.push_str(&format!("| `{path}` | {head}{constants} |\n"));
        }
    }
    list
}

#[test]
fn every_source_file_is_listed_with_its_head() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/files.md");
    let list = list();
    if std::env::var_os("APM2_WRITE_FILES").is_some() {
        fs::write(&path, &list).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap();
    let differing = list.lines().zip(written.lines()).find(|(expected, found)| expected != found);
    assert!(
        list == written,
        "docs/files.md is not current: run this test with APM2_WRITE_FILES=1. First difference: {differing:?}"
    );
}
