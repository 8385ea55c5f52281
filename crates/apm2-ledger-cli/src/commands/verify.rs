//! The command `verify`, which checks the integrity of the whole ledger.

use std::io::{self, Write};

use apm2_ledger::{Finding, FindingKind, MissingArchive, StoreCheck, VerifyReport};
use serde::Serialize;

use crate::{
    context::Context,
    error::CliError,
    options::Format,
    progress::ProgressLine,
    render::{
        color::Style,
        table::{
            Align::{Left, Right},
            Cell, Layout, Table,
        },
        words,
    },
    view::notice::Seqs,
};

/// The exit code when the verification has findings.
pub(crate) const BROKEN_CODE: i32 = 4;

/// What helps against damage of the journal.
const ADVICE: &str = "`apm2-ledger rebuild --dry-run` says which segments can be written again from the store; \
                      `apm2-ledger salvage DEST` makes a new ledger of every intact event";

/// Check the whole ledger: checksums, numbering, hash chain, legality of every transition
///
/// Each finding names the events concerned. The exit code is 4 if there are findings. When no daemon has the ledger open, a
/// copy of the store is compared with the journal as well. The ledger is not changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger verify
  apm2-ledger verify --ledger /backup/ledger
  apm2-ledger --format json verify | jq -e .ok")]
pub(crate) struct VerifyArgs {}

/// JSON view of a verification.
#[derive(Debug, Serialize)]
struct ReportView<'a> {
    ok: bool,
    /// Number of events in the ledger, up to the point where it could be read.
    size: u64,
    /// The chain hash after these events. Each chain hash covers one event and the chain hash before it.
    chain: String,
    segments: u64,
    /// The number of events that were checked.
    events: u64,
    streams: u64,
    /// Whether the store was compared with the journal: `done` or `skipped`.
    store: &'static str,
    /// Why the comparison was skipped.
    store_note: Option<&'a str>,
    /// The offset of an incomplete last commit. A crash interrupted its write, and the commit was never acknowledged.
    torn: Option<TornView>,
    /// The archives that do not exist. Their events were not checked.
    missing_archives: Vec<MissingArchiveView>,
    findings: Vec<FindingView<'a>>,
}

/// JSON view of an archive that was moved away.
#[derive(Debug, Serialize)]
struct MissingArchiveView {
    path: String,
    seqs: Seqs,
}

/// JSON view of an incomplete last commit.
#[derive(Debug, Serialize)]
struct TornView {
    segment: u64,
    offset: u64,
}

/// The JSON object for one finding of the verification.
#[derive(Debug, Serialize)]
struct FindingView<'a> {
    kind: &'static str,
    seqs: Seqs,
    message: &'a str,
}

impl<'a> From<&'a VerifyReport> for ReportView<'a> {
    fn from(report: &'a VerifyReport) -> Self {
        Self {
            ok: report.findings.is_empty(),
            size: report.head.size,
            chain: report.head.chain.to_string(),
            segments: report.segments,
            events: report.events,
            streams: report.streams,
            store: match report.store {
                StoreCheck::Done => "done",
                StoreCheck::Skipped => "skipped",
            },
            store_note: report.store_note.as_deref(),
            torn: report.torn.map(|(segment, offset)| TornView { segment, offset }),
            missing_archives: report.missing_archives.iter().map(MissingArchiveView::from).collect(),
            findings: report.findings.iter().map(FindingView::from).collect(),
        }
    }
}

impl From<&MissingArchive> for MissingArchiveView {
    fn from(missing: &MissingArchive) -> Self {
        let seqs = Seqs { first: missing.first_seq, last: missing.last_seq };
        Self { path: missing.path.display().to_string(), seqs }
    }
}

impl<'a> From<&'a Finding> for FindingView<'a> {
    fn from(finding: &'a Finding) -> Self {
        let seqs = Seqs { first: finding.first_seq, last: finding.last_seq };
        Self { kind: finding.kind.name(), seqs, message: &finding.message }
    }
}

pub(crate) fn run(_: &VerifyArgs, context: &Context) -> Result<i32, CliError> {
    let dir = context.ledger_dir()?;
    let mut progress = ProgressLine::new();
    let show = &mut |events| progress.show(|| format!("{} checked", words::counted(events, "event")));
    let report = apm2_ledger::verify(&dir, show);
    drop(progress);
    let report = report?;
    match context.format {
        Format::Json => context.print_json(&ReportView::from(&report))?,
        Format::Jsonl => context.print_jsonl([ReportView::from(&report)])?,
        Format::Table => context.print(|out| print(out, &report, context.layout))?,
    }
    Ok(if report.findings.is_empty() { 0 } else { BROKEN_CODE })
}

fn print(out: &mut dyn Write, report: &VerifyReport, layout: Layout) -> io::Result<()> {
    let sound = report.findings.is_empty();
    let verdict = if sound { Cell::new("sound").styled(Style::Good) } else { Cell::new("broken").styled(Style::Bad) };
    let mut table = Table::untitled();
    let mut fact = |name: &str, value: Cell| table.push([Cell::new(name).styled(Style::Heading), value]);
    fact("ledger", verdict);
    facts(report).into_iter().for_each(|(name, value)| fact(name, value.into()));
    table.write(out, "", layout)?;
    if !sound {
        writeln!(out)?;
        findings(&report.findings).write(out, "", layout)?;
        if report.findings.iter().any(|finding| matches!(finding.kind, FindingKind::Damage | FindingKind::Chain)) {
            writeln!(out, "\n{ADVICE}")?;
        }
    }
    Ok(())
}

/// What was verified, as names and values.
pub(crate) fn facts(report: &VerifyReport) -> Vec<(&'static str, String)> {
    let checked = format!(
        "{} of {} in {}",
        words::counted(report.events, "event"),
        words::counted(report.streams, "process instance"),
        words::counted(report.segments, "segment"),
    );
    let store = match (report.store, &report.store_note) {
        (StoreCheck::Done, _) => "compared with the journal".to_owned(),
        (StoreCheck::Skipped, None) => "not compared".to_owned(),
        (StoreCheck::Skipped, Some(why)) => format!("not compared: {why}"),
    };
    let mut facts = vec![
        ("size", words::counted(report.head.size, "event")),
        ("chain", report.head.chain.to_string()),
        ("checked", checked),
        ("store", store),
    ];
    facts.extend(report.missing_archives.iter().map(|missing| {
        let (first, last, path) = (missing.first_seq, missing.last_seq, missing.path.display());
        ("archive", format!("missing, not checked: {path} with events {first} to {last}"))
    }));
    facts.extend(report.torn.map(|(segment, offset)| {
        let torn =
            format!("its last commit, at byte {offset} of segment {segment}, was cut short and never acknowledged");
        ("end", torn)
    }));
    facts
}

/// The sequence numbers of the events that a finding is about.
pub(crate) fn events_of(finding: &Finding) -> String {
    if finding.first_seq == finding.last_seq {
        finding.first_seq.to_string()
    } else {
        format!("{}-{}", finding.first_seq, finding.last_seq)
    }
}

fn findings(findings: &[Finding]) -> Table<3> {
    let mut table = Table::new([("EVENTS", Right), ("KIND", Left), ("FINDING", Left)]);
    for finding in findings {
        table.push([events_of(finding).into(), finding.kind.name().into(), finding.message.as_str().into()]);
    }
    table
}
