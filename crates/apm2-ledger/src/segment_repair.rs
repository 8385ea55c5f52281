//! Writes damaged full segments of the journal again, from their events in other files, mostly those of the store.
//!
//! A segment is written only if the hash chain proves all its events: they begin with the hash chain value after the segment before, and
//! end with the one that the segment after states. Any other segment is left as it is.
//!
//! For each segment: the new file is written, synced and read back under another name. The damaged file gets a second name, which
//! readers ignore. Then the new file is renamed, and the directory is synced. A crash leaves the damaged file or the new one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use uuid::Uuid;

use crate::{
    append::{catalog_writer::remove_catalogs_of, segment_sealer::SegmentSealer},
    backup::segment_check::{SegmentSpan, check_full},
    chain::Chain,
    dir::LedgerDir,
    file::{self, sync_dir},
    frame::FrameBuilder,
    journal::{
        JOURNAL_DIR,
        base::Base,
        plain_segment::PlainSegment,
        sealed::block::Slot,
        segment::{FORMAT_VERSION, SegmentHeader, aligned, segment_path},
        segment_file::{SegmentFile, SegmentStart, plain_header, sealed_path, segment_files},
    },
    limits::FRAME_BYTES_MAX,
    read::cancel::Cancel,
    salvage::{evidence::Evidence, weave::Woven},
};

/// Ends the name of a damaged file after its segment was written again.
const DAMAGED_SUFFIX: &str = "damaged";

/// Number of damaged files of one segment that are kept.
const DAMAGED_MAX: u32 = 100;

/// A damaged full segment of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentRepair {
    /// Its number.
    pub number: u64,
    /// The first of its events; `None` if it is not known.
    pub first_seq: Option<u64>,
    /// The last of its events; `None` if it is not known.
    pub last_seq: Option<u64>,
    /// What is wrong with it.
    pub damage: String,
    /// Why it is not written again; `None` if it is.
    pub refusal: Option<String>,
}

/// The events that a damaged segment must have.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    number: u64,
    first_seq: u64,
    chain_before: Chain,
    last_seq: u64,
    /// The hash chain value after the last event, which the next segment states; `None` where the next segment is damaged, too.
    chain_after: Option<Chain>,
}

/// Finds the damaged full segments of the ledger in `dir`, and with `write` writes those again whose events are proven. `progress`
/// is called with the number of each segment that was checked, and the number of all.
///
/// # Errors
/// When the directory cannot be read, or a segment cannot be written.
pub(crate) fn repair_segments(
    dir: &Arc<LedgerDir>,
    write: bool,
    progress: &mut dyn FnMut(u64, u64),
) -> io::Result<Vec<SegmentRepair>> {
    let journal = dir.at().join(JOURNAL_DIR);
    let Some(last) = segment_files(&journal)?.pop() else { return Ok(Vec::new()) };
    // Without its header, the last segment does not say where the journal ends. It is never written again.
    let Ok(Ok(header)) = plain_header(&last.path) else { return Ok(Vec::new()) };
    if last.is_sealed || header.number != last.number || header.version != FORMAT_VERSION {
        return Ok(Vec::new());
    }
    let base = Base::read(&journal)?;
    let genesis = (1, Chain::genesis(header.ledger));
    let begin = base.as_ref().map_or(genesis, |base| (base.seq() + 1, base.chain()));
    let base = base.map_or(0, |base| base.number());
    let mut segments =
        Segments { dir, journal, ledger: header.ledger, base, begin, ends: Vec::new(), damaged: Vec::new() };
    segments.check(last.number, progress);
    if segments.damaged.is_empty() {
        return Ok(Vec::new());
    }
    segments.repair(SegmentStart::from(header), write)
}

struct Segments<'a> {
    dir: &'a Arc<LedgerDir>,
    journal: PathBuf,
    ledger: Uuid,
    /// The number of the last segment in an archive; 0 without archives. Archives are not repaired.
    base: u64,
    /// The number of the first event of the journal, and the hash chain value before it.
    begin: (u64, Chain),
    /// What the full segments after the base have; `None` for a damaged one.
    ends: Vec<Option<SegmentSpan>>,
    /// Numbers of damaged segments, and what is wrong.
    damaged: Vec<(u64, String)>,
}

impl Segments<'_> {
    /// Reads all segments before segment `last`.
    fn check(&mut self, last: u64, progress: &mut dyn FnMut(u64, u64)) {
        for number in self.base + 1..last {
            progress(number, last);
            let (span, damage) = self.read(number);
            self.ends.push(span);
            self.damaged.extend(damage.map(|damage| (number, damage)));
        }
    }

    /// What the sealed or the plain file of the segment has, if one of them is intact, and what is wrong with the segment. A
    /// damaged sealed file is wrong, too, beside an intact plain one: its header may be that of another segment.
    fn read(&self, number: u64) -> (Option<SegmentSpan>, Option<String>) {
        let mut damage = None;
        for (path, is_sealed) in
            [(sealed_path(&self.journal, number), true), (segment_path(&self.journal, number), false)]
        {
            let error = match check_full(&path, number, is_sealed) {
                Ok(Ok(span)) if span.start.ledger == self.ledger => return (Some(span), damage),
                Ok(Ok(_)) => "it belongs to another ledger".to_owned(),
                Ok(Err(damage)) => damage.what,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => error.to_string(),
            };
            damage.get_or_insert(error);
        }
        (None, Some(damage.unwrap_or_else(|| "it is missing".to_owned())))
    }

    /// Writes the damaged segments again. `last` is the start of the last segment.
    fn repair(self, last: SegmentStart, write: bool) -> io::Result<Vec<SegmentRepair>> {
        let evidence = Evidence::find(self.dir, &mut |_| {});
        let woven = Woven::of(&evidence)?;
        let mut sealer = SegmentSealer::new(Arc::clone(self.dir), Cancel::default());
        let mut repairs = Vec::new();
        let mut end_before: Option<(u64, (u64, Chain))> = None;
        for (number, damage) in &self.damaged {
            let mut repair = SegmentRepair {
                number: *number,
                first_seq: None,
                last_seq: None,
                damage: damage.clone(),
                refusal: None,
            };
            // Where the segment before was damaged, too, its end is known after its events were read.
            let end = if *number == self.base + 1 { Some(self.begin) } else { self.end_of(number - 1) };
            let end = end.or_else(|| end_before.filter(|(before, ..)| before + 1 == *number).map(|(_, end)| end));
            let found = self.wanted(*number, end, last).and_then(|wanted| {
                (repair.first_seq, repair.last_seq) = (Some(wanted.first_seq), Some(wanted.last_seq));
                let bytes = self.events(&evidence, &woven, wanted)?;
                Ok((wanted, bytes))
            });
            match found {
                Ok((wanted, (bytes, chain))) => {
                    // The end of a segment before another damaged one is proven only with the events of that one.
                    end_before = Some((*number, (wanted.last_seq + 1, chain)));
                    repairs.push((repair, Some((bytes, wanted.chain_after.is_some()))));
                }
                Err(why) => {
                    repair.refusal = Some(why);
                    repairs.push((repair, None));
                }
            }
        }
        refuse_unproven(&mut repairs);
        for (repair, found) in &mut repairs {
            if let Some((bytes, _)) = found.take().filter(|_| write && repair.refusal.is_none()) {
                self.write(&mut sealer, repair.number, bytes)?;
            }
        }
        Ok(repairs.into_iter().map(|(repair, _)| repair).collect())
    }

    /// The number of the event after an intact segment, and the hash chain value before that event.
    fn end_of(&self, number: u64) -> Option<(u64, Chain)> {
        let at = usize::try_from(number.checked_sub(self.base + 1)?).ok()?;
        let span = self.ends.get(at)?.as_ref()?;
        Some((span.next_seq, span.chain))
    }

    /// The events that segment `number` must have. `end` is the end of the segment before. The error says why they are not known.
    fn wanted(&self, number: u64, end: Option<(u64, Chain)>, last: SegmentStart) -> Result<Wanted, String> {
        let (first_seq, chain_before) = end.ok_or("the end of the segment before it is not known")?;
        let next = number + 1;
        let next_span = usize::try_from(number - self.base).ok().and_then(|at| self.ends.get(at)?.as_ref());
        let (next_seq, chain_after) = if next == last.number {
            (last.first_seq, Some(last.chain_before))
        } else if let Some(span) = next_span {
            (span.start.first_seq, Some(span.start.chain_before))
        } else {
            // The header of a damaged segment may be intact.
            let start =
                self.header_of(next).ok_or("the next segment is damaged, too, and does not say where it begins")?;
            (start.first_seq, None)
        };
        if next_seq <= first_seq {
            return Err("the next segment does not begin after it".to_owned());
        }
        Ok(Wanted { number, first_seq, chain_before, last_seq: next_seq - 1, chain_after })
    }

    /// The header of a damaged segment, if it is that of the segment.
    fn header_of(&self, number: u64) -> Option<SegmentStart> {
        let sealed = SegmentFile { number, path: sealed_path(&self.journal, number), is_sealed: true, place: None };
        let plain = SegmentFile { number, path: sealed.plain_path(), is_sealed: false, place: None };
        let starts = [sealed, plain].into_iter().filter_map(|file| file.start().ok()?.ok());
        starts.into_iter().find(|start| start.number == number && start.ledger == self.ledger)
    }

    /// A plain segment with the events, and the hash chain value after them. The error says why they are not all there.
    fn events(&self, evidence: &Evidence, woven: &Woven, wanted: Wanted) -> Result<(Vec<u8>, Chain), String> {
        let Wanted { number, first_seq, chain_before, last_seq, .. } = wanted;
        let (version, ledger) = (FORMAT_VERSION, self.ledger);
        let mut header = SegmentHeader { version, ledger, number, first_seq, chain_before, len: 0 };
        let (mut commits, mut commit) = (Vec::new(), FrameBuilder::new(first_seq, chain_before));
        let mut is_erased = false;
        let read = woven.each_between::<io::Error>(&evidence.files, (first_seq, last_seq), &mut |_, seq, slot| {
            let Slot::Event(record) = slot else {
                is_erased = true;
                return Ok(());
            };
            if seq == commit.next_seq() {
                commit.push(record);
                if commit.body_len() >= FRAME_BYTES_MAX {
                    let next = FrameBuilder::new(commit.next_seq(), commit.chain());
                    push_commit(std::mem::replace(&mut commit, next), &mut commits);
                }
            }
            Ok(())
        });
        read.map_err(|error| error.to_string())?;
        let (next_seq, chain) = (commit.next_seq(), commit.chain());
        if is_erased || next_seq != last_seq + 1 {
            return Err(format!("event {next_seq} is in no other file"));
        }
        if wanted.chain_after.is_some_and(|expected| expected != chain) {
            return Err("the hash chain does not prove the events that other files have".to_owned());
        }
        push_commit(commit, &mut commits);
        header.len = (header.to_bytes().len() + commits.len()) as u64;
        Ok(([header.to_bytes().as_slice(), &commits].concat(), chain))
    }

    /// Writes the sealed file of the segment. The damaged files of it are kept under other names.
    fn write(&self, sealer: &mut SegmentSealer, number: u64, bytes: Vec<u8>) -> io::Result<()> {
        let segment = PlainSegment::parse(bytes, false, false).map_err(io::Error::other)?;
        let (sealed, plain) = (sealed_path(&self.journal, number), segment_path(&self.journal, number));
        keep_damaged(&sealed)?;
        // The new file may have no states of streams where the old one had them. The next daemon writes the catalogs again.
        remove_catalogs_of(self.dir, number)?;
        sealer.seal(segment).map_err(io::Error::other)?;
        // An intact plain file is removed by the next daemon, as beside each sealed segment.
        let is_intact = check_full(&plain, number, false).is_ok_and(|checked| checked.is_ok());
        if !is_intact && plain.symlink_metadata().is_ok() {
            keep_damaged(&plain)?;
            fs::remove_file(&plain).or_else(crate::recovery::ignore_missing)?;
        }
        sync_dir(&self.journal)
    }
}

/// A segment with the bytes that it must have, and whether the next segment states the hash chain value after it.
type Found = (SegmentRepair, Option<(Vec<u8>, bool)>);

/// Refuses segments before damaged ones that are not written again, because then nothing proves their events.
fn refuse_unproven(repairs: &mut [Found]) {
    let mut next_is_proven = None;
    for (repair, found) in repairs.iter_mut().rev() {
        let is_proven = match found {
            Some((_, true)) => true,
            Some((_, false)) => next_is_proven == Some(repair.number + 1),
            None => false,
        };
        if !is_proven && repair.refusal.is_none() {
            repair.refusal = Some("nothing proves its last event, because the next segment is damaged, too".to_owned());
        }
        next_is_proven = is_proven.then_some(repair.number);
    }
}

fn push_commit(commit: FrameBuilder, commits: &mut Vec<u8>) {
    if !commit.is_empty() {
        commits.extend_from_slice(&commit.finish());
        commits.resize(aligned(commits.len()), 0);
    }
}

/// Gives a damaged file a second name, which readers ignore. A file that is not a regular one is renamed.
fn keep_damaged(path: &Path) -> io::Result<()> {
    let Ok(metadata) = path.symlink_metadata() else { return Ok(()) };
    for number in 1..=DAMAGED_MAX {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(if number == 1 { format!(".{DAMAGED_SUFFIX}") } else { format!(".{DAMAGED_SUFFIX}.{number}") });
        let kept = path.with_file_name(name);
        if kept.symlink_metadata().is_ok() {
            continue;
        }
        if !metadata.is_file() {
            return fs::rename(path, kept);
        }
        // A file system without hard links.
        return fs::hard_link(path, &kept).or_else(|_| {
            let mut copy = file::create(&kept)?;
            io::copy(&mut file::open(path)?, &mut copy)?;
            copy.sync_all()
        });
    }
    Err(io::Error::other(format!("{} has {DAMAGED_MAX} damaged files already", path.display())))
}
