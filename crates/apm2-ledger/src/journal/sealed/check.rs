//! The check of a whole sealed segment: each block, the chain, and the footer against the events.

use std::io;

use apm2_model::event::Event;

use crate::{
    chain::Chain,
    journal::sealed::{
        block::{Block, Slot},
        block_table::BlockSummary,
        error::{SealedError, Section},
        index::Index,
        reader::SealedSegment,
    },
    record::{RecordError, decode_event},
};

/// What is found in a sealed segment, in the order of the file.
#[derive(Debug)]
pub enum Checked<'a> {
    /// An event.
    Event(&'a Event),
    /// An event that was erased.
    Erased {
        /// Its seq.
        seq: u64,
        /// Its leaf hash.
        leaf: [u8; 32],
    },
    /// An event that this program cannot read. The footer cannot be compared with the events then.
    Undecodable {
        /// Its seq.
        seq: u64,
        /// Why.
        error: RecordError,
    },
    /// Something is wrong.
    Damage(SealedError),
}

impl SealedSegment {
    /// Reads all blocks, compares the chain with the headers and the trailer and the footer with the events, and reports each
    /// event and each damage. Returns the chain after the last event; `None` when the last block cannot be read.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn check(&self, report: &mut dyn FnMut(Checked<'_>)) -> io::Result<Option<Chain>> {
        let mut check =
            Check { segment: self, report, index: Some(Index::default()), chain: Some(self.header().chain_before) };
        let blocks = check.blocks();
        check.take(blocks)?;
        if let Ok(chain) = self.chain_after()
            && check.chain.is_some_and(|computed| computed != chain)
        {
            check.take(Err(SealedError::Chain { seq: self.header().last_seq().saturating_add(1) }))?;
        }
        let sections: &[Section] = if self.has_trailer() { &Section::ALL } else { &[] };
        for section in sections {
            let found = check.section(*section);
            check.take(found)?;
        }
        Ok(check.chain)
    }
}

struct Check<'a> {
    segment: &'a SealedSegment,
    report: &'a mut dyn FnMut(Checked<'_>),
    /// That of the events so far; `None` after an event that could not be read.
    index: Option<Index>,
    /// The chain after the events so far; `None` after a block that could not be read.
    chain: Option<Chain>,
}

impl Check<'_> {
    /// Reports an error, unless it is an I/O error.
    fn take(&mut self, found: Result<(), SealedError>) -> io::Result<()> {
        match found {
            Ok(()) => {}
            Err(SealedError::Io(error)) => return Err(error),
            Err(error) => (self.report)(Checked::Damage(error)),
        }
        Ok(())
    }

    fn blocks(&mut self) -> Result<(), SealedError> {
        if !self.segment.has_trailer() {
            self.take(Err(SealedError::Trailer))?;
        }
        for number in 0..self.segment.blocks()?.entries().len() {
            match self.segment.block(number) {
                Ok(Some(block)) => self.block(&block),
                Ok(None) => {}
                Err(error) => {
                    (self.index, self.chain) = (None, None);
                    self.take(Err(error))?;
                }
            }
        }
        match self.segment.missing()? {
            Some(missing) => {
                (self.index, self.chain) = (None, None);
                Err(missing)
            }
            None => Ok(()),
        }
    }

    fn block(&mut self, block: &Block) {
        let header = block.header();
        if self.chain.is_some_and(|chain| chain != header.chain_before) {
            (self.report)(Checked::Damage(SealedError::Chain { seq: header.first_seq }));
        }
        if let Some(index) = &mut self.index {
            index.begin_block();
        }
        let mut chain = header.chain_before;
        for (seq, slot) in block.iter() {
            chain = slot.link(chain, seq);
            match slot {
                Slot::Erased(leaf) => (self.report)(Checked::Erased { seq, leaf }),
                Slot::Event(bytes) => self.event(seq, bytes),
            }
        }
        self.chain = Some(chain);
    }

    fn event(&mut self, seq: u64, bytes: &[u8]) {
        match decode_event(seq, bytes) {
            Ok(event) => {
                if let Some(index) = &mut self.index {
                    index.add(&event);
                }
                (self.report)(Checked::Event(&event));
            }
            Err(error) => {
                self.index = None;
                (self.report)(Checked::Undecodable { seq, error });
            }
        }
    }

    /// Reads a section as a whole, and compares it with the events where all of them could be read.
    fn section(&self, section: Section) -> Result<(), SealedError> {
        let (segment, index) = (self.segment, self.index.as_ref());
        let is_right = match section {
            Section::Blocks => {
                let blocks = segment.blocks()?;
                if !blocks.is_indexed() {
                    return Err(SealedError::Section(section));
                }
                let summaries: Vec<BlockSummary> = blocks.entries().iter().map(|entry| entry.summary).collect();
                index.is_none_or(|index| {
                    let pairs = index.summaries.iter().zip(&summaries);
                    index.summaries.len() == summaries.len()
                        && pairs.into_iter().all(|(own, stored)| own.is_stored_as(stored))
                })
            }
            Section::Streams => is_same(segment.streams_from(&[])?, index.map(|index| index.streams.values()))?,
            Section::Names => is_same(segment.names()?, index.map(|index| index.names.iter()))?,
            Section::States => {
                let mut is_right = true;
                for state in segment.states()? {
                    let (stream, _) = state?;
                    is_right &= index.is_none_or(|index| index.streams.contains_key(&stream));
                }
                is_right
            }
        };
        if is_right { Ok(()) } else { Err(SealedError::Index(section)) }
    }
}

/// Whether these are the expected entries, where they are known. Reads all of them in any case.
fn is_same<'a, T: PartialEq + 'a>(
    found: impl Iterator<Item = Result<T, SealedError>>,
    mut expected: Option<impl Iterator<Item = &'a T>>,
) -> Result<bool, SealedError> {
    let mut is_same = true;
    for entry in found {
        let entry = entry?;
        is_same &= expected.as_mut().is_none_or(|expected| expected.next() == Some(&entry));
    }
    Ok(is_same && expected.is_none_or(|mut expected| expected.next().is_none()))
}
