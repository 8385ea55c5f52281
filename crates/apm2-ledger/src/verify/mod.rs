//! Verifies a ledger: checks the checksums, sequence numbers and hash chain of the journal and the legality of each
//! event, and compares the store with the journal.

mod archives;
mod catalogs;
pub(crate) mod compare;
pub(crate) mod report;
mod sealed;

use std::{collections::HashSet, io, panic, path::Path, sync::Arc, thread};

use apm2_model::{
    event::{Event, stream_id::StreamId},
    state::stream::IllegalEvent,
};
use uuid::Uuid;

use crate::{
    backup::head_file::BackupHead,
    chain::Chain,
    dir::LedgerDir,
    error::{Damage, OpenError},
    file,
    frame::Frame,
    head::Head,
    journal::{
        JOURNAL_DIR, origin,
        scan::{Scan, Scanned},
        segment::{AHEAD, FORMAT_VERSION, SEGMENT_HEADER_LEN, SegmentError, SegmentHeader, segment_path},
        segment_file::{SegmentFile, SegmentStart, sealed_path, segment_files, some_segments},
    },
    limits::{RETRY_INTERVAL, TAIL_READ_TRIES},
    lock::has_owner,
    read::{archived::MissingArchive, cancel::Cancel, replay::StreamStates},
    record::decode_event,
    recovery::extent,
    store::clean_shutdown,
    verify::{
        compare::{CheckedStore, Skipped, StoreFiles, compare},
        report::{FINDINGS_MAX, Finding, FindingKind, StoreCheck, VerifyReport},
    },
};

/// Number of checked events after which the progress callback is called.
const PROGRESS_EVENTS: u64 = 50_000;

/// Verifies the ledger in `dir`. Calls `progress` at intervals with the number of events checked so far.
///
/// Verification changes no file of the ledger and repairs nothing. The store is compared in a temporary copy, since
/// sled writes to its files when it opens them. The comparison is skipped if a process has the ledger open.
///
/// # Errors
/// When there is no ledger, or the ledger has a newer format or cannot be read. Damage is reported as a finding, not as
/// an error.
pub fn verify(dir: &Path, progress: &mut dyn FnMut(u64)) -> Result<VerifyReport, OpenError> {
    crate::dir::prepare(dir, false)?;
    let dir = Arc::new(LedgerDir::open(dir)?);
    verify_opened(&dir, progress).map_err(|error| dir.as_named(error))
}

/// Verifies the ledger in the open directory `dir`, as [`verify`] does. The paths in its errors are those of
/// [`LedgerDir::at`].
pub(crate) fn verify_opened(dir: &Arc<LedgerDir>, progress: &mut dyn FnMut(u64)) -> Result<VerifyReport, OpenError> {
    if let Err(error) = some_segments(dir) {
        return match error {
            OpenError::Damaged(damage) => {
                let mut verifier = Verifier::new(progress);
                verifier.add_damage(&damage);
                Ok(verifier.finish(0).0)
            }
            error => Err(error),
        };
    }
    let (store, cancel) = (StoreFiles::read(dir), Cancel::default());
    let stated_size = stated_size(dir);
    // A second thread checks the store, which takes about as long as the check of the journal. If no thread can be created
    // (EAGAIN, pthread_create(3)), the store is not checked: sled would wait for threads of its own.
    let mut report = thread::scope(|scope| {
        let checking = thread::Builder::new().name("apm2-verify".to_owned());
        let checking = checking.spawn_scoped(scope, || CheckedStore::of(dir, &store, &cancel));
        let journal = check_journal(dir, progress);
        if !matches!(&journal, Ok((report, _)) if report.findings.is_empty()) {
            cancel.set();
        }
        let (mut report, states) = journal?;
        if report.findings.is_empty() {
            let store = match checking {
                Ok(thread) => thread.join().unwrap_or_else(|panic| panic::resume_unwind(panic)),
                Err(error) => Err(Skipped::NoThread(error)),
            };
            compare(dir, store, states, &mut report);
        }
        Ok::<_, OpenError>(report)
    })?;
    add_missing_at_end(dir, stated_size, &mut report);
    Ok(report)
}

/// Verifies the segments of the journal in the open directory `dir`, but neither its catalogs nor the store. The paths in its errors
/// are those of [`LedgerDir::at`].
pub(crate) fn verify_journal(dir: &Arc<LedgerDir>, progress: &mut dyn FnMut(u64)) -> Result<VerifyReport, OpenError> {
    match some_segments(dir) {
        Ok(_) => {}
        Err(OpenError::Damaged(damage)) => {
            let mut verifier = Verifier::new(progress);
            verifier.add_damage(&damage);
            return Ok(verifier.finish(0).0);
        }
        Err(error) => return Err(error),
    }
    let stated_size = stated_size(dir);
    let (verifier, count) = check_segments(dir, progress)?;
    let mut report = verifier.finish(count).0;
    add_missing_at_end(dir, stated_size, &mut report);
    Ok(report)
}

/// Adds a finding to a report without findings, if the ledger is known to have held more events.
fn add_missing_at_end(dir: &LedgerDir, stated_size: Option<u64>, report: &mut VerifyReport) {
    if report.findings.is_empty() {
        let at_close = clean_shutdown::size_at_close(dir.at()).filter(|_| !has_owner(dir));
        let missing = |known_size| missing_at_end(known_size, report.head.size);
        report.findings.extend(missing(at_close).or_else(|| missing(stated_size)));
    }
}

/// Checks the journal. Returns the report, and the states of all streams.
fn check_journal(
    dir: &Arc<LedgerDir>,
    progress: &mut dyn FnMut(u64),
) -> Result<(VerifyReport, StreamStates), OpenError> {
    let (mut verifier, count) = check_segments(dir, progress)?;
    verifier.check_catalogs(dir)?;
    Ok(verifier.finish(count))
}

/// Checks the segments of the journal. Returns their number, too.
fn check_segments<'a>(
    dir: &Arc<LedgerDir>,
    progress: &'a mut dyn FnMut(u64),
) -> Result<(Verifier<'a>, u64), OpenError> {
    let journal = dir.at().join(JOURNAL_DIR);
    let mut verifier = Verifier::new(progress);
    let Some(mut count) = verifier.check_archives(dir)? else { return Ok((verifier, 0)) };
    // Another process may begin a segment during the verification, so the directory is listed again after each segment.
    while let Some(file) = next_segment(&journal, verifier.next_number)? {
        verifier.check_segment(dir, &file)?;
        count += 1;
    }
    verifier.check_spare_segment(dir);
    Ok((verifier, count))
}

/// A finding if the journal ends at event `journal`, although the ledger is known to have held `known_size` events.
fn missing_at_end(known_size: Option<u64>, journal: u64) -> Option<Finding> {
    let store = known_size.filter(|known_size| *known_size > journal)?;
    let message = OpenError::JournalShort { journal, store }.to_string();
    Some(Finding { kind: FindingKind::Damage, first_seq: journal + 1, last_seq: store, message })
}

/// The number of events that the extent mark of the ledger in `dir` states, or the file of a backup. Must be read before the journal,
/// which another process may extend meanwhile.
fn stated_size(dir: &LedgerDir) -> Option<u64> {
    let extent = extent::read(dir.at()).map(|extent| (extent.ledger, extent.size));
    let backup = BackupHead::read(dir.at()).ok().flatten().map(|backup| (backup.ledger, backup.head.size));
    let all = segment_files(&dir.at().join(JOURNAL_DIR)).ok()?;
    let is_of = |ledger| all.iter().any(|file| matches!(file.start(), Ok(Ok(start)) if start.ledger == ledger));
    [extent, backup].into_iter().flatten().filter(|(ledger, _)| is_of(*ledger)).map(|(_, size)| size).max()
}

/// The first segment in the directory `journal` whose number is at least `number`.
fn next_segment(journal: &Path, number: u64) -> Result<Option<SegmentFile>, OpenError> {
    let all = segment_files(journal).map_err(OpenError::io(journal))?;
    Ok(all.into_iter().find(|found| found.number >= number))
}

/// Reads a plain segment. Returns its bytes, and whether it is the last segment.
///
/// If the end of the last segment looks damaged and another process has the ledger open, the segment is read again up
/// to [`TAIL_READ_TRIES`] times, because that process may be writing a commit there or may have begun the next segment.
fn read_segment(dir: &LedgerDir, number: u64) -> Result<(Vec<u8>, bool), OpenError> {
    let journal = dir.at().join(JOURNAL_DIR);
    let path = segment_path(&journal, number);
    let mut tries = 0;
    loop {
        let was_last = next_segment(&journal, number + 1)?.is_none();
        let bytes = file::read(&path).map_err(OpenError::io(&path))?;
        // A segment that was the last one both before and after the read was the last one during the read.
        let is_last = was_last && next_segment(&journal, number + 1)?.is_none();
        let is_durable = !was_last || is_last && is_sound(&bytes) || tries == TAIL_READ_TRIES;
        if is_durable || (is_last && !has_owner(dir)) {
            return Ok((bytes, is_last));
        }
        tries += 1;
        thread::sleep(RETRY_INTERVAL);
    }
}

/// Whether every commit in the last segment is complete and undamaged.
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
    stream_states: StreamStates,
    events: u64,
    /// Whether no event was missing or unreadable so far. After a missing event, later events can be illegal only
    /// because of it, so they are not reported.
    is_whole: bool,
    /// The segment and the byte offset of a torn last commit.
    torn: Option<(u64, u64)>,
    missing_archives: Vec<MissingArchive>,
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
            stream_states: StreamStates::default(),
            events: 0,
            is_whole: true,
            torn: None,
            missing_archives: Vec::new(),
            findings: Vec::new(),
        }
    }

    fn add_finding(&mut self, kind: FindingKind, first_seq: u64, last_seq: u64, message: impl Into<String>) {
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(Finding { kind, first_seq, last_seq: last_seq.max(first_seq), message: message.into() });
        }
    }

    fn add_damage(&mut self, damage: &Damage) {
        self.is_whole = false;
        self.add_finding(FindingKind::Damage, damage.first_seq, damage.last_seq, damage.to_string());
    }

    /// Adds a finding for the events from the next expected event to `last_seq`, which are missing in segment `number`
    /// or before it.
    fn add_missing_events(&mut self, number: u64, last_seq: u64, what: &str) {
        let first_seq = self.next_seq;
        let what = what.to_owned();
        self.add_damage(&Damage { first_seq, last_seq: last_seq.max(first_seq), segment: number, offset: 0, what });
    }

    fn check_segment(&mut self, dir: &LedgerDir, file: &SegmentFile) -> Result<(), OpenError> {
        let number = file.number;
        if file.is_sealed {
            if number != self.next_number {
                self.add_missing_events(self.next_number, self.next_seq, "the segment is missing");
            }
            self.next_number = number + 1;
            return self.check_sealed(dir, file);
        }
        let (bytes, is_last) = match read_segment(dir, number) {
            Ok(read) => read,
            // The segment was sealed meanwhile.
            Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                let path = sealed_path(&dir.at().join(JOURNAL_DIR), number);
                return self.check_segment(dir, &SegmentFile { number, path, is_sealed: true, place: None });
            }
            Err(OpenError::Io { source, .. }) if file::is_not_regular(&source) => {
                self.next_number = number + 1;
                self.add_missing_events(number, self.next_seq, &source.to_string());
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if number != self.next_number {
            self.add_missing_events(self.next_number, self.next_seq, "the segment is missing");
        }
        self.next_number = number + 1;
        let header = match SegmentHeader::parse(&bytes) {
            Ok(header) => header,
            Err(SegmentError::Newer(found)) => {
                return Err(OpenError::Newer { path: dir.named().to_owned(), found, known: FORMAT_VERSION });
            }
            Err(SegmentError::Header) => self.guess_header(number, &bytes),
        };
        self.check_segment_start(number, &SegmentStart::from(header));
        let is_copy = origin::is_copy(&dir.at().join(JOURNAL_DIR));
        let mut scan = Scan::new(&bytes, &header, is_last).of_copy(is_copy);
        while let Some(found) = scan.next() {
            match found {
                Scanned::Commit(at, frame) => self.check_commit(&frame, bytes.get(at..).unwrap_or_default()),
                Scanned::Damage(damage) => {
                    self.add_damage(&damage);
                    (self.next_seq, self.chain) = (scan.next_seq(), scan.next_chain());
                }
                Scanned::Torn(at) => self.torn = Some((number, at as u64)),
            }
        }
        Ok(())
    }

    /// Adds a finding for the damaged header of segment `number`. Returns the header that the segment must have had,
    /// derived from its first commit, so that its commits can still be checked.
    fn guess_header(&mut self, number: u64, bytes: &[u8]) -> SegmentHeader {
        let first = Frame::parse(bytes.get(SEGMENT_HEADER_LEN..).unwrap_or_default()).ok();
        let (first_seq, chain_before) =
            first.map_or((self.next_seq, self.chain), |frame| (frame.header().first_seq, frame.header().chain_before));
        self.add_finding(
            FindingKind::Damage,
            first_seq,
            first_seq,
            format!("the header of segment {number} is damaged, before event {first_seq}"),
        );
        let ledger = self.ledger.unwrap_or(Uuid::nil());
        SegmentHeader { version: FORMAT_VERSION, ledger, number, first_seq, chain_before, len: bytes.len() as u64 }
    }

    /// Checks that the first event and the chain in the header of a segment continue the previous segment.
    fn check_segment_start(&mut self, number: u64, header: &SegmentStart) {
        let expected = match self.ledger {
            Some(_) => self.chain,
            None if header.ledger.is_nil() => header.chain_before,
            None => Chain::genesis(header.ledger),
        };
        if header.number != number || self.ledger.is_some_and(|ledger| ledger != header.ledger) {
            self.add_missing_events(number, header.first_seq, "the segment header does not match the file name");
        } else if header.first_seq != self.next_seq {
            self.add_missing_events(
                number,
                header.first_seq.saturating_sub(1),
                "events are missing before the segment",
            );
        } else if header.chain_before != expected {
            self.add_finding(
                FindingKind::Chain,
                header.first_seq,
                header.first_seq,
                "the hash chain does not continue from the previous segment",
            );
        }
        self.ledger = Some(header.ledger);
        (self.next_seq, self.chain) = (header.first_seq, header.chain_before);
    }

    fn check_commit(&mut self, frame: &Frame, bytes: &[u8]) {
        let header = *frame.header();
        let mut chain = header.chain_before;
        let mut touched: HashSet<StreamId> = HashSet::new();
        for (seq, event_bytes) in frame.iter(bytes) {
            chain = chain.link(seq, event_bytes);
            touched.extend(self.check_event(seq, event_bytes));
            self.events += 1;
            if self.events.is_multiple_of(PROGRESS_EVENTS) {
                (self.progress)(self.events);
            }
        }
        if chain != header.chain_after {
            let message = "these events do not match the hash chain";
            self.add_finding(FindingKind::Chain, header.first_seq, header.last_seq(), message);
        }
        self.check_invariants(touched, header.first_seq, header.last_seq());
        (self.next_seq, self.chain) = (header.last_seq() + 1, header.chain_after);
    }

    /// Checks the invariants of the streams after the events from `first_seq` to `last_seq`.
    fn check_invariants(&mut self, streams: impl IntoIterator<Item = StreamId>, first_seq: u64, last_seq: u64) {
        for stream in streams {
            if let Some(number) = self.stream_states.get(stream).and_then(|stream| stream.broken_invariant()) {
                self.add_finding(FindingKind::Invariant, first_seq, last_seq, format!("{number} does not hold"));
            }
        }
    }

    /// Decodes one event and applies it to the state of its stream. Returns the id of the stream, or `None` for an
    /// event of the supervisor itself and for an event that cannot be decoded.
    fn check_event(&mut self, seq: u64, bytes: &[u8]) -> Option<StreamId> {
        let event = match decode_event(seq, bytes) {
            Ok(event) => event,
            Err(error) => {
                self.is_whole = false;
                self.add_finding(FindingKind::Record, seq, seq, error.to_string());
                return None;
            }
        };
        self.apply(&event);
        (!event.stream.is_system()).then_some(event.stream)
    }

    /// Applies an event to the state of its stream.
    fn apply(&mut self, event: &Event) {
        let (seq, expected) = (event.seq, self.stream_states.system_version() + 1);
        let applied = if event.stream.is_system() && event.version != expected {
            Err(IllegalEvent::Version { expected, found: event.version })
        } else {
            Ok(())
        };
        if let Err(error) = applied.and_then(|()| self.stream_states.apply(event))
            && self.is_whole
        {
            self.add_finding(FindingKind::Illegal, seq, seq, format!("{}: {error}", event.kind.name()));
        }
    }

    /// Checks the file `ahead`, the segment that was allocated in advance. It must hold only zeros, or a segment header
    /// and zeros if a crash came before the file was renamed. Skips the check while another process has the ledger
    /// open, because that process may begin to use the segment at any time.
    fn check_spare_segment(&mut self, dir: &LedgerDir) {
        let Ok(bytes) = file::read(&dir.at().join(JOURNAL_DIR).join(AHEAD)) else { return };
        // In a copy of a ledger the file may hold commits: the original ledger may have begun to use it while it was
        // copied.
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
            self.add_finding(
                FindingKind::Damage,
                seq,
                seq,
                format!("the segment that was allocated for event {seq} and later events is not empty"),
            );
        }
    }

    /// The report, and the states of all streams.
    fn finish(self, segments: u64) -> (VerifyReport, StreamStates) {
        let report = VerifyReport {
            head: Head { size: self.next_seq - 1, chain: self.chain },
            segments,
            events: self.events,
            streams: self.stream_states.len() as u64,
            torn: self.torn,
            ledger: self.ledger,
            store: StoreCheck::Skipped,
            store_note: None,
            missing_archives: self.missing_archives,
            findings: self.findings,
        };
        (report, self.stream_states)
    }
}
