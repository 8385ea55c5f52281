//! Checks the archives of a ledger, and the base of its journal.

use apm2_model::event::stream_id::StreamId;
use uuid::Uuid;

use crate::{
    dir::LedgerDir,
    error::OpenError,
    journal::{
        JOURNAL_DIR,
        archive::{
            check::check_bytes,
            reader::{Archive, ArchiveError},
        },
        base::{ArchiveEntry, Base, BaseError},
        segment_file::SegmentFile,
        segments::{archive_path, base_damage, files_of, open_archive},
    },
    read::{archived::MissingArchive, replay::StreamStates},
    record::decode_stream,
    verify::{Verifier, report::FindingKind},
};

impl Verifier<'_> {
    /// Checks the archives in order. After this, the verifier is at the base of the journal. Returns the number of segments;
    /// `None` when the base is damaged, so that the first segment of the journal is not known.
    ///
    /// After a missing archive, the states of the streams are not known until the next base: the events of later archives are
    /// checked, but not whether they are legal.
    pub(super) fn check_archives(&mut self, dir: &LedgerDir) -> Result<Option<u64>, OpenError> {
        let journal = dir.at().join(JOURNAL_DIR);
        let base = match Base::read(&journal) {
            Ok(Some(base)) => base,
            Ok(None) => return Ok(Some(0)),
            Err(BaseError::Io(error)) => return Err(OpenError::io(&journal)(error)),
            Err(error) => {
                self.add_damage(&base_damage(&error));
                return Ok(None);
            }
        };
        let mut segments = 0;
        for entry in &base.archives {
            let path = archive_path(dir, entry);
            let opened = open_archive(&path, entry).and_then(|archive| Ok((files_of(&archive, &path)?, archive)));
            match opened {
                Ok((files, archive)) => segments += self.check_archive(dir, entry, &archive, &files)?,
                Err(error) if error.is_missing() => {
                    let (first_seq, last_seq) = (entry.first_seq, entry.last_seq);
                    self.missing_archives.push(MissingArchive { path: dir.shown(&path), first_seq, last_seq });
                    self.is_whole = false;
                }
                Err(ArchiveError::Io(error)) => return Err(OpenError::io(&path)(error)),
                Err(error) => self.add_archive_finding(entry, &error.to_string()),
            }
            self.continue_after(base.ledger, entry);
        }
        self.check_base(&base);
        Ok(Some(segments))
    }

    fn check_archive(
        &mut self,
        dir: &LedgerDir,
        entry: &ArchiveEntry,
        archive: &Archive,
        files: &[SegmentFile],
    ) -> Result<u64, OpenError> {
        match check_bytes(archive) {
            Err(ArchiveError::Io(error)) => return Err(OpenError::io(archive_path(dir, entry))(error)),
            Err(error) => self.add_archive_finding(entry, &error.to_string()),
            Ok(()) => {}
        }
        for file in files {
            self.check_segment(dir, file)?;
        }
        if (self.chain, self.next_seq) != (entry.chain_after, entry.last_seq + 1) {
            let message = format!("{}: its last event is not that which the journal continues", entry.file_name());
            self.add_finding(FindingKind::Chain, entry.first_seq, entry.last_seq, message);
        }
        if self.is_whole && self.findings.is_empty() {
            self.check_archived_states(entry, archive);
        }
        Ok(files.len() as u64)
    }

    /// Compares the states in the archive with those after its last event, and removes those of the streams that are gone.
    fn check_archived_states(&mut self, entry: &ArchiveEntry, archive: &Archive) {
        let Ok(states) = archive.states_from(&[]) else { return };
        let (mut gone, mut count, mut differing) = (Vec::new(), 0_usize, None);
        for state in states.flatten() {
            count += 1;
            // A state of another version is ignored by readers, too.
            let is_wrong =
                decode_stream(&state.record).is_ok_and(|found| self.stream_states.get(state.stream) != Some(&found));
            differing = differing.or_else(|| is_wrong.then_some(state.stream));
            if state.is_gone {
                gone.push(state.stream);
            }
        }
        if let Some(StreamId { process_id, instance }) = differing {
            let what = format!("the state of stream {process_id}/{instance} differs from its events");
            self.add_archive_finding(entry, &what);
        } else if count != self.stream_states.len() {
            self.add_archive_finding(entry, "it does not have the states of all streams");
        }
        if archive.trailer().system_version != self.stream_states.system_version() {
            self.add_archive_finding(entry, "the number of events of the supervisor is wrong");
        }
        self.stream_states.remove(&gone);
    }

    /// Continues with the event after an archive, whether it could be checked or not.
    fn continue_after(&mut self, ledger: Uuid, entry: &ArchiveEntry) {
        self.ledger = Some(ledger);
        (self.next_number, self.next_seq, self.chain) = (entry.last_number + 1, entry.last_seq + 1, entry.chain_after);
    }

    /// Compares the states in the base with those after the archives, and continues with them.
    fn check_base(&mut self, base: &Base) {
        let Some(states) = StreamStates::of_base(base) else {
            let is_damaged = base.states().and_then(|mut states| states.try_for_each(|state| state.map(drop)));
            if let Err(error) = is_damaged {
                self.add_damage(&base_damage(&error));
            }
            return;
        };
        if self.is_whole && self.findings.is_empty() && !states.is_same(&self.stream_states) {
            let message = "the states in the file `base` of the journal differ from the events in the archives";
            self.add_finding(FindingKind::Damage, 1, base.seq(), message);
        }
        match base.has_names(&states.names()) {
            Ok(true) => {}
            Ok(false) => {
                let message = "the names in the file `base` of the journal are not those of its states";
                self.add_finding(FindingKind::Damage, 1, base.seq(), message);
            }
            Err(error) => self.add_damage(&base_damage(&error)),
        }
        // What is missing concerns the archives only.
        self.is_whole |= self.findings.is_empty();
        self.stream_states = states;
    }

    fn add_archive_finding(&mut self, entry: &ArchiveEntry, what: &str) {
        self.is_whole = false;
        let message = format!("{}: {what}", entry.file_name());
        self.add_finding(FindingKind::Damage, entry.first_seq, entry.last_seq, message);
    }
}
