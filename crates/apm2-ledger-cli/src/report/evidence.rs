//! What a verification found, in a document.

use apm2_ledger::{Finding, VerifyReport};
use apm2_page::document::{Evidence, Finding as Row, NamedValue, limits::LISTED_MAX, tone::Tone};

use crate::{
    commands::verify::{events_of, facts},
    render::escape::escape,
};

/// The result of a verification.
pub(crate) fn converted(report: &VerifyReport) -> Evidence {
    let is_sound = report.findings.is_empty();
    let (verdict, tone) = match (is_sound, report.missing_archives.is_empty()) {
        (true, true) => ("The ledger is sound: checksums, numbers, hash chain and transitions are right.", Tone::Good),
        (true, false) => {
            ("What is there of the ledger is sound; the events of missing archives were not checked.", Tone::Warn)
        }
        (false, _) => ("The ledger is broken; see the findings.", Tone::Bad),
    };
    let finding = |finding: &Finding| Row {
        events: events_of(finding),
        kind: finding.kind.name(),
        message: escape(&finding.message).into_owned(),
    };
    Evidence {
        verdict: verdict.to_owned(),
        tone,
        facts: facts(report)
            .into_iter()
            .map(|(name, value)| NamedValue { name, value: escape(&value).into_owned() })
            .collect(),
        findings: report.findings.iter().take(LISTED_MAX).map(finding).collect(),
    }
}
