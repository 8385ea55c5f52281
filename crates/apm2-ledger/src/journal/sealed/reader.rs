//! Reads a sealed segment: the header and the trailer when it is opened, the parts of the footer and the blocks when they are
//! needed.
//!
//! Questions that need a damaged part of the footer are errors; the blocks can be read without any part of it.

use std::{fs::File, path::Path, sync::OnceLock};

use apm2_model::{event::stream_id::StreamId, spec::id::ProcessId};

use crate::{
    chain::Chain,
    file,
    journal::sealed::{
        block::{BLOCK_HEADER_LEN, Block, BlockHeader},
        block_table::{BlockEntry, BlockTable},
        error::{BlockError, SealedError, Section},
        file_part::FilePart,
        header::{SEALED_HEADER_LEN, SealedHeader},
        index::{name_prefix, parse_name_key},
        stream_entry::StreamEntry,
        table::Table,
        table_reader::{TableEntry, TableReader},
        trailer::{TRAILER_LEN, Trailer},
    },
};

/// Bytes at the end of a sealed segment that are read when it is opened: the trailer, and before it the directory of the states and
/// the last of their pages, which most questions about a stream need.
const TAIL_LEN: usize = 8 * 1024;

/// An open sealed segment. It can be read from several threads.
#[derive(Debug)]
pub struct SealedSegment {
    file: FilePart,
    header: SealedHeader,
    trailer: Option<Trailer>,
    blocks: OnceLock<BlockTable>,
    /// Directories of the sections that are tables, in the order of [`Section::ALL`].
    tables: [OnceLock<Table>; Section::ALL.len()],
}

impl SealedSegment {
    /// Opens the file at `path` and reads its header and trailer.
    ///
    /// # Errors
    /// When the file cannot be read, or has no sound header. A damaged trailer is no error, see
    /// [`SealedSegment::has_trailer`].
    pub fn open(path: &Path) -> Result<Self, SealedError> {
        Self::from_file(file::open(path)?)
    }

    /// The same, of a file that is open.
    ///
    /// # Errors
    /// Those of [`SealedSegment::open`].
    pub fn from_file(file: File) -> Result<Self, SealedError> {
        Self::from_part(FilePart::whole(file)?)
    }

    /// The same, of a part of a file that is open.
    pub(crate) fn from_part(file: FilePart) -> Result<Self, SealedError> {
        let header = file.read(0, SEALED_HEADER_LEN)?.ok_or(SealedError::Header)?;
        let header = SealedHeader::parse(&header)?;
        let file = file.with_tail(TAIL_LEN)?;
        let trailer_offset = file.len().saturating_sub(TRAILER_LEN as u64);
        let trailer = file.read(trailer_offset, TRAILER_LEN)?.and_then(|bytes| Trailer::parse(&bytes, trailer_offset));
        Ok(Self { file, header, trailer, blocks: OnceLock::new(), tables: Default::default() })
    }

    /// Its header.
    #[must_use]
    pub const fn header(&self) -> &SealedHeader {
        &self.header
    }

    /// Whether its trailer is sound. Without one, all questions but those for blocks by their place are
    /// [`SealedError::Trailer`].
    #[must_use]
    pub const fn has_trailer(&self) -> bool {
        self.trailer.is_some()
    }

    /// The chain after its last event, as the trailer has it.
    ///
    /// # Errors
    /// When the trailer is damaged.
    pub fn chain_after(&self) -> Result<Chain, SealedError> {
        Ok(self.trailer()?.chain_after)
    }

    /// Its blocks: from the footer, or, where that is damaged, from the headers of the blocks, up to the first that is damaged.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn blocks(&self) -> Result<&BlockTable, SealedError> {
        if let Some(table) = self.blocks.get() {
            return Ok(table);
        }
        let table = match self.indexed_blocks() {
            Ok(table) => table,
            Err(SealedError::Io(error)) => return Err(error.into()),
            Err(_) => self.scanned_blocks()?,
        };
        Ok(self.blocks.get_or_init(|| table))
    }

    fn indexed_blocks(&self) -> Result<BlockTable, SealedError> {
        let end = self.trailer()?.place(Section::Blocks).offset;
        let raw = self.section(Section::Blocks)?;
        BlockTable::parse(&raw, &self.header, end).ok_or(SealedError::Section(Section::Blocks))
    }

    /// The blocks that follow each other from the header on.
    fn scanned_blocks(&self) -> Result<BlockTable, SealedError> {
        let (mut found, mut offset, mut next_seq) = (Vec::new(), SEALED_HEADER_LEN as u64, self.header.first_seq);
        while next_seq <= self.header.last_seq() {
            let Some(bytes) = self.file.read(offset, BLOCK_HEADER_LEN)? else { break };
            let Ok(header) = BlockHeader::parse(&bytes) else { break };
            if header.first_seq != next_seq || header.last_seq() > self.header.last_seq() {
                break;
            }
            found.push((offset, header));
            offset = offset.saturating_add(header.block_len() as u64);
            next_seq = header.last_seq() + 1;
        }
        Ok(BlockTable::of_headers(found))
    }

    /// The number of the block with event `seq`, from 0; `None` when the event is not in this segment.
    ///
    /// # Errors
    /// When the block is missing because of damage, or the file cannot be read.
    pub fn block_with(&self, seq: u64) -> Result<Option<usize>, SealedError> {
        if !(self.header.first_seq..=self.header.last_seq()).contains(&seq) {
            return Ok(None);
        }
        let blocks = self.blocks()?;
        match (blocks.with_seq(seq), self.missing()?) {
            (None, Some(missing)) => Err(missing),
            (found, _) => Ok(found),
        }
    }

    /// Which events are in no block, because of damage; `None` when there are none.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn missing(&self) -> Result<Option<SealedError>, SealedError> {
        let last = self.blocks()?.entries().last();
        let (first_seq, offset) = last.map_or((self.header.first_seq, SEALED_HEADER_LEN as u64), |last| {
            (last.last_seq.saturating_add(1), last.offset.saturating_add(last.len as u64))
        });
        let last_seq = self.header.last_seq();
        Ok((first_seq <= last_seq).then_some(SealedError::Missing { first_seq, last_seq, offset }))
    }

    /// The block with this number, from 0; `None` when there are not as many.
    ///
    /// # Errors
    /// When it is damaged, or the file cannot be read.
    pub fn block(&self, number: usize) -> Result<Option<Block>, SealedError> {
        let Some(entry) = self.blocks()?.entries().get(number) else { return Ok(None) };
        let block = match self.file.read(entry.offset, entry.len)? {
            Some(bytes) => Block::parse(&bytes).and_then(|block| as_in_table(block, entry)),
            None => Err(BlockError::Short),
        };
        let (first_seq, last_seq, offset) = (entry.first_seq, entry.last_seq, entry.offset);
        block.map(Some).map_err(|cause| SealedError::Block { first_seq, last_seq, offset, cause })
    }

    /// What is known of this stream; `None` when it has no events in the segment.
    ///
    /// # Errors
    /// When the index is damaged, or the file cannot be read.
    pub fn stream(&self, stream: StreamId) -> Result<Option<StreamEntry>, SealedError> {
        let key = StreamEntry::key(stream);
        let Some(value) = self.value(Section::Streams, &key)? else { return Ok(None) };
        self.stream_entry(&key, &value).map(Some)
    }

    /// The streams whose process id begins with these bytes, in order, `max` at most.
    ///
    /// # Errors
    /// When the index is damaged, or the file cannot be read.
    pub fn streams(&self, id_prefix: &[u8], max: usize) -> Result<Vec<StreamEntry>, SealedError> {
        let is_wanted = |entry: &Result<StreamEntry, SealedError>| {
            entry.as_ref().map_or(true, |entry| entry.stream.process_id.as_bytes().starts_with(id_prefix))
        };
        self.streams_from(id_prefix)?.take_while(is_wanted).take(max).collect()
    }

    /// The streams whose process id is these bytes or greater, in order. After an error there are no more.
    pub(crate) fn streams_from<'a>(
        &'a self,
        id_prefix: &'a [u8],
    ) -> Result<impl Iterator<Item = Result<StreamEntry, SealedError>> + 'a, SealedError> {
        let entries = self.entries_from(Section::Streams, id_prefix)?;
        Ok(entries.map(|entry| entry.and_then(|(key, value)| self.stream_entry(&key, &value))))
    }

    fn stream_entry(&self, key: &[u8], value: &[u8]) -> Result<StreamEntry, SealedError> {
        let block_count = self.blocks()?.entries().len();
        StreamEntry::parse(key, value, block_count).ok_or(SealedError::Section(Section::Streams))
    }

    /// The processes that got this name in the segment, in order.
    ///
    /// # Errors
    /// When the index is damaged, or the file cannot be read.
    pub fn named(&self, name: &str) -> Result<Vec<ProcessId>, SealedError> {
        let prefix = name_prefix(name);
        let mut found = Vec::new();
        for entry in self.entries_from(Section::Names, &prefix)? {
            let (key, _) = entry?;
            if !key.starts_with(&prefix) {
                break;
            }
            found.push(parse_name_key(&key).ok_or(SealedError::Section(Section::Names))?.1);
        }
        Ok(found)
    }

    /// Whether it has the states of streams.
    ///
    /// # Errors
    /// When the trailer is damaged.
    pub fn has_states(&self) -> Result<bool, SealedError> {
        Ok(!self.trailer()?.place(Section::States).is_absent())
    }

    /// The snapshot of this stream after the last event of the segment; `None` when the segment has none of it.
    ///
    /// # Errors
    /// When the index is damaged, or the file cannot be read.
    pub fn state(&self, stream: StreamId) -> Result<Option<Vec<u8>>, SealedError> {
        self.value(Section::States, &StreamEntry::key(stream))
    }

    /// All snapshots, in the order of the streams. After an error there are no more.
    ///
    /// # Errors
    /// When the index is damaged, or the file cannot be read.
    pub fn states(&self) -> Result<impl Iterator<Item = Result<(StreamId, Vec<u8>), SealedError>>, SealedError> {
        Ok(self.entries_from(Section::States, &[])?.map(|entry| {
            let (key, value) = entry?;
            let stream = StreamEntry::parse_key(&key).ok_or(SealedError::Section(Section::States))?;
            Ok((stream, value))
        }))
    }

    /// The value of one key of a table.
    fn value(&self, section: Section, key: &[u8]) -> Result<Option<Vec<u8>>, SealedError> {
        let table = self.table(section)?;
        table.value(key).map_err(|error| error.in_section(section))
    }

    /// The keys of the table of names, in order. After an error there are no more.
    pub(crate) fn names(&self) -> Result<impl Iterator<Item = Result<Vec<u8>, SealedError>>, SealedError> {
        let is_name = |(key, value): &TableEntry| value.is_empty() && parse_name_key(key).is_some();
        Ok(self.entries_from(Section::Names, &[])?.map(move |entry| match entry {
            Ok(entry) if is_name(&entry) => Ok(entry.0),
            Ok(_) => Err(SealedError::Section(Section::Names)),
            Err(error) => Err(error),
        }))
    }

    /// The entries of a table, from `key` on. After an error there are no more.
    fn entries_from<'a>(
        &'a self,
        section: Section,
        key: &'a [u8],
    ) -> Result<impl Iterator<Item = Result<TableEntry, SealedError>> + 'a, SealedError> {
        let entries = self.table(section)?.entries_from(key);
        Ok(entries.map(move |entry| entry.map_err(|error| error.in_section(section))))
    }

    /// A table. An absent table has no entries.
    fn table(&self, section: Section) -> Result<TableReader<'_>, SealedError> {
        let loaded = self.tables.get(section as usize).ok_or(SealedError::Section(section))?;
        if let Some(table) = loaded.get() {
            return Ok(TableReader { file: &self.file, table });
        }
        let trailer = self.trailer()?;
        let place = trailer.place(section);
        let start = if place.is_absent() { 0 } else { trailer.start(section) };
        let raw = self.section(section)?;
        let table = Table::parse(&raw, start, place.offset).ok_or(SealedError::Section(section))?;
        Ok(TableReader { file: &self.file, table: loaded.get_or_init(|| table) })
    }

    fn section(&self, section: Section) -> Result<Vec<u8>, SealedError> {
        let place = self.trailer()?.place(section);
        let stored = self.file.read(place.offset, place.stored_len as usize)?;
        stored.and_then(|stored| place.unpack(&stored)).ok_or(SealedError::Section(section))
    }

    fn trailer(&self) -> Result<&Trailer, SealedError> {
        self.trailer.as_ref().ok_or(SealedError::Trailer)
    }
}

/// The block, if its events are those that the table of blocks says.
fn as_in_table(block: Block, entry: &BlockEntry) -> Result<Block, BlockError> {
    let is_same = (block.header().first_seq, block.header().last_seq()) == (entry.first_seq, entry.last_seq);
    if is_same { Ok(block) } else { Err(BlockError::Inconsistent) }
}
