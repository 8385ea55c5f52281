//! Checks the imports between files: no cycles, each import names the file that defines the item, and modules import
//! only from lower layers.

use std::path::{Path, PathBuf};

use crate::tidy::imports::{CrateSources, Module};

/// The crates of the workspace, each with the workspace crates that it may use.
const CRATES: [(&str, &[&str]); 8] = [
    ("apm2-model", &[]),
    ("apm2-agents", &["apm2_model"]),
    ("apm2-core", &["apm2_agents", "apm2_model"]),
    ("apm2-lanes", &["apm2_model"]),
    ("apm2-page", &[]),
    ("apm2-ledger", &["apm2_model"]),
    ("apm2-daemon", &["apm2_core", "apm2_ledger", "apm2_model"]),
    ("apm2-ledger-cli", &["apm2_core", "apm2_daemon", "apm2_lanes", "apm2_ledger", "apm2_model", "apm2_page"]),
];

/// The top-level modules of a crate from the lowest layer to the highest. Each module may import the modules before it.
/// A crate that is not listed here has no layers.
const LAYERS: [(&str, &[&str]); 2] = [
    (
        "apm2-model",
        &["causes", "duration", "signal", "spec", "event", "clock", "state", "recorder", "id_query", "policy"],
    ),
    (
        "apm2-core",
        &[
            "time",
            "error",
            "blocking",
            "os",
            "adapter",
            "credentials",
            "health",
            "output",
            "run",
            "supervisor",
            "process",
        ],
    ),
];

/// Crates and modules that `apm2-model`, outside of `clock.rs`, `apm2-lanes` and `apm2-page` must not use, because they have no async
/// runtime, no file access and no clock.
const NOT_IN_MODEL: [&str; 8] =
    ["tokio", "rustix", "std::fs", "std::net", "std::thread", "std::time::Instant", "Utc::now", "SystemTime"];

fn src(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(name).join("src")
}

fn shown(module: &Module) -> String {
    if module.is_empty() { "the crate root".to_owned() } else { module.join("::") }
}

#[test]
fn no_file_imports_itself_by_way_of_others() {
    for (name, _) in CRATES {
        let circle = CrateSources::read(&src(name)).circle();
        let circle = circle.map(|circle| circle.iter().map(shown).collect::<Vec<_>>().join(" -> "));
        assert_eq!(circle, None, "{name} has a circle of imports");
    }
}

#[test]
fn imports_name_the_file_that_defines() {
    let mut detours = Vec::new();
    for (name, _) in CRATES {
        let sources = CrateSources::read(&src(name));
        for (module, paths) in sources.imports() {
            for path in paths {
                if sources.resolve(module, path).is_some_and(|target| target.is_re_exported) {
                    detours.push(format!("{name}, {}: {}", shown(module), path.join("::")));
                }
            }
        }
    }
    assert!(detours.is_empty(), "imported through a re-export:\n{}", detours.join("\n"));
}

#[test]
fn crates_use_only_the_crates_below_them() {
    for (name, allowed) in CRATES {
        for (module, paths) in CrateSources::read(&src(name)).imports() {
            for path in paths {
                let first = path.first().unwrap().as_str();
                let is_ours = first.starts_with("apm2_");
                assert!(!is_ours || allowed.contains(&first), "{name}, {}: {}", shown(module), path.join("::"));
            }
        }
    }
}

#[test]
fn modules_import_only_the_layers_below_them() {
    for (name, layers) in LAYERS {
        let sources = CrateSources::read(&src(name));
        let layer_of = |module: &Module| {
            let top = module.first()?;
            Some(layers.iter().position(|layer| layer == top).unwrap_or_else(|| panic!("{name}: {top} is in no layer")))
        };
        for (module, paths) in sources.imports() {
            let Some(own) = layer_of(module) else { continue };
            for path in paths {
                let target = sources.resolve(module, path).and_then(|target| layer_of(&target.module));
                assert!(
                    target.is_none_or(|target| target <= own),
                    "{name}, {}: {} is in a higher layer",
                    shown(module),
                    path.join("::")
                );
            }
        }
    }
}

#[test]
fn the_pure_crates_have_no_runtime_no_files_and_no_clock() {
    for (file, text) in ["apm2-model", "apm2-lanes", "apm2-page"].map(|name| super::sources_of(&src(name))).concat() {
        if file.ends_with("clock.rs") {
            continue;
        }
        let code =
            text.lines().take_while(|line| *line != "#[cfg(test)]").filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for word in NOT_IN_MODEL {
                assert!(!line.contains(word), "{}: {line}", file.display());
            }
        }
    }
}

/// Creates a temporary crate that consists of these files.
fn planted(files: &[(&str, &str)]) -> (tempfile::TempDir, CrateSources) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let sources = CrateSources::read(dir.path());
    (dir, sources)
}

#[test]
fn a_planted_circle_is_found_through_a_re_export_too() {
    let (_dir, sources) = planted(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::two; pub fn one() {}"),
        ("b/mod.rs", "mod inner; pub use self::inner::two;"),
        ("b/inner.rs", "use crate::a::one; pub fn two() {}"),
    ]);
    let circle = sources.circle().unwrap();
    assert_eq!(circle.iter().map(shown).collect::<Vec<_>>(), ["a", "b::inner", "a"]);
}

#[test]
fn a_planted_detour_is_found() {
    let (_dir, sources) = planted(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::two;"),
        ("b/mod.rs", "mod inner; pub use self::inner::two;"),
        ("b/inner.rs", "pub fn two() {}"),
    ]);
    let path: Vec<String> = ["crate", "b", "two"].map(str::to_owned).to_vec();
    assert!(sources.resolve(&vec!["a".to_owned()], &path).unwrap().is_re_exported);
}
