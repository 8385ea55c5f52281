//! What the files of a damaged ledger contain: the intact events, and the facts that tell where they belong.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ffi::OsString,
    io,
    path::PathBuf,
};

use uuid::Uuid;

use crate::{
    chain::Chain,
    dir::LedgerDir,
    journal::{
        sealed::{header::SealedHeader, reader::SealedSegment},
        segment::{SEGMENT_HEADER_LEN, SegmentHeader},
    },
    recovery::extent,
    salvage::{
        carve::carve,
        file_bytes::FileBytes,
        known_chains::KnownChains,
        run::Run,
        source_file::{SourceFile, source_files},
    },
    store::clean_shutdown,
};

/// How many bytes of the files were searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchProgress {
    /// Bytes that were searched.
    pub done_bytes: u64,
    /// Bytes of all files.
    pub total_bytes: u64,
}

/// The intact events of a damaged ledger, and what is known of it.
pub(crate) struct Evidence {
    /// The id of the ledger; `None` if no file states it.
    pub(crate) ledger: Option<Uuid>,
    pub(crate) files: Vec<SourceFile>,
    /// Sorted by their first events.
    pub(crate) runs: Vec<Run>,
    pub(crate) known: KnownChains,
    /// The last event that the ledger is known to have had.
    pub(crate) last_seq: u64,
    /// Files that were not used, or only in part, and why.
    pub(crate) unused: Vec<(PathBuf, String)>,
}

/// What the header of a segment says.
struct SegmentFacts {
    ledger: Uuid,
    first_seq: u64,
    chain_before: Chain,
    /// The number of the last event, which only a sealed segment states.
    last_seq: Option<u64>,
    /// The hash chain value after the last event, if the trailer of a sealed segment is intact.
    chain_after: Option<Chain>,
}

impl Evidence {
    /// Searches all files of the ledger in `dir`. Files that cannot be read are listed in `unused`.
    pub(crate) fn find(dir: &LedgerDir, progress: &mut dyn FnMut(SearchProgress)) -> Self {
        let mut failed = Vec::new();
        let files = source_files(dir.at(), &mut failed);
        let mut search = Search {
            evidence: Self {
                ledger: None,
                files,
                runs: Vec::new(),
                known: KnownChains::default(),
                last_seq: 0,
                unused: failed.into_iter().map(|(path, error)| (path, error.to_string())).collect(),
            },
            stated: Vec::new(),
            done_bytes: 0,
            total_bytes: 0,
        };
        search.run(dir, progress);
        let mut evidence = search.evidence;
        for (path, _) in &mut evidence.unused {
            *path = dir.shown(path);
        }
        evidence.runs.sort_by_key(|run| (run.first_seq, run.kind, run.file, run.offset));
        evidence
    }
}

struct Search {
    evidence: Evidence,
    /// Hash chain values that files without an intact header state, by the number of the file.
    stated: Vec<(usize, u64, Chain)>,
    done_bytes: u64,
    total_bytes: u64,
}

impl Search {
    fn run(&mut self, dir: &LedgerDir, progress: &mut dyn FnMut(SearchProgress)) {
        let files = self.evidence.files.clone();
        self.total_bytes = files.iter().map(|file| std::fs::metadata(&file.path).map_or(0, |found| found.len())).sum();
        let facts: Vec<_> =
            files.iter().map(|file| (!file.kind.is_store()).then(|| facts_of(file)).flatten()).collect();
        let mark = extent::stated(dir.at()).map(|(ledger, _)| ledger);
        self.evidence.ledger = most_frequent(mark.into_iter().chain(facts.iter().flatten().map(|facts| facts.ledger)));
        self.add_marks(dir);
        let is_journal = |file: &&(usize, &SourceFile)| !file.1.kind.is_store();
        for (number, file) in files.iter().enumerate().take_while(|file| is_journal(&file)) {
            self.search_journal(number, file, facts.get(number).and_then(Option::as_ref), progress);
        }
        self.trust_continued();
        let mut stores = Vec::new();
        for (number, file) in files.iter().enumerate().skip_while(|file| is_journal(&file)) {
            stores.extend(self.carved(number, file, progress));
        }
        self.add_stores(stores);
    }

    /// Adds the values in the files beside the journal.
    fn add_marks(&mut self, dir: &LedgerDir) {
        let evidence = &mut self.evidence;
        if let Some(ledger) = evidence.ledger {
            evidence.known.add(0, Chain::genesis(ledger));
        }
        if let Some((_, head)) = extent::stated(dir.at()).filter(|(ledger, _)| Some(*ledger) == evidence.ledger) {
            evidence.known.add(head.size, head.chain);
        }
        if let Some(head) = clean_shutdown::head_at_close(dir.at()) {
            evidence.known.add(head.size, head.chain);
        }
        let valid = extent::read(dir.at()).filter(|extent| Some(extent.ledger) == evidence.ledger);
        evidence.last_seq =
            valid.map_or(0, |extent| extent.size).max(clean_shutdown::size_at_close(dir.at()).unwrap_or(0));
    }

    /// Searches one file. Returns its runs, which are not trusted yet.
    fn carved(&mut self, number: usize, file: &SourceFile, progress: &mut dyn FnMut(SearchProgress)) -> Vec<Run> {
        progress(SearchProgress { done_bytes: self.done_bytes, total_bytes: self.total_bytes });
        let mut bytes = match FileBytes::open(&file.path) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.unused(file, error.to_string());
                return Vec::new();
            }
        };
        let carved = carve(&mut bytes, file.kind, number, &self.evidence.known);
        self.done_bytes = self.done_bytes.saturating_add(bytes.len());
        if let Some(error) = bytes.take_error() {
            self.unused(file, format!("it cannot be read in full: {error}"));
        }
        if !file.kind.is_store() {
            self.stated.extend(carved.stated.into_iter().map(|(seq, chain)| (number, seq, chain)));
        }
        carved.runs
    }

    fn unused(&mut self, file: &SourceFile, why: String) {
        self.evidence.unused.push((file.path.clone(), why));
    }

    fn search_journal(
        &mut self,
        number: usize,
        file: &SourceFile,
        facts: Option<&SegmentFacts>,
        progress: &mut dyn FnMut(SearchProgress),
    ) {
        if let Some(facts) = facts.filter(|facts| Some(facts.ledger) != self.evidence.ledger) {
            return self.unused(file, format!("it belongs to the ledger {}", facts.ledger));
        }
        let mut runs = self.carved(number, file, progress);
        if let Some(facts) = facts {
            self.know(facts.first_seq.saturating_sub(1), facts.chain_before);
            if let (Some(last_seq), Some(chain)) = (facts.last_seq, facts.chain_after) {
                self.know(last_seq, chain);
            }
            self.evidence.last_seq = self.evidence.last_seq.max(facts.last_seq.unwrap_or(0));
            runs.iter_mut().for_each(|run| run.is_trusted = true);
            self.know_file(number, &runs);
        }
        self.evidence.runs.extend(runs);
    }

    /// Adds a hash chain value of the journal.
    fn know(&mut self, seq: u64, chain: Chain) {
        self.evidence.known.add(seq, chain);
        self.evidence.last_seq = self.evidence.last_seq.max(seq);
    }

    /// Adds the values of a file that is trusted.
    fn know_file(&mut self, number: usize, runs: &[Run]) {
        for run in runs {
            self.know(run.first_seq - 1, run.chain_before);
            self.know(run.last_seq, run.chain_after);
        }
        let of_file = self.stated.iter().filter(|(file, ..)| *file == number).copied().collect::<Vec<_>>();
        self.stated.retain(|(file, ..)| *file != number);
        of_file.into_iter().for_each(|(_, seq, chain)| self.know(seq, chain));
    }

    /// Trusts the files without an intact header in which a run begins or ends with a known hash chain value.
    fn trust_continued(&mut self) {
        loop {
            let (runs, known) = (&self.evidence.runs, &self.evidence.known);
            let is_known = |run: &&Run| {
                !run.is_trusted
                    && (known.contains(run.first_seq - 1, &run.chain_before)
                        || known.contains(run.last_seq, &run.chain_after))
            };
            let Some(file) = runs.iter().find(is_known).map(|run| run.file) else { return };
            self.evidence.runs.iter_mut().filter(|run| run.file == file).for_each(|run| run.is_trusted = true);
            let trusted: Vec<Run> = self.evidence.runs.iter().filter(|run| run.file == file).cloned().collect();
            self.know_file(file, &trusted);
        }
    }

    /// Adds the frames of the stores that a hash chain value of the journal, or other frames, connect with the ledger.
    fn add_stores(&mut self, mut frames: Vec<Run>) {
        frames.sort_by_key(|run| (run.first_seq, run.last_seq, run.kind, run.file, run.offset));
        let mut seen = HashSet::new();
        frames.retain(|run| seen.insert((run.first_seq, run.last_seq, run.chain_before.0, run.chain_after.0)));
        if self.evidence.ledger.is_none()
            && let Some(first) = frames.first().filter(|run| run.first_seq == 1)
        {
            self.evidence.known.add(0, first.chain_before);
        }
        // Forwards: a frame is of the ledger if its hash chain value continues that of one that is.
        let mut ends: HashMap<u64, Vec<Chain>> = HashMap::new();
        for run in &mut frames {
            let is_known = self.evidence.known.contains(run.first_seq - 1, &run.chain_before);
            let continues = ends.get(&(run.first_seq - 1)).is_some_and(|ends| ends.contains(&run.chain_before));
            run.is_trusted = is_known || continues || run.proven_upto > 0;
            if run.is_trusted {
                ends.entry(run.last_seq).or_default().push(run.chain_after);
            }
        }
        // Backwards: the events of a frame are proven if a frame that continues it begins with a proven value.
        let mut proven: HashMap<u64, Vec<Chain>> = HashMap::new();
        frames.sort_by_key(|run| std::cmp::Reverse(run.last_seq));
        for run in &mut frames {
            if proven.get(&run.last_seq).is_some_and(|values| values.contains(&run.chain_after)) {
                run.proven_upto = run.last_seq;
            }
            if run.proven_upto >= run.first_seq {
                run.is_trusted = true;
                proven.entry(run.first_seq - 1).or_default().push(run.chain_before);
            }
        }
        let stores = self.stores_of_ledger(&frames);
        for run in &mut frames {
            let store = self.evidence.files.get(run.file).and_then(|file| file.store.as_ref());
            run.is_trusted |= store.is_some_and(|store| stores.contains(store));
        }
        let (used, unused): (Vec<_>, Vec<_>) = frames.into_iter().partition(|run| run.is_trusted);
        self.note_foreign(&unused);
        self.evidence.runs.extend(used);
    }

    /// The stores that belong to the ledger: a frame in them is connected with its hash chain, or they have its id, which each write to
    /// a store repeats.
    fn stores_of_ledger(&self, frames: &[Run]) -> HashSet<OsString> {
        let store_of = |run: &Run| self.evidence.files.get(run.file).and_then(|file| file.store.clone());
        let mut stores: HashSet<OsString> = frames.iter().filter(|run| run.is_trusted).filter_map(store_of).collect();
        let Some(ledger) = self.evidence.ledger else { return stores };
        for file in &self.evidence.files {
            if let Some(store) = &file.store
                && !stores.contains(store)
                && FileBytes::open(&file.path).is_ok_and(|mut bytes| bytes.contains(ledger.as_bytes()))
            {
                stores.insert(store.clone());
            }
        }
        stores
    }

    fn note_foreign(&mut self, runs: &[Run]) {
        let mut events: BTreeMap<usize, u64> = BTreeMap::new();
        for run in runs {
            *events.entry(run.file).or_default() += run.last_seq - run.first_seq + 1;
        }
        for (file, count) in events {
            let Some(file) = self.evidence.files.get(file).cloned() else { continue };
            self.unused(&file, format!("nothing connects {count} events in it with the hash chain of the ledger"));
        }
    }
}

/// Reads the header of a file of the journal.
fn facts_of(file: &SourceFile) -> Option<SegmentFacts> {
    let mut bytes = FileBytes::open(&file.path).ok()?;
    let begin = bytes.at(0, SEGMENT_HEADER_LEN);
    if let Ok(SegmentHeader { ledger, first_seq, chain_before, .. }) = SegmentHeader::parse(begin) {
        return (first_seq > 0).then_some(SegmentFacts {
            ledger,
            first_seq,
            chain_before,
            last_seq: None,
            chain_after: None,
        });
    }
    let header = SealedHeader::parse(begin).ok()?;
    let chain_after = SealedSegment::open(&file.path).and_then(|segment| segment.chain_after()).ok();
    let SealedHeader { ledger, first_seq, chain_before, .. } = header;
    Some(SegmentFacts { ledger, first_seq, chain_before, last_seq: Some(header.last_seq()), chain_after })
}

/// The id that most files state; the first of several that are equally frequent.
fn most_frequent(ids: impl Iterator<Item = Uuid>) -> Option<Uuid> {
    let mut counts: Vec<(Uuid, u64)> = Vec::new();
    for id in ids {
        match counts.iter_mut().find(|(known, _)| *known == id) {
            Some((_, count)) => *count += 1,
            None => counts.push((id, 1)),
        }
    }
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(id, _)| id)
}

/// An I/O error that names the file.
pub(crate) fn naming(file: &SourceFile, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.path.display()))
}
