//! JSON view of a salvage, and of the events that the new ledger cannot have.

use std::io::{self, Write};

use apm2_ledger::{SalvageForm, SalvageReport, SalvagedPart, UnplacedEvent};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    context::write_jsonl,
    export::jsonl::{Header, VERSION},
    view::{event::EventView, notice::Seqs},
};

/// JSON view of a salvage, or of what one would do. The numbers of events are those of the damaged ledger, unless the name of a
/// field says otherwise.
#[derive(Debug, Serialize)]
pub(crate) struct SalvageView {
    dry_run: bool,
    /// Whether the journal is undamaged, so that nothing was made.
    ok: bool,
    /// The id of the damaged ledger; null if no file states it.
    source: Option<String>,
    /// The id of the new ledger; null if none was made.
    ledger: Option<String>,
    /// The number of events in the new ledger, or that it would have.
    size: u64,
    /// The chain hash after these events; null if no ledger was made.
    chain: Option<String>,
    /// The last event that the damaged ledger is known to have had.
    last_seq: u64,
    lost_events: u64,
    unplaced_events: u64,
    /// The number of events that only a store had.
    store_events: u64,
    /// The number of events of the supervisor with another version in the new ledger.
    renumbered_events: u64,
    /// The number of events whose cause is not in the new ledger.
    lost_causes: u64,
    gaps: Vec<GapView>,
    parts: Vec<PartView>,
    placed: Vec<PlacedView>,
    unplaced: Vec<UnplacedView>,
    unused_files: Vec<FileView>,
    findings: Vec<FindingView>,
}

/// Events that are lost, and what was found in their place.
#[derive(Debug, Serialize)]
struct GapView {
    seqs: Seqs,
    reason: String,
}

/// Where intact events were found.
#[derive(Debug, Serialize)]
struct PartView {
    seqs: Seqs,
    source: &'static str,
    proven: bool,
    /// Whether the hash chain breaks before the first of them.
    breaks: bool,
}

/// Where intact events are in the new ledger.
#[derive(Debug, Serialize)]
struct PlacedView {
    seqs: Seqs,
    /// The number of the first of them in the new ledger.
    new_first: u64,
}

/// Intact events that the new ledger cannot have.
#[derive(Debug, Serialize)]
struct UnplacedView {
    seqs: Seqs,
    reason: &'static str,
}

/// A file that was not used, or only in part.
#[derive(Debug, Serialize)]
struct FileView {
    path: String,
    reason: String,
}

/// A finding of the verification.
#[derive(Debug, Serialize)]
struct FindingView {
    kind: &'static str,
    seqs: Seqs,
    message: String,
}

impl SalvageView {
    pub(crate) fn new(report: &SalvageReport, dry_run: bool) -> Self {
        let seqs = |first, last| Seqs { first, last };
        let part = |part: &SalvagedPart| PartView {
            seqs: seqs(part.first_seq, part.last_seq),
            source: part.source.name(),
            proven: part.is_proven,
            breaks: part.breaks,
        };
        Self {
            dry_run,
            ok: report.is_sound,
            source: report.source.map(|id| id.to_string()),
            ledger: report.ledger.map(|(id, _)| id.to_string()),
            size: report.placed_events,
            chain: report.ledger.map(|(_, head)| head.chain.to_string()),
            last_seq: report.last_seq,
            lost_events: report.lost_events(),
            unplaced_events: report.unplaced_events,
            store_events: report.store_events(),
            renumbered_events: report.renumbered_events,
            lost_causes: report.lost_causes,
            gaps: report
                .gaps
                .iter()
                .map(|gap| GapView { seqs: seqs(gap.first_seq, gap.last_seq), reason: gap.reason.clone() })
                .collect(),
            parts: report.parts.iter().map(part).collect(),
            placed: report
                .placed
                .iter()
                .map(|placed| PlacedView {
                    seqs: seqs(placed.first_seq, placed.last_seq),
                    new_first: placed.new_first_seq,
                })
                .collect(),
            unplaced: report
                .unplaced
                .iter()
                .map(|events| UnplacedView {
                    seqs: seqs(events.first_seq, events.last_seq),
                    reason: events.reason.name(),
                })
                .collect(),
            unused_files: report
                .unused
                .iter()
                .map(|file| FileView { path: file.path.display().to_string(), reason: file.reason.clone() })
                .collect(),
            findings: report
                .findings
                .iter()
                .map(|finding| FindingView {
                    kind: finding.kind.name(),
                    seqs: seqs(finding.first_seq, finding.last_seq),
                    message: finding.message.clone(),
                })
                .collect(),
        }
    }
}

/// A line with an event that the new ledger cannot have.
#[derive(Serialize)]
struct EventLine<'a> {
    #[serde(flatten)]
    event: EventView<'a>,
    record: String,
    unplaced: &'static str,
}

/// A line with a record that cannot be decoded.
#[derive(Serialize)]
struct RecordLine {
    seq: u64,
    record: String,
    unplaced: &'static str,
}

/// Writes the events in the form of an export, and the report as JSON.
pub(crate) struct SalvageFiles;

impl SalvageForm for SalvageFiles {
    fn begin_unplaced(&mut self, out: &mut dyn Write, source: Option<Uuid>, last_seq: u64) -> io::Result<()> {
        let (ledger, chain) = (source.unwrap_or_default(), String::new());
        write_jsonl(out, [Header { apm2_ledger_export: VERSION, ledger, size: last_seq, chain, complete: false }])
    }

    fn unplaced(&mut self, out: &mut dyn Write, event: UnplacedEvent<'_>) -> io::Result<()> {
        let (record, unplaced) = (STANDARD.encode(event.record), event.reason.name());
        match event.event {
            Some(decoded) => write_jsonl(out, [EventLine { event: EventView::of(decoded, None), record, unplaced }]),
            None => write_jsonl(out, [RecordLine { seq: event.seq, record, unplaced }]),
        }
    }

    fn report(&mut self, out: &mut dyn Write, report: &SalvageReport) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut *out, &SalvageView::new(report, false))?;
        writeln!(out)
    }
}
