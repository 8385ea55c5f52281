//! Writes a sealed segment from the events of a full one.

use apm2_model::event::{Event, stream_id::StreamId};
use uuid::Uuid;

use crate::{
    chain::Chain,
    journal::sealed::{
        block::{BlockBuilder, Slot},
        block_table::BlockTable,
        error::{SealError, Section},
        header::{SEALED_HEADER_LEN, SealedHeader},
        index::Index,
        packing::Packer,
        stream_entry::StreamEntry,
        table::TableWriter,
        trailer::{SectionPlace, Trailer, write_section},
    },
    limits::BLOCK_BYTES,
};

/// A sealed segment that is being made, in memory.
pub struct SealedBuilder {
    header: SealedHeader,
    packer: Packer,
    /// Room for the header, and all blocks that are full.
    out: Vec<u8>,
    block: BlockBuilder,
    /// Where each block begins, and the seq of its first event. The last one is not full yet.
    blocks: Vec<(u64, u64)>,
    index: Index,
}

impl SealedBuilder {
    /// One without events.
    ///
    /// # Errors
    /// When there is no memory for the compression.
    pub fn new(ledger: Uuid, number: u64, first_seq: u64, chain_before: Chain) -> Result<Self, SealError> {
        Ok(Self {
            header: SealedHeader { ledger, number, first_seq, chain_before, count: 0 },
            packer: Packer::new()?,
            out: vec![0; SEALED_HEADER_LEN],
            block: BlockBuilder::new(first_seq, chain_before),
            blocks: Vec::new(),
            index: Index::default(),
        })
    }

    /// Adds the next event; `event` is what `event_bytes` say.
    ///
    /// # Errors
    /// When it is not the next one, or too large.
    pub fn push(&mut self, event: &Event, event_bytes: &[u8]) -> Result<(), SealError> {
        let expected = self.block.next_seq();
        if event.seq != expected {
            return Err(SealError::Seq { expected, found: event.seq });
        }
        self.push_slot(&Slot::Event(event_bytes))?;
        self.index.add(event);
        Ok(())
    }

    /// Adds the next event as an erased one.
    #[cfg(test)]
    pub(crate) fn push_erased(&mut self, leaf: [u8; 32]) -> Result<(), SealError> {
        self.push_slot(&Slot::Erased(leaf))
    }

    fn push_slot(&mut self, slot: &Slot<'_>) -> Result<(), SealError> {
        if !self.block.fits(slot, BLOCK_BYTES) {
            self.finish_block()?;
        }
        if self.block.is_empty() {
            self.blocks.push((self.out.len() as u64, self.block.next_seq()));
            self.index.begin_block();
        }
        self.block.push(slot)?;
        self.header.count += 1;
        Ok(())
    }

    fn finish_block(&mut self) -> Result<(), SealError> {
        let next = BlockBuilder::new(self.block.next_seq(), self.block.chain());
        std::mem::replace(&mut self.block, next).finish(&mut self.packer, &mut self.out)
    }

    /// The chain after the events so far.
    #[must_use]
    pub const fn chain_after(&self) -> Chain {
        self.block.chain()
    }

    /// The streams of the events so far, in the order of their ids.
    pub fn streams(&self) -> impl Iterator<Item = StreamId> {
        self.index.streams.keys().copied()
    }

    /// The bytes of the file, without states.
    ///
    /// # Errors
    /// When there is no event, or when a part of the footer would be too large.
    pub fn finish(mut self) -> Result<Vec<u8>, SealError> {
        let sections = self.finish_index()?;
        self.finish_file(sections, SectionPlace::default())
    }

    /// The bytes of the file, with the state of each of these streams after the last event. They are in the order of
    /// [`SealedBuilder::streams`]; streams may be left out.
    ///
    /// # Errors
    /// Those of [`SealedBuilder::finish`]; when a state is too large, or not of a stream of the segment, in order.
    pub fn finish_with_states(
        mut self,
        states: impl IntoIterator<Item = (StreamId, Vec<u8>)>,
    ) -> Result<Vec<u8>, SealError> {
        let sections = self.finish_index()?;
        let mut table = TableWriter::new(&mut self.packer, &mut self.out);
        let mut last = None;
        for (stream, state) in states {
            if last >= Some(stream) || !self.index.streams.contains_key(&stream) {
                return Err(SealError::State(stream));
            }
            table.push(&StreamEntry::key(stream), &state)?;
            last = Some(stream);
        }
        let place = table.finish(Section::States)?;
        self.finish_file(sections, place)
    }

    /// Writes the last block and all sections but that of the states.
    fn finish_index(&mut self) -> Result<[SectionPlace; 3], SealError> {
        if self.header.count == 0 {
            return Err(SealError::Empty);
        }
        self.finish_block()?;
        let mut table = Vec::new();
        for ((offset, first_seq), summary) in self.blocks.iter().zip(&self.index.summaries) {
            BlockTable::push_entry(&mut table, *offset, *first_seq, summary);
        }
        let blocks = write_section(Section::Blocks, &table, &mut self.packer, &mut self.out)?;
        let mut table = TableWriter::new(&mut self.packer, &mut self.out);
        for (stream, entry) in &self.index.streams {
            table.push(&StreamEntry::key(*stream), &entry.value(self.blocks.len()))?;
        }
        let streams = table.finish(Section::Streams)?;
        let mut table = TableWriter::new(&mut self.packer, &mut self.out);
        for key in &self.index.names {
            table.push(key, &[])?;
        }
        let names = table.finish(Section::Names)?;
        Ok([blocks, streams, names])
    }

    fn finish_file(mut self, index: [SectionPlace; 3], states: SectionPlace) -> Result<Vec<u8>, SealError> {
        let [blocks, streams, names] = index;
        let trailer = Trailer { sections: [blocks, streams, names, states], chain_after: self.chain_after() };
        trailer.push(&mut self.out);
        if let Some(room) = self.out.first_chunk_mut() {
            *room = self.header.to_bytes();
        }
        Ok(self.out)
    }
}
