//! What a salvage found and did.

use std::{collections::BTreeMap, path::PathBuf};

use uuid::Uuid;

use crate::{
    dir::LedgerDir,
    error::OpenError,
    head::Head,
    salvage::{
        evidence::Evidence,
        run::Run,
        source_file::SourceKind,
        weave::{Link, Stretch, Woven},
    },
    verify::report::{Finding, FindingKind, VerifyReport},
};

/// Limit of findings that are quoted as the reason of a gap.
const REASONS_MAX: usize = 4;

/// Consecutive events of which no intact copy exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The first of them.
    pub first_seq: u64,
    /// The last of them.
    pub last_seq: u64,
    /// What was found in their place, with the segment and the byte.
    pub reason: String,
}

/// Consecutive events that were read from files of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SalvagedPart {
    /// The first event.
    pub first_seq: u64,
    /// The last event.
    pub last_seq: u64,
    /// Where they were found.
    pub source: SourceKind,
    /// Whether a hash chain value of the journal proves the events. Those of the journal itself count as proven, unless they do
    /// not match the hash chain.
    pub is_proven: bool,
    /// Whether the hash chain breaks before the first event, although the event before is there.
    pub breaks: bool,
}

/// Where consecutive events are in the new ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// The number of the first event in the damaged ledger.
    pub first_seq: u64,
    /// The number of the last event in the damaged ledger.
    pub last_seq: u64,
    /// The number of the first event in the new ledger. The numbers of the others follow.
    pub new_first_seq: u64,
}

/// Why an intact event cannot be in the new ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnplacedReason {
    /// Earlier events of its stream are lost, so that it is not allowed after those that are left.
    HistoryLost,
    /// Other events of its commit are lost.
    CommitIncomplete,
    /// This program cannot decode its record.
    Unreadable,
}

impl UnplacedReason {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::HistoryLost => "history_lost",
            Self::CommitIncomplete => "commit_incomplete",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Consecutive events that are intact and cannot be in the new ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnplacedEvents {
    /// The first event.
    pub first_seq: u64,
    /// The last event.
    pub last_seq: u64,
    /// Why they cannot be in the new ledger.
    pub reason: UnplacedReason,
}

/// A file of the damaged ledger that was not used, or only in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnusedFile {
    /// Its path.
    pub path: PathBuf,
    /// Why.
    pub reason: String,
}

/// What a salvage did, or would do. The numbers of events are those of the damaged ledger.
#[derive(Debug, Clone)]
pub struct SalvageReport {
    /// The id of the damaged ledger; `None` if no file states it.
    pub source: Option<Uuid>,
    /// The id and the events of the new ledger; `None` if none was made.
    pub ledger: Option<(Uuid, Head)>,
    /// Whether the journal of the ledger is undamaged and complete. There is nothing to salvage then.
    pub is_sound: bool,
    /// The number of the last event that the ledger is known to have had.
    pub last_seq: u64,
    /// Number of events in the new ledger.
    pub placed_events: u64,
    /// Number of intact events that cannot be in the new ledger.
    pub unplaced_events: u64,
    /// Number of events of the supervisor that have another version in the new ledger, because earlier ones are lost.
    pub renumbered_events: u64,
    /// Number of events whose cause is not in the new ledger. They have no cause there.
    pub lost_causes: u64,
    /// The events that are lost.
    pub gaps: Vec<Gap>,
    /// Where the intact events were found.
    pub parts: Vec<SalvagedPart>,
    /// Where the events are in the new ledger.
    pub placed: Vec<Placed>,
    /// The intact events that are not there.
    pub unplaced: Vec<UnplacedEvents>,
    /// Files that were not used, or only in part.
    pub unused: Vec<UnusedFile>,
    /// What the verification of the journal found.
    pub findings: Vec<Finding>,
}

impl SalvageReport {
    /// The report before any event has its place. `verified` is that of the journal, if it could be verified.
    pub(crate) fn begin(evidence: &Evidence, woven: &Woven, verified: Option<VerifyReport>) -> Self {
        let end = woven.stretches.last().map_or(0, |stretch| stretch.last_seq);
        let is_torn = verified.as_ref().is_some_and(|verified| verified.torn.is_some());
        // A torn commit was never acknowledged, so its events are not lost.
        let stated_seq = if is_torn { 0 } else { evidence.known.last_seq() };
        let is_whole = |verified: &VerifyReport| {
            verified.findings.iter().all(|finding| finding.kind == FindingKind::Store) && verified.head.size >= end
        };
        let is_sound = verified.as_ref().is_some_and(is_whole);
        Self {
            source: evidence.ledger,
            ledger: None,
            is_sound,
            // The marks in a copy may state events that the journal of the copy never had.
            last_seq: if is_sound { end } else { evidence.last_seq.max(stated_seq).max(end) },
            placed_events: 0,
            unplaced_events: 0,
            renumbered_events: 0,
            lost_causes: 0,
            gaps: Vec::new(),
            parts: parts_of(woven),
            placed: Vec::new(),
            unplaced: Vec::new(),
            unused: Vec::new(),
            findings: verified.map(|verified| verified.findings).unwrap_or_default(),
        }
    }

    /// Adds the events that are in no stretch. `unread` is the error that ended the verification.
    pub(crate) fn add_gaps(&mut self, woven: &Woven, unread: Option<&OpenError>) {
        let (ends, mut expected) = ((self.last_seq + 1, self.last_seq), 1);
        let stretches = woven.stretches.iter().map(|stretch| (stretch.first_seq, stretch.last_seq));
        for (first_seq, last_seq) in stretches.chain([ends]) {
            if first_seq > expected {
                let reason = self.reason(expected, first_seq - 1, unread);
                self.gaps.push(Gap { first_seq: expected, last_seq: first_seq - 1, reason });
            }
            expected = last_seq + 1;
        }
    }

    /// What the verification found in the place of these events.
    fn reason(&self, first_seq: u64, last_seq: u64, unread: Option<&OpenError>) -> String {
        let overlaps = |finding: &&Finding| finding.first_seq <= last_seq && finding.last_seq >= first_seq;
        let mut found: Vec<String> =
            self.findings.iter().filter(overlaps).map(|finding| finding.message.clone()).collect();
        found.extend(unread.map(ToString::to_string));
        if found.is_empty() {
            return "no intact copy was found".to_owned();
        }
        let more = found.len().saturating_sub(REASONS_MAX);
        found.truncate(REASONS_MAX);
        if more > 0 {
            found.push(format!("and {more} more findings"));
        }
        found.join("; ")
    }

    /// Adds events that were erased before the damage.
    pub(crate) fn add_erased(&mut self, seqs: &[u64]) {
        let gap = |seq: &u64| Gap { first_seq: *seq, last_seq: *seq, reason: "the event was erased".to_owned() };
        self.gaps.extend(seqs.iter().map(gap));
        self.gaps.sort_by_key(|gap| gap.first_seq);
    }

    /// Adds the files that were not used, and those with runs that were rejected.
    pub(crate) fn add_unused(&mut self, dir: &LedgerDir, evidence: &Evidence, rejected: &[Run]) {
        self.unused.extend(
            evidence.unused.iter().map(|(path, reason)| UnusedFile { path: path.clone(), reason: reason.clone() }),
        );
        let mut events: BTreeMap<usize, u64> = BTreeMap::new();
        for run in rejected {
            *events.entry(run.file).or_default() += run.last_seq - run.first_seq + 1;
        }
        for (file, count) in events {
            let Some(file) = evidence.files.get(file) else { continue };
            let reason = format!("{count} events in it contradict the hash chain of the other events");
            self.unused.push(UnusedFile { path: dir.shown(&file.path), reason });
        }
    }

    /// Number of events that are lost.
    #[must_use]
    pub fn lost_events(&self) -> u64 {
        self.gaps.iter().map(|gap| gap.last_seq - gap.first_seq + 1).sum()
    }

    /// Number of events that were found in a store only.
    #[must_use]
    pub fn store_events(&self) -> u64 {
        let parts = self.parts.iter().filter(|part| part.source.is_store());
        parts.map(|part| part.last_seq - part.first_seq + 1).sum()
    }
}

/// The stretches, with those joined that do not differ.
fn parts_of(woven: &Woven) -> Vec<SalvagedPart> {
    let mut parts: Vec<SalvagedPart> = Vec::new();
    for stretch in &woven.stretches {
        for part in split_by_proof(stretch) {
            match parts.last_mut() {
                Some(last)
                    if last.last_seq + 1 == part.first_seq
                        && !part.breaks
                        && (last.source, last.is_proven) == (part.source, part.is_proven) =>
                {
                    last.last_seq = part.last_seq;
                }
                _ => parts.push(part),
            }
        }
    }
    parts
}

/// The proven events of a stretch, and the others.
fn split_by_proof(stretch: &Stretch) -> Vec<SalvagedPart> {
    let Stretch { run, first_seq, last_seq, link, .. } = stretch;
    let part = |first_seq, last_seq, is_proven, breaks| SalvagedPart {
        first_seq,
        last_seq,
        source: run.kind,
        is_proven,
        breaks,
    };
    let breaks = *link == Link::Breaks;
    if !run.kind.is_store() {
        return vec![part(*first_seq, *last_seq, run.is_trusted && !run.is_altered, breaks)];
    }
    let proven_upto = run.proven_upto.min(*last_seq);
    if proven_upto < *first_seq {
        vec![part(*first_seq, *last_seq, false, breaks)]
    } else if proven_upto == *last_seq {
        vec![part(*first_seq, *last_seq, true, breaks)]
    } else {
        vec![part(*first_seq, proven_upto, true, breaks), part(proven_upto + 1, *last_seq, false, false)]
    }
}
