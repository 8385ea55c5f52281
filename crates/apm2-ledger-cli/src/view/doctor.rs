//! JSON view of the checks of an installation.

use std::path::Path;

use serde::Serialize;

use crate::doctor::check::{Check, CheckStatus};

/// All checks: output of `doctor`.
#[derive(Debug, Serialize)]
pub(crate) struct DoctorView<'a> {
    /// The directory of the ledger.
    ledger: String,
    /// Number of problems.
    problems: usize,
    /// Number of notes.
    notes: usize,
    checks: Vec<CheckView<'a>>,
}

/// One check.
#[derive(Debug, Serialize)]
pub(crate) struct CheckView<'a> {
    /// The name of the check. Several findings of one check have the same name.
    name: &'static str,
    /// `ok`, `note` or `problem`.
    status: &'static str,
    message: &'a str,
    /// A command or a setting that mends it; null if there is none.
    remedy: Option<&'a str>,
}

impl<'a> DoctorView<'a> {
    pub(crate) fn new(ledger: &Path, checks: &'a [Check]) -> Self {
        let number = |status| checks.iter().filter(|check| check.status == status).count();
        Self {
            ledger: ledger.to_string_lossy().into_owned(),
            problems: number(CheckStatus::Problem),
            notes: number(CheckStatus::Note),
            checks: checks.iter().map(CheckView::new).collect(),
        }
    }
}

impl<'a> CheckView<'a> {
    pub(crate) fn new(check: &'a Check) -> Self {
        Self { name: check.name, status: check.status.name(), message: &check.message, remedy: check.remedy.as_deref() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_a_contract() {
        let checks = [Check::ok("a", "fine"), Check::note("b", "odd"), Check::problem("c", "bad", "do it")];
        let json = serde_json::to_value(DoctorView::new(Path::new("/l"), &checks)).unwrap();
        let expected = serde_json::json!({
            "ledger": "/l",
            "problems": 1,
            "notes": 1,
            "checks": [
                { "name": "a", "status": "ok", "message": "fine", "remedy": null },
                { "name": "b", "status": "note", "message": "odd", "remedy": null },
                { "name": "c", "status": "problem", "message": "bad", "remedy": "do it" },
            ],
        });
        assert_eq!(json, expected);
    }
}
