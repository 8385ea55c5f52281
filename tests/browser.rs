//! The report and the live page in Chromium, by `tests/browser/run`.

use std::{path::Path, process::Command};

#[test]
#[ignore = "needs chromium, node and packages of npm; `.ci/run` installs them"]
fn the_pages_work_in_a_browser() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/browser/run");
    let status = Command::new(script).arg(env!("CARGO_BIN_EXE_apm2-ledger")).status().unwrap();
    assert!(status.success(), "{status}");
}
