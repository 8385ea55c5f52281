//! Chooses where each event of a damaged ledger is read from: one copy of each, in an order that follows the hash chain.

use std::{cmp::Reverse, io};

use crate::{
    chain::Chain,
    journal::sealed::block::Slot,
    salvage::{
        evidence::{Evidence, naming},
        run::{Run, RunReader, chain_before},
        source_file::SourceFile,
    },
};

/// How the events of a stretch follow those before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// By the hash chain.
    Continues,
    /// Events are missing before them.
    AfterGap,
    /// The event before is there, and has another hash chain value.
    Breaks,
}

/// Consecutive events that are read from one run.
#[derive(Debug, Clone)]
pub(crate) struct Stretch {
    pub(crate) run: Run,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) link: Link,
}

/// The stretches, and the runs that contradict them.
pub(crate) struct Woven {
    pub(crate) stretches: Vec<Stretch>,
    /// Runs with other events in the place of those that were chosen, or which nothing connects with the ledger.
    pub(crate) rejected: Vec<Run>,
}

impl Woven {
    /// Chooses the stretches.
    ///
    /// # Errors
    /// When a file that was searched cannot be read any more.
    pub(crate) fn of(evidence: &Evidence) -> io::Result<Self> {
        let mut weaver = Weaver {
            evidence,
            next_run: 0,
            active: Vec::new(),
            woven: Self { stretches: Vec::new(), rejected: Vec::new() },
        };
        weaver.weave()?;
        Ok(weaver.woven)
    }

    /// Calls `visit` with the number and the slot of each event, and the number of its stretch.
    pub(crate) fn each<E: From<io::Error>>(
        &self,
        files: &[SourceFile],
        visit: &mut dyn FnMut(usize, u64, Slot<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.each_between(files, (1, u64::MAX), visit)
    }

    /// The same for the events from `seqs.0` to `seqs.1`.
    pub(crate) fn each_between<E: From<io::Error>>(
        &self,
        files: &[SourceFile],
        seqs: (u64, u64),
        visit: &mut dyn FnMut(usize, u64, Slot<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.stretches.partition_point(|stretch| stretch.last_seq < seqs.0);
        let within = |(_, stretch): &(usize, &Stretch)| stretch.first_seq <= seqs.1;
        for (number, stretch) in self.stretches.iter().enumerate().skip(before).take_while(within) {
            let Some(file) = files.get(stretch.run.file) else { continue };
            let (first_seq, last_seq) = (stretch.first_seq.max(seqs.0), stretch.last_seq.min(seqs.1));
            let reader =
                RunReader::starting_at(&stretch.run, &file.path, first_seq).map_err(|error| naming(file, &error))?;
            reader.each(first_seq, last_seq, &mut |_, seq, slot| visit(number, seq, slot))?;
        }
        Ok(())
    }
}

struct Weaver<'a> {
    evidence: &'a Evidence,
    /// The first run that begins after the position.
    next_run: usize,
    /// The runs that begin before the position and end after it.
    active: Vec<&'a Run>,
    woven: Woven,
}

impl<'a> Weaver<'a> {
    fn weave(&mut self) -> io::Result<()> {
        let (mut seq, mut is_after_gap) = (1, false);
        let mut chain = self.evidence.ledger.map(Chain::genesis);
        loop {
            self.advance(seq);
            let Some((run, continues)) = self.choose(seq, chain)? else {
                let Some(next) = self.evidence.runs.get(self.next_run) else { return Ok(()) };
                (seq, chain, is_after_gap) = (next.first_seq, None, true);
                continue;
            };
            let last_seq = self.last_of(run, seq);
            let chain_after = if last_seq == run.last_seq {
                run.chain_after
            } else {
                chain_before(run, &self.file(run)?.path, last_seq + 1)?
            };
            let link = match (is_after_gap, continues) {
                (true, _) => Link::AfterGap,
                (false, true) => Link::Continues,
                (false, false) => Link::Breaks,
            };
            self.woven.stretches.push(Stretch { run: run.clone(), first_seq: seq, last_seq, link });
            (seq, chain, is_after_gap) = (last_seq + 1, Some(chain_after), false);
        }
    }

    fn advance(&mut self, seq: u64) {
        self.active.retain(|run| run.last_seq >= seq);
        while let Some(run) = self.evidence.runs.get(self.next_run)
            && run.first_seq <= seq
        {
            if run.last_seq >= seq {
                self.active.push(run);
            }
            self.next_run += 1;
        }
    }

    fn file(&self, run: &Run) -> io::Result<&'a SourceFile> {
        self.evidence.files.get(run.file).ok_or_else(|| io::Error::other("a run of an unknown file"))
    }

    /// The run to read event `seq` from, and whether it continues the hash chain value `chain`, where that is known. Runs that cannot
    /// be used are rejected.
    fn choose(&mut self, seq: u64, chain: Option<Chain>) -> io::Result<Option<(&'a Run, bool)>> {
        let mut candidates = Vec::new();
        for run in std::mem::take(&mut self.active) {
            let file = self.file(run)?;
            let before = chain_before(run, &file.path, seq).map_err(|error| naming(file, &error))?;
            let continues = chain.is_none_or(|chain| chain == before);
            let is_usable = match chain {
                Some(_) if continues => true,
                Some(_) => run.is_trusted && (!run.kind.is_store() || run.proven_upto >= seq),
                // A file without an intact header is taken for one of the ledger.
                None => run.is_trusted || !run.kind.is_store(),
            };
            if is_usable { candidates.push((run, continues)) } else { self.woven.rejected.push(run.clone()) }
        }
        let rank = |(run, continues): &(&Run, bool)| {
            (!continues, run.is_altered, !run.is_trusted, run.kind, Reverse(run.last_seq))
        };
        let chosen = candidates.iter().min_by_key(|candidate| rank(candidate)).copied();
        for (run, continues) in candidates {
            let contradicts = !continues && chosen.is_some_and(|(_, continues)| continues);
            if contradicts { self.woven.rejected.push(run.clone()) } else { self.active.push(run) }
        }
        Ok(chosen)
    }

    /// The last event that is read from `run`. A run of the store ends where the journal goes on.
    fn last_of(&self, run: &Run, seq: u64) -> u64 {
        if !run.kind.is_store() && !run.is_altered {
            return run.last_seq;
        }
        let is_better = |other: &&Run| !other.kind.is_store() && !other.is_altered && other.is_trusted;
        let later = self.evidence.runs.get(self.next_run..).unwrap_or_default();
        let next = later.iter().take_while(|other| other.first_seq <= run.last_seq).find(is_better);
        next.map_or(run.last_seq, |next| (next.first_seq - 1).max(seq))
    }
}
