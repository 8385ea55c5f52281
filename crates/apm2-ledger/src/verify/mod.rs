//! Has the record been touched? Checksums, numbering, chain, legality, and the store against the journal.

pub(crate) mod compare;
pub(crate) mod report;

use std::{collections::HashSet, path::Path, sync::Arc, thread};

use apm2_model::{event::stream_id::StreamId, state::stream::IllegalEvent};
use uuid::Uuid;

use crate::{
    chain::Chain,
    dir::{LedgerDir, without_journal},
    error::{Damage, OpenError},
    file,
    frame::Frame,
    head::Head,
    journal::{
        JOURNAL_DIR, origin,
        reader::read_header,
        scan::{Scan, Scanned},
        segment::{AHEAD, FORMAT_VERSION, SEGMENT_HEADER_LEN, SegmentError, SegmentHeader, segment_path},
        segments,
    },
    limits::{RETRY_INTERVAL, TAIL_READ_TRIES},
    lock::has_owner,
    read::replay::Folds,
    record::decode_event,
    recovery::extent,
    store::clean_shutdown,
    verify::{
        compare::{StoreFiles, compare},
        report::{FINDINGS_MAX, Finding, FindingKind, StoreCheck, VerifyReport},
    },
};

/// Events between two reports of progress.
const PROGRESS_EVENTS: u64 = 50_000;

/// Verifies the ledger in `dir`. `progress` is called at intervals with the number of events checked so far.
///
/// Reads, and changes nothing: what is found stays as it is. The store is compared in a copy, since sled writes into what it
/// opens, and only when no process has the ledger open meanwhile.
///
/// # Errors
/// When there is no ledger, or it is of a newer format or out of reach. What is broken is a finding, not an error.
pub fn verify(dir: &Path, progress: &mut dyn FnMut(u64)) -> Result<VerifyReport, OpenError> {
    crate::dir::prepare(dir, false)?;
    let dir = Arc::new(LedgerDir::open(dir)?);
    verify_opened(&dir, progress).map_err(|error| dir.as_named(error))
}

fn verify_opened(dir: &Arc<LedgerDir>, progress: &mut dyn FnMut(u64)) -> Result<VerifyReport, OpenError> {
    let journal = dir.at().join(JOURNAL_DIR);
    if segments(&journal).map_or(true, |all| all.is_empty()) {
        return match without_journal(dir) {
            OpenError::Damaged(damage) => {
                let mut verifier = Verifier::new(progress);
                verifier.damage(&damage);
                Ok(verifier.report(0))
            }
            error => Err(error),
        };
    }
    let store = StoreFiles::look(dir);
    let marked = marked_size(dir);
    let mut verifier = Verifier::new(progress);
    let mut count = 0;
    // A writer may begin another segment meanwhile: the list is made again until nothing is new.
    while let Some(number) = next_segment(&journal, verifier.next_number)? {
        verifier.segment(dir, number)?;
        count += 1;
    }
    verifier.ahead(dir);
    let mut report = verifier.report(count);
    if report.findings.is_empty() {
        compare(dir, &store, &mut report);
    }
    if report.findings.is_empty() {
        report.findings.extend(short_of_close(dir, report.head.size).or_else(|| short_of(marked, report.head.size)));
    }
    Ok(report)
}

/// A journal that ends before the events that the ledger held when it was last closed.
fn short_of_close(dir: &LedgerDir, journal: u64) -> Option<Finding> {
    short_of(clean_shutdown::size_at_close(dir.at()).filter(|_| !has_owner(dir)), journal)
}

fn short_of(known_size: Option<u64>, journal: u64) -> Option<Finding> {
    let store = known_size.filter(|known_size| *known_size > journal)?;
    let message = OpenError::JournalShort { journal, store }.to_string();
    Some(Finding { kind: FindingKind::Damage, first_seq: journal + 1, last_seq: store, message })
}

/// The size by the extent mark of the ledger in `dir`. To be read before its journal.
fn marked_size(dir: &LedgerDir) -> Option<u64> {
    let extent = extent::read(dir.at())?;
    let all = segments(&dir.at().join(JOURNAL_DIR)).ok()?;
    let mut headers = all.iter().filter_map(|(_, path)| read_header(path).ok()?.ok());
    headers.any(|header| header.ledger == extent.ledger).then_some(extent.size)
}

/// The first segment from `number` on.
fn next_segment(journal: &Path, number: u64) -> Result<Option<u64>, OpenError> {
    let all = segments(journal).map_err(OpenError::io(journal))?;
    Ok(all.into_iter().map(|(found, _)| found).find(|found| *found >= number))
}

/// The bytes of a segment, and whether it is the last. What looks broken at the end of the last one is read again for a
/// while where another process has the ledger open: it may be writing there, or have gone on to the next segment.
fn read_segment(dir: &LedgerDir, number: u64) -> Result<(Vec<u8>, bool), OpenError> {
    let journal = dir.at().join(JOURNAL_DIR);
    let path = segment_path(&journal, number);
    let mut tries = 0;
    loop {
        let was_last = next_segment(&journal, number + 1)?.is_none();
        let bytes = file::read(&path).map_err(OpenError::io(&path))?;
        // One that is the last before and after was the last when it was read.
        let is_last = was_last && next_segment(&journal, number + 1)?.is_none();
        let is_durable = !was_last || is_last && is_sound(&bytes) || tries == TAIL_READ_TRIES;
        if is_durable || (is_last && !has_owner(dir)) {
            return Ok((bytes, is_last));
        }
        tries += 1;
        thread::sleep(RETRY_INTERVAL);
    }
}

/// Whether the last segment holds sound commits and nothing else.
fn is_sound(bytes: &[u8]) -> bool {
    SegmentHeader::parse(bytes)
        .is_ok_and(|header| Scan::new(bytes, &header, true).all(|found| matches!(found, Scanned::Commit(..))))
}

struct Verifier<'a> {
    progress: &'a mut dyn FnMut(u64),
    ledger: Option<Uuid>,
    next_number: u64,
    next_seq: u64,
    chain: Chain,
    folds: Folds,
    events: u64,
    /// Whether everything so far is there: after a hole, what does not fit is no finding of its own.
    is_whole: bool,
    torn: Option<(u64, u64)>,
    findings: Vec<Finding>,
}

impl<'a> Verifier<'a> {
    fn new(progress: &'a mut dyn FnMut(u64)) -> Self {
        Self {
            progress,
            ledger: None,
            next_number: 1,
            next_seq: 1,
            chain: Chain([0; 32]),
            folds: Folds::default(),
            events: 0,
            is_whole: true,
            torn: None,
            findings: Vec::new(),
        }
    }

    fn find(&mut self, kind: FindingKind, first_seq: u64, last_seq: u64, message: impl Into<String>) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { kind, first_seq, last_seq: last_seq.max(first_seq), message: message.into() });
        }
    }

    fn damage(&mut self, damage: &Damage) {
        self.is_whole = false;
        self.find(FindingKind::Damage, damage.first_seq, damage.last_seq, damage.to_string());
    }

    fn hole(&mut self, number: u64, last_seq: u64, what: &str) {
        let first_seq = self.next_seq;
        let what = what.to_owned();
        self.damage(&Damage { first_seq, last_seq: last_seq.max(first_seq), segment: number, offset: 0, what });
    }

    fn segment(&mut self, dir: &LedgerDir, number: u64) -> Result<(), OpenError> {
        let (bytes, is_last) = match read_segment(dir, number) {
            Ok(read) => read,
            Err(OpenError::Io { source, .. }) if file::is_none(&source) => {
                self.next_number = number + 1;
                self.hole(number, self.next_seq, &source.to_string());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if number != self.next_number {
            self.hole(self.next_number, self.next_seq, "the segment is missing");
        }
        self.next_number = number + 1;
        let header = match SegmentHeader::parse(&bytes) {
            Ok(header) => header,
            Err(SegmentError::Newer(found)) => {
                return Err(OpenError::Newer { path: dir.named().to_owned(), found, known: FORMAT_VERSION });
            }
            Err(SegmentError::Header) => self.guess_header(number, &bytes),
        };
        self.follow(number, &header);
        let is_copy = origin::is_copy(&dir.at().join(JOURNAL_DIR));
        let mut scan = Scan::new(&bytes, &header, is_last).of_copy(is_copy);
        while let Some(found) = scan.next() {
            match found {
                Scanned::Commit(at, frame) => self.commit(&frame, bytes.get(at..).unwrap_or_default()),
                Scanned::Damage(damage) => {
                    self.damage(&damage);
                    (self.next_seq, self.chain) = (scan.next_seq(), scan.next_chain());
                }
                Scanned::Torn(at) => self.torn = Some((number, at as u64)),
            }
        }
        Ok(())
    }

    /// The header that a segment with a damaged one must have had, so that its commits can be read all the same.
    fn guess_header(&mut self, number: u64, bytes: &[u8]) -> SegmentHeader {
        let first = Frame::parse(bytes.get(SEGMENT_HEADER_LEN..).unwrap_or_default()).ok();
        let (first_seq, chain_before) =
            first.map_or((self.next_seq, self.chain), |frame| (frame.header().first_seq, frame.header().chain_before));
        self.find(
            FindingKind::Damage,
            first_seq,
            first_seq,
            format!("the header of segment {number} is damaged, before event {first_seq}"),
        );
        let ledger = self.ledger.unwrap_or(Uuid::nil());
        SegmentHeader { ledger, number, first_seq, chain_before, len: bytes.len() as u64 }
    }

    /// Whether a segment follows on the one before it.
    fn follow(&mut self, number: u64, header: &SegmentHeader) {
        let expected = match self.ledger {
            Some(_) => self.chain,
            None if header.ledger.is_nil() => header.chain_before,
            None => Chain::genesis(header.ledger),
        };
        if header.number != number || self.ledger.is_some_and(|ledger| ledger != header.ledger) {
            self.hole(number, header.first_seq, "the segment header does not match the file name");
        } else if header.first_seq != self.next_seq {
            self.hole(number, header.first_seq.saturating_sub(1), "events are missing before the segment");
        } else if header.chain_before != expected {
            self.find(
                FindingKind::Chain,
                header.first_seq,
                header.first_seq,
                "the chain does not go on in the segment",
            );
        }
        self.ledger = Some(header.ledger);
        (self.next_seq, self.chain) = (header.first_seq, header.chain_before);
    }

    fn commit(&mut self, frame: &Frame, bytes: &[u8]) {
        let header = *frame.header();
        let mut chain = header.chain_before;
        let mut touched: HashSet<StreamId> = HashSet::new();
        for (seq, event_bytes) in frame.iter(bytes) {
            chain = chain.link(seq, event_bytes);
            touched.extend(self.event(seq, event_bytes));
            self.events += 1;
            if self.events.is_multiple_of(PROGRESS_EVENTS) {
                (self.progress)(self.events);
            }
        }
        if chain != header.chain_after {
            let message = "these events are not those that the chain was made of";
            self.find(FindingKind::Chain, header.first_seq, header.last_seq(), message);
        }
        for stream in touched {
            if let Some(number) = self.folds.get(stream).and_then(|stream| stream.broken_invariant()) {
                self.find(
                    FindingKind::Invariant,
                    header.first_seq,
                    header.last_seq(),
                    format!("{number} does not hold"),
                );
            }
        }
        (self.next_seq, self.chain) = (header.last_seq() + 1, header.chain_after);
    }

    /// Checks one event, and returns its stream if it is a process's.
    fn event(&mut self, seq: u64, bytes: &[u8]) -> Option<StreamId> {
        let event = match decode_event(seq, bytes) {
            Ok(event) => event,
            Err(error) => {
                self.is_whole = false;
                self.find(FindingKind::Record, seq, seq, error.to_string());
                return None;
            }
        };
        let expected = self.folds.system_version() + 1;
        let applied = if event.stream.is_system() && event.version != expected {
            Err(IllegalEvent::Version { expected, found: event.version })
        } else {
            Ok(())
        };
        if let Err(error) = applied.and_then(|()| self.folds.apply(&event))
            && self.is_whole
        {
            self.find(FindingKind::Illegal, seq, seq, format!("{}: {error}", event.kind.name()));
        }
        (!event.stream.is_system()).then_some(event.stream)
    }

    /// The segment that is ready for later holds nothing, or its own header when a crash came just then.
    /// Beside a writer it cannot be told: it may come into use at any moment.
    fn ahead(&mut self, dir: &LedgerDir) {
        let Ok(bytes) = file::read(&dir.at().join(JOURNAL_DIR).join(AHEAD)) else { return };
        // A copy may be of one that came into use while it was copied.
        if origin::is_copy(&dir.at().join(JOURNAL_DIR))
            || has_owner(dir)
            || next_segment(&dir.at().join(JOURNAL_DIR), self.next_number).is_ok_and(|next| next.is_some())
        {
            return;
        }
        let rest =
            if SegmentHeader::parse(&bytes).is_ok() { bytes.get(SEGMENT_HEADER_LEN..) } else { Some(&bytes[..]) };
        if rest.unwrap_or_default().iter().any(|byte| *byte != 0) {
            let seq = self.next_seq;
            self.find(
                FindingKind::Damage,
                seq,
                seq,
                format!("the segment made for event {seq} and later is not empty"),
            );
        }
    }

    fn report(self, segments: u64) -> VerifyReport {
        VerifyReport {
            head: Head { size: self.next_seq - 1, chain: self.chain },
            segments,
            events: self.events,
            streams: self.folds.len() as u64,
            torn: self.torn,
            ledger: self.ledger,
            store: StoreCheck::Skipped,
            store_note: None,
            findings: self.findings,
        }
    }
}
