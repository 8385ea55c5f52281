//! Checks that [`FILTER_VERSION`] is raised when the rules of the filter change.

use std::{fs, path::Path};

use crate::spec::redact::FILTER_VERSION;

/// The version, and the digest of the code of the filter that has it.
///
/// When this test fails: raise [`FILTER_VERSION`] if the filter masks another part of any text than before, and write the new digest
/// here. Recorded states keep the version under which they were masked, and are masked again under another one.
const VERSION_AND_DIGEST: (u16, u64) = (1, 17_001_304_396_506_656_350);

/// Files without rules.
const OTHER_FILES: [&str; 3] = ["tests.rs", "corpus.rs", "version.rs"];

#[test]
fn another_filter_has_another_version() {
    let mut files = Vec::new();
    add_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/spec/redact"), &mut files);
    files.sort_unstable();
    let code = files.iter().map(|(_, code)| code.as_str()).collect::<String>();
    assert_eq!((FILTER_VERSION, digest(&code)), VERSION_AND_DIGEST, "see the comment of VERSION_AND_DIGEST");
}

/// Adds the files below `dir` with their code: without comments, tests and blanks.
fn add_files(dir: &Path, files: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (name, path) = (entry.file_name().into_string().unwrap(), entry.path());
        if entry.file_type().unwrap().is_dir() {
            add_files(&path, files);
        } else if !OTHER_FILES.contains(&name.as_str()) {
            let text = fs::read_to_string(&path).unwrap();
            let text = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
            let lines = text.lines().map(str::trim).filter(|line| !line.starts_with("//"));
            let code: String = lines.flat_map(|line| line.chars().filter(|c| !c.is_whitespace())).collect();
            files.push((path.display().to_string(), code));
        }
    }
}

/// FNV-1a of 64 bits.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
