//! The base of a journal: the file `base` in its directory, which says with which segment the journal begins, after earlier
//! segments were moved into archives.
//!
//! ```text
//!  0  magic "APM2BASE"     8
//!  8  format version       4   1
//! 12  archives             4   their number, at least 1
//! 16  ledger id           16
//! 32  system version       8   the number of events of the supervisor's own stream in the archives
//! 40  two sections        24 each, as in the trailer of a sealed segment: states, names
//! 88  for each archive    96   first segment 8, last segment 8, first seq 8, last seq 8, earliest and latest wall-clock time
//!                              8 + 8 in ns, kinds 7, actors 1, gone streams 8, chain after 32
//!     CRC-32C of the bytes before   4
//!     the pages and the directory of the table of states, then those of the table of names
//! ```
//!
//! All integers are little-endian. The first table has the states, after the last archived event, of the streams that can have later
//! events: the key is that of the tables of a sealed segment, the value is the record of the state. The second
//! table has the names of their processes. The file is replaced as a whole when an archive is added. So the journal and all that follows from it can be read and continued without the archives.

use std::{collections::BTreeSet, fs::File, io, path::Path, sync::OnceLock};

use apm2_model::{event::stream_id::StreamId, spec::id::ProcessId};
use uuid::Uuid;

use crate::{
    chain::Chain,
    file,
    journal::sealed::{
        block_table::BlockSummary,
        error::{SealError, Section},
        fields::{Fields, checked, push_crc},
        file_part::FilePart,
        index::{name_key, name_prefix, parse_name_key},
        packing::Packer,
        stream_entry::StreamEntry,
        table::{Table, TableWriter},
        table_reader::{TableError, TableReader},
        trailer::SectionPlace,
    },
    limits::ARCHIVES_MAX,
};

/// Name of the file in the directory of the journal.
pub(crate) const BASE_FILE: &str = "base";

const MAGIC: [u8; 8] = *b"APM2BASE";
const VERSION: u32 = 1;

/// Bytes before the first archive.
const FIXED_LEN: usize = 88;

/// Bytes of one archive.
const ENTRY_LEN: usize = 96;

/// Bytes of the checksum.
const CRC_LEN: usize = 4;

/// What the base says of one archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArchiveEntry {
    /// The number of its first segment.
    pub(crate) first_number: u64,
    /// The number of its last segment.
    pub(crate) last_number: u64,
    /// The sequence number of its first event.
    pub(crate) first_seq: u64,
    /// The sequence number of its last event.
    pub(crate) last_seq: u64,
    /// What its events have in common.
    pub(crate) summary: BlockSummary,
    /// Number of its streams that can have no later events.
    pub(crate) gone: u64,
    /// The hash chain value after its last event.
    pub(crate) chain_after: Chain,
}

impl ArchiveEntry {
    /// The name of the file.
    pub(crate) fn file_name(&self) -> String {
        archive_name(self.first_number, self.last_number)
    }

    fn push(&self, out: &mut Vec<u8>) {
        for number in [self.first_number, self.last_number, self.first_seq, self.last_seq] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.summary.min_wall_ns.to_le_bytes());
        out.extend_from_slice(&self.summary.max_wall_ns.to_le_bytes());
        out.extend_from_slice(&self.summary.classes());
        out.extend_from_slice(&self.gone.to_le_bytes());
        out.extend_from_slice(&self.chain_after.0);
    }

    fn parse(fields: &mut Fields<'_>) -> Option<Self> {
        Some(Self {
            first_number: fields.u64()?,
            last_number: fields.u64()?,
            first_seq: fields.u64()?,
            last_seq: fields.u64()?,
            summary: BlockSummary::parse((fields.i64()?, fields.i64()?), fields.u64()?),
            gone: fields.u64()?,
            chain_after: Chain(fields.array()?),
        })
    }
}

/// The name of the archive of these segments.
pub(crate) fn archive_name(first_number: u64, last_number: u64) -> String {
    format!("{first_number:010}-{last_number:010}.archive")
}

/// Why the base cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BaseError {
    #[error("the file `base` of the journal is damaged: {0}")]
    Damaged(&'static str),
    #[error("the file `base` of the journal has version {0}, newer than this program knows")]
    Newer(u32),
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<BaseError> for io::Error {
    fn from(error: BaseError) -> Self {
        match error {
            BaseError::Io(error) => error,
            other => Self::new(io::ErrorKind::InvalidData, other.to_string()),
        }
    }
}

impl From<TableError> for BaseError {
    fn from(error: TableError) -> Self {
        match error {
            TableError::Io(error) => Self::Io(error),
            TableError::Damaged => Self::Damaged("its table of states"),
        }
    }
}

/// The base of a journal.
#[derive(Debug)]
pub(crate) struct Base {
    pub(crate) ledger: Uuid,
    /// The number of events of the supervisor's own stream in the archives.
    pub(crate) system_version: u64,
    /// The archives, the oldest first.
    pub(crate) archives: Vec<ArchiveEntry>,
    last: ArchiveEntry,
    states: SectionPlace,
    names: SectionPlace,
    file: FilePart,
    states_table: OnceLock<Table>,
    names_table: OnceLock<Table>,
}

impl Base {
    /// The base of the journal in the directory `journal`; `None` when it begins with its first segment.
    pub(crate) fn read(journal: &Path) -> Result<Option<Self>, BaseError> {
        let opened = match file::open(&journal.join(BASE_FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if file::is_not_regular(&error) => return Err(BaseError::Damaged("it is not a regular file")),
            opened => opened?,
        };
        Self::of_file(opened).map(Some)
    }

    /// The base in an open file.
    pub(crate) fn of_file(file: File) -> Result<Self, BaseError> {
        Self::from_part(FilePart::whole(file)?)
    }

    fn from_part(file: FilePart) -> Result<Self, BaseError> {
        let damaged = || BaseError::Damaged("its header");
        let fixed = file.read(0, FIXED_LEN)?.ok_or_else(damaged)?;
        let mut fields = Fields(&fixed);
        let magic = fields.array::<{ MAGIC.len() }>();
        let (version, count) = fields.u32().zip(fields.u32()).ok_or_else(damaged)?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if magic != Some(MAGIC) || count == 0 || count > ARCHIVES_MAX {
            return Err(damaged());
        }
        let header = file.read(0, header_len(count))?.ok_or_else(damaged)?;
        let covered = checked(&header).ok_or_else(damaged)?;
        if version != VERSION {
            return Err(BaseError::Newer(version));
        }
        let mut fields = Fields(covered.get(16..).unwrap_or_default());
        let mut parse = || {
            let (ledger, system_version) = (Uuid::from_bytes(fields.array()?), fields.u64()?);
            let (states, names) = (SectionPlace::parse(&mut fields)?, SectionPlace::parse(&mut fields)?);
            let archives = (0..count).map(|_| ArchiveEntry::parse(&mut fields)).collect::<Option<Vec<_>>>()?;
            let last = archives.last()?.clone();
            Some((ledger, system_version, (states, names), archives, last))
        };
        let (ledger, system_version, (states, names), archives, last) = parse().ok_or_else(damaged)?;
        let is_plausible = follow_each_other(&archives)
            && states.has_valid_lengths()
            && states.offset >= header_len(count) as u64
            && names.has_valid_lengths()
            && names.offset >= states.end()
            && names.end() == file.len();
        if !is_plausible {
            return Err(damaged());
        }
        let (states_table, names_table) = Default::default();
        Ok(Self { ledger, system_version, archives, last, states, names, file, states_table, names_table })
    }

    /// The number of the last archived segment.
    pub(crate) const fn number(&self) -> u64 {
        self.last.last_number
    }

    /// The sequence number of the last archived event.
    pub(crate) const fn seq(&self) -> u64 {
        self.last.last_seq
    }

    /// The hash chain value after the last archived event.
    pub(crate) const fn chain(&self) -> Chain {
        self.last.chain_after
    }

    /// The record of the state of `stream` after the last archived event; `None` when the stream began later, or can have no
    /// later event.
    pub(crate) fn state(&self, stream: StreamId) -> Result<Option<Vec<u8>>, BaseError> {
        Ok(self.states_table()?.value(&StreamEntry::key(stream))?)
    }

    /// All states, in the order of the streams. After an error there are no more.
    pub(crate) fn states(&self) -> Result<impl Iterator<Item = Result<(StreamId, Vec<u8>), BaseError>>, BaseError> {
        Ok(self.states_table()?.entries_from(&[]).map(|entry| {
            let (key, value) = entry?;
            Ok((StreamEntry::parse_key(&key).ok_or(TableError::Damaged)?, value))
        }))
    }

    /// The streams with a state whose process id begins with these bytes, `max` at most.
    pub(crate) fn streams(&self, id_prefix: &[u8], max: usize) -> Result<Vec<StreamId>, BaseError> {
        let mut found = Vec::new();
        for entry in self.states_table()?.entries_from(id_prefix).take(max) {
            let (key, _) = entry?;
            if !key.starts_with(id_prefix) {
                break;
            }
            found.push(StreamEntry::parse_key(&key).ok_or(TableError::Damaged)?);
        }
        Ok(found)
    }

    /// The processes of streams with a state that have this name.
    pub(crate) fn named(&self, name: &str) -> Result<Vec<ProcessId>, BaseError> {
        let (prefix, mut found) = (name_prefix(name), Vec::new());
        for entry in self.names_table()?.entries_from(&prefix) {
            let (key, _) = entry?;
            if !key.starts_with(&prefix) {
                break;
            }
            found.push(parse_name_key(&key).ok_or(TableError::Damaged)?.1);
        }
        Ok(found)
    }

    /// Whether the table of names has these names, with the processes that have them.
    pub(crate) fn has_names(&self, names: &BTreeSet<(String, ProcessId)>) -> Result<bool, BaseError> {
        let expected: BTreeSet<Vec<u8>> = names.iter().map(|(name, process)| name_key(name, *process)).collect();
        let mut expected = expected.into_iter();
        for entry in self.names_table()?.entries_from(&[]) {
            if expected.next() != Some(entry?.0) {
                return Ok(false);
            }
        }
        Ok(expected.next().is_none())
    }

    fn names_table(&self) -> Result<TableReader<'_>, BaseError> {
        self.table(&self.names_table, self.states.end(), self.names)
    }

    fn states_table(&self) -> Result<TableReader<'_>, BaseError> {
        self.table(&self.states_table, header_len(self.archives.len()) as u64, self.states)
    }

    fn table<'a>(
        &'a self,
        loaded: &'a OnceLock<Table>,
        start: u64,
        place: SectionPlace,
    ) -> Result<TableReader<'a>, BaseError> {
        if let Some(table) = loaded.get() {
            return Ok(TableReader { file: &self.file, table });
        }
        let stored = self.file.read(place.offset, place.stored_len as usize)?;
        let directory = stored.and_then(|stored| place.unpack(&stored));
        let table = directory.and_then(|raw| Table::parse(&raw, start, place.offset)).ok_or(TableError::Damaged)?;
        Ok(TableReader { file: &self.file, table: loaded.get_or_init(|| table) })
    }
}

/// Bytes before the table of states, with `count` archives.
const fn header_len(count: usize) -> usize {
    FIXED_LEN + count * ENTRY_LEN + CRC_LEN
}

/// Whether the archives contain all segments and events from the first one on.
fn follow_each_other(archives: &[ArchiveEntry]) -> bool {
    let mut next = (1, 1);
    archives.iter().all(|entry| {
        let is_next = (entry.first_number, entry.first_seq) == next
            && entry.first_number <= entry.last_number
            && entry.first_seq <= entry.last_seq;
        next = (entry.last_number.saturating_add(1), entry.last_seq.saturating_add(1));
        is_next
    })
}

/// What a base is made of.
pub(crate) struct BaseContent<'a> {
    pub(crate) ledger: Uuid,
    pub(crate) system_version: u64,
    pub(crate) archives: &'a [ArchiveEntry],
    /// In the order of the streams.
    pub(crate) states: &'a [(StreamId, Vec<u8>)],
    /// The names of the processes of these streams.
    pub(crate) names: &'a BTreeSet<(String, ProcessId)>,
}

impl BaseContent<'_> {
    /// The bytes of the file.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, SealError> {
        let mut out = vec![0; header_len(self.archives.len())];
        let mut packer = Packer::new()?;
        let mut table = TableWriter::new(&mut packer, &mut out);
        for (stream, state) in self.states {
            table.push(&StreamEntry::key(*stream), state)?;
        }
        let states = table.finish(Section::States)?;
        let keys: BTreeSet<Vec<u8>> = self.names.iter().map(|(name, process)| name_key(name, *process)).collect();
        let mut table = TableWriter::new(&mut packer, &mut out);
        for key in keys {
            table.push(&key, &[])?;
        }
        let names = table.finish(Section::Names)?;
        let mut header = Vec::with_capacity(header_len(self.archives.len()));
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&u32::try_from(self.archives.len()).unwrap_or(u32::MAX).to_le_bytes());
        header.extend_from_slice(self.ledger.as_bytes());
        header.extend_from_slice(&self.system_version.to_le_bytes());
        states.push(&mut header);
        names.push(&mut header);
        self.archives.iter().for_each(|entry| entry.push(&mut header));
        push_crc(&mut header, 0);
        let header_len = header.len();
        out.splice(..header_len, header);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::journal::sealed::{actor_set::ActorSet, kind_set::KindSet};

    /// The bytes of version 1, which every later version must read.
    const GOLDEN: &str = include_str!("archive/golden-base-v1.hex");

    fn entry(first_number: u64, last_number: u64) -> ArchiveEntry {
        let (first_seq, last_seq) = (first_number * 10 - 9, last_number * 10);
        let summary = BlockSummary { min_wall_ns: -5, max_wall_ns: 5, kinds: KindSet(6), actors: ActorSet(1) };
        let chain_after = Chain([3; 32]);
        ArchiveEntry { first_number, last_number, first_seq, last_seq, summary, gone: 4, chain_after }
    }

    fn opened(bytes: &[u8]) -> Result<Base, BaseError> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Base::of_file(file)
    }

    #[test]
    fn a_base_is_written_as_before_and_read_back() {
        let process = ProcessId::from_bytes([9; 16]);
        let stream = StreamId { process_id: process, instance: 1 };
        let archives = [entry(1, 2), entry(3, 3)];
        let (states, names) = ([(stream, b"state".to_vec())], BTreeSet::from([("web".to_owned(), process)]));
        let content = BaseContent {
            ledger: Uuid::from_u128(7),
            system_version: 11,
            archives: &archives,
            states: &states,
            names: &names,
        };
        let bytes = content.encode().unwrap();
        assert_eq!(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>(), GOLDEN.trim());
        let base = opened(&bytes).unwrap();
        assert_eq!((base.number(), base.seq(), base.chain()), (3, 30, Chain([3; 32])));
        assert_eq!(
            (base.ledger, base.system_version, base.archives.as_slice()),
            (Uuid::from_u128(7), 11, &archives[..])
        );
        assert_eq!(base.state(stream).unwrap(), Some(b"state".to_vec()));
        assert_eq!(base.state(StreamId { instance: 2, ..stream }).unwrap(), None);
        assert_eq!((base.named("web").unwrap(), base.named("we").unwrap()), (vec![process], Vec::new()));
        assert_eq!(base.streams(&[9, 9], 5).unwrap(), [stream]);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x40;
            let is_found =
                opened(&changed).map_or(true, |base| base.state(stream).is_err() || base.named("web").is_err());
            assert!(is_found, "{at}");
            assert!(opened(&bytes[..at]).is_err(), "{at}");
        }
    }
}
