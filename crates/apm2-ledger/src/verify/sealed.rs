//! Checks the sealed segments of a journal, and the plain files that are kept beside them for some time.

use std::{collections::HashSet, io};

use apm2_model::event::stream_id::StreamId;

use crate::{
    dir::LedgerDir,
    error::OpenError,
    file,
    journal::{
        reader::sealed_damage,
        scan::{Scan, Scanned},
        sealed::{check::Checked, error::SealedError, reader::SealedSegment},
        segment::{FORMAT_VERSION, SegmentHeader},
        segment_file::{SegmentFile, SegmentStart},
    },
    record::decode_stream,
    verify::{PROGRESS_EVENTS, Verifier, report::FindingKind},
};

impl Verifier<'_> {
    /// Checks a sealed segment: every block, the hash chain, the index against the events, and the legality of the events.
    pub(super) fn check_sealed(&mut self, dir: &LedgerDir, file: &SegmentFile) -> Result<(), OpenError> {
        let number = file.number;
        let segment = match file.open() {
            Ok(segment) => segment,
            Err(SealedError::Newer(found)) => {
                return Err(OpenError::Newer { path: dir.named().to_owned(), found, known: FORMAT_VERSION });
            }
            Err(SealedError::Io(error)) if !file::is_not_regular(&error) => {
                return Err(OpenError::io(&file.path)(error));
            }
            Err(error) => {
                self.add_missing_events(number, self.next_seq, &error.to_string());
                return Ok(());
            }
        };
        self.check_segment_start(number, &SegmentStart::from(&segment));
        let (first_seq, last_seq) = (segment.header().first_seq, segment.header().last_seq());
        let mut touched: Option<StreamId> = None;
        let mut streams = Vec::new();
        let mut failed = None;
        let chain = segment.check(&mut |found| match found {
            Checked::Event(event) => {
                self.apply(event);
                if touched.replace(event.stream) != Some(event.stream) {
                    streams.push(event.stream);
                }
                self.count_event();
            }
            Checked::Erased { .. } => {
                // The events after an erased one can be illegal only because of it.
                self.is_whole = false;
                self.count_event();
            }
            Checked::Undecodable { seq, error } => {
                self.is_whole = false;
                self.add_finding(FindingKind::Record, seq, seq, error.to_string());
                self.count_event();
            }
            Checked::Damage(SealedError::Chain { seq }) => {
                let message = "the events before this one do not match the hash chain";
                self.add_finding(FindingKind::Chain, seq, seq, message);
            }
            // The events can be read without the index.
            Checked::Damage(error @ (SealedError::Section(_) | SealedError::Index(_) | SealedError::Trailer)) => {
                self.add_finding(FindingKind::Damage, first_seq, last_seq, format!("segment {number}: {error}"));
            }
            Checked::Damage(error) => match sealed_damage(number, (first_seq, last_seq), error) {
                Ok(damage) => self.add_damage(&damage),
                Err(error) => failed = Some(error),
            },
        });
        let chain = chain.map_err(OpenError::io(&file.path))?;
        if let Some(error) = failed {
            return Err(OpenError::io(&file.path)(error));
        }
        streams.sort_unstable();
        streams.dedup();
        if self.is_whole && self.findings.is_empty() {
            self.check_states(&segment, &streams);
        }
        self.check_invariants(streams, first_seq, last_seq);
        (self.next_seq, self.chain) = (last_seq + 1, segment.chain_after().ok().or(chain).unwrap_or(self.chain));
        self.check_plain_file(file, &segment)
    }

    /// Checks the plain file of a sealed segment, which is read where the sealed file is damaged. It is removed some time after
    /// the segment was sealed.
    fn check_plain_file(&mut self, file: &SegmentFile, segment: &SealedSegment) -> Result<(), OpenError> {
        let path = file.plain_path();
        let bytes = match file::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) if file::is_not_regular(&error) => {
                self.add_plain_finding(segment, &error.to_string());
                return Ok(());
            }
            Err(error) => return Err(OpenError::io(&path)(error)),
        };
        if let Some(what) = plain_damage(&bytes, segment) {
            self.add_plain_finding(segment, &what);
        }
        Ok(())
    }

    fn add_plain_finding(&mut self, segment: &SealedSegment, what: &str) {
        let (number, first_seq) = (segment.header().number, segment.header().first_seq);
        let message = format!("segment {number}: the plain file beside the sealed one: {what}");
        self.add_finding(FindingKind::Damage, first_seq, segment.header().last_seq(), message);
    }

    /// Compares the states in the footer with those after the events of the segment. A segment has the states of all
    /// `streams`, those with events in it, or none.
    fn check_states(&mut self, segment: &SealedSegment, streams: &[StreamId]) {
        // A footer that cannot be read was found before.
        let Ok(true) = segment.has_states() else { return };
        let Ok(states) = segment.states() else { return };
        let (first_seq, last_seq) = (segment.header().first_seq, segment.header().last_seq());
        let mut missing: HashSet<StreamId> = streams.iter().copied().filter(|stream| !stream.is_system()).collect();
        let mut differing = None;
        for (stream, bytes) in states.flatten() {
            missing.remove(&stream);
            // A state of another version is ignored by readers, too.
            let state = decode_stream(&bytes).ok();
            let is_wrong = state.is_some_and(|state| self.stream_states.get(stream) != Some(&state));
            differing = differing.or_else(|| is_wrong.then_some(stream));
        }
        if let Some(stream) = differing.or_else(|| missing.into_iter().min()) {
            let number = segment.header().number;
            let (process, instance) = (stream.process_id, stream.instance);
            let message = format!(
                "segment {number}: the state of stream {process}/{instance} in the footer is missing or differs from its \
                 events"
            );
            self.add_finding(FindingKind::Damage, first_seq, last_seq, message);
        }
    }

    fn count_event(&mut self) {
        self.events += 1;
        if self.events.is_multiple_of(PROGRESS_EVENTS) {
            (self.progress)(self.events);
        }
    }
}

/// What is damaged in `bytes`, the plain file of a sealed segment. `None` if it has the events of the segment, or the first part
/// of them: a ledger that began as a copy may have a plain file from before the segment was full, and the sealed one from after.
fn plain_damage(bytes: &[u8], segment: &SealedSegment) -> Option<String> {
    let header = match SegmentHeader::parse(bytes) {
        Ok(header) => header,
        Err(error) => return Some(error.to_string()),
    };
    if SegmentStart::from(header) != SegmentStart::from(segment) {
        return Some("its header differs".to_owned());
    }
    let mut scan = Scan::new(bytes, &header, true).of_copy(true);
    for found in scan.by_ref() {
        match found {
            Scanned::Commit(..) => {}
            Scanned::Damage(damage) => return Some(damage.what),
            Scanned::Torn(_) => return None,
        }
    }
    let last_seq = segment.header().last_seq();
    let has_other_events = scan.next_seq() > last_seq + 1
        || scan.next_seq() == last_seq + 1 && segment.chain_after().is_ok_and(|chain| chain != scan.next_chain());
    has_other_events.then(|| "its events differ".to_owned())
}
