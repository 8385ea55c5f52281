//! Reads an archive: the header and the trailer when it is opened, the directory and the tables when they are needed.

use std::{io, path::Path, sync::OnceLock};

use apm2_model::{event::stream_id::StreamId, spec::id::ProcessId};

use crate::{
    file,
    journal::{
        archive::form::{ARCHIVE_HEADER_LEN, ARCHIVE_TRAILER_LEN, ArchiveHeader, ArchiveTrailer, FormError, Part},
        catalog::{group::Group, reader::Catalog},
        sealed::{
            error::SealedError,
            file_part::FilePart,
            index::{name_prefix, parse_name_key},
            reader::SealedSegment,
            stream_entry::StreamEntry,
            table::Table,
            table_reader::{TableEntry, TableError, TableReader},
            trailer::SectionPlace,
        },
    },
};

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    #[error(transparent)]
    Form(#[from] FormError),
    #[error("it is not the archive that the journal continues")]
    Other,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ArchiveError {
    const fn damaged(what: &'static str) -> Self {
        Self::Form(FormError::Damaged(what))
    }

    fn of_table(what: &'static str) -> impl Fn(TableError) -> Self {
        move |error| match error {
            TableError::Io(error) => Self::Io(error),
            TableError::Damaged => Self::damaged(what),
        }
    }

    /// Whether the file does not exist.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

/// The state of a stream in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArchivedState {
    pub(crate) stream: StreamId,
    /// Whether no event of the stream may follow.
    pub(crate) is_gone: bool,
    /// The record of the state after the last event of the archive.
    pub(crate) record: Vec<u8>,
}

const STATES: &str = "the table of states";
const NAMES: &str = "the table of names";

/// An open archive. It can be read from several threads.
#[derive(Debug)]
pub(crate) struct Archive {
    file: FilePart,
    header: ArchiveHeader,
    trailer: ArchiveTrailer,
    parts: OnceLock<Vec<Part>>,
    states: OnceLock<Table>,
    names: OnceLock<Table>,
}

impl Archive {
    /// Opens the file at `path`, and reads its header and trailer.
    pub(crate) fn open(path: &Path) -> Result<Self, ArchiveError> {
        let file = file::open(path).map_err(|error| match file::is_not_regular(&error) {
            true => ArchiveError::damaged("the file type"),
            false => ArchiveError::Io(error),
        })?;
        let file = FilePart::whole(file)?;
        let header = file.read(0, ARCHIVE_HEADER_LEN)?.ok_or(ArchiveError::damaged("the header"))?;
        let header = ArchiveHeader::parse(&header)?;
        let offset = file.len().saturating_sub(ARCHIVE_TRAILER_LEN as u64);
        let trailer = file.read(offset, ARCHIVE_TRAILER_LEN)?.ok_or(ArchiveError::damaged("the trailer"))?;
        let trailer = ArchiveTrailer::parse(&trailer, offset)?;
        Ok(Self { file, header, trailer, parts: OnceLock::new(), states: OnceLock::new(), names: OnceLock::new() })
    }

    pub(crate) const fn header(&self) -> &ArchiveHeader {
        &self.header
    }

    pub(crate) const fn trailer(&self) -> &ArchiveTrailer {
        &self.trailer
    }

    /// The segments in order, then the catalogs.
    pub(crate) fn parts(&self) -> Result<&[Part], ArchiveError> {
        if let Some(parts) = self.parts.get() {
            return Ok(parts);
        }
        let damaged = ArchiveError::damaged("the directory of its segments");
        let raw = self.section(self.trailer.parts)?;
        let parts = raw.and_then(|raw| Part::parse_all(&raw, &self.header, self.trailer.tables)).ok_or(damaged)?;
        Ok(self.parts.get_or_init(|| parts))
    }

    /// The bytes of a part, in an own open file.
    pub(crate) fn part(&self, part: &Part) -> io::Result<FilePart> {
        self.file.part(part.offset, part.len)
    }

    /// The catalog of a group of segments of the archive, if it has one that is that of its segments.
    pub(crate) fn catalog(&self, group: Group) -> Result<Catalog, SealedError> {
        let parts = self.parts().map_err(|_| SealedError::Header)?;
        let find = |level: u32, first: u64| parts.iter().find(|part| (part.level, part.first) == (level, first));
        let catalog = find(group.level, group.first).ok_or(SealedError::Header)?;
        let last = find(0, group.last()).ok_or(SealedError::Header)?;
        let catalog = Catalog::from_part(self.part(catalog)?)?;
        let last = SealedSegment::from_part(self.part(last)?)?;
        let is_right = catalog.header().group == group && catalog.header().ends_with(&last);
        if is_right { Ok(catalog) } else { Err(SealedError::OtherSegments) }
    }

    /// The state of `stream` after the last event; `None` when the stream is not in this archive.
    pub(crate) fn state(&self, stream: StreamId) -> Result<Option<ArchivedState>, ArchiveError> {
        let value = self.states_table()?.value(&StreamEntry::key(stream)).map_err(ArchiveError::of_table(STATES))?;
        value.map(|value| parse_state(stream, &value)).transpose()
    }

    /// The states of the streams whose process id begins with these bytes, in order. After an error there are no more.
    pub(crate) fn states_from<'a>(
        &'a self,
        id_prefix: &'a [u8],
    ) -> Result<impl Iterator<Item = Result<ArchivedState, ArchiveError>> + 'a, ArchiveError> {
        let entries = self.states_table()?.entries_from(id_prefix);
        let states = entries.map(|entry| {
            let (key, value) = entry.map_err(ArchiveError::of_table(STATES))?;
            let stream = StreamEntry::parse_key(&key).ok_or(ArchiveError::damaged(STATES))?;
            parse_state(stream, &value)
        });
        Ok(states.take_while(move |state| {
            state.as_ref().map_or(true, |state| state.stream.process_id.as_bytes().starts_with(id_prefix))
        }))
    }

    /// The processes that got this name in one of the segments, in order.
    pub(crate) fn named(&self, name: &str) -> Result<Vec<ProcessId>, ArchiveError> {
        let prefix = name_prefix(name);
        let mut found = Vec::new();
        for entry in self.names_from(&prefix)? {
            let key = entry?;
            if !key.starts_with(&prefix) {
                break;
            }
            found.push(parse_name_key(&key).ok_or(ArchiveError::damaged(NAMES))?.1);
        }
        Ok(found)
    }

    /// The keys of the table of names from `key` on, in order. After an error there are no more.
    fn names_from<'a>(
        &'a self,
        key: &'a [u8],
    ) -> Result<impl Iterator<Item = Result<Vec<u8>, ArchiveError>> + 'a, ArchiveError> {
        let start = self.trailer.states.end();
        let table = self.table(&self.names, start, self.trailer.names, NAMES)?;
        Ok(table.entries_from(key).map(|entry: Result<TableEntry, TableError>| {
            entry.map(|(key, _)| key).map_err(ArchiveError::of_table(NAMES))
        }))
    }

    /// All keys of the table of names, in order. After an error there are no more.
    pub(crate) fn names(&self) -> Result<impl Iterator<Item = Result<Vec<u8>, ArchiveError>>, ArchiveError> {
        self.names_from(&[])
    }

    fn states_table(&self) -> Result<TableReader<'_>, ArchiveError> {
        self.table(&self.states, self.trailer.tables, self.trailer.states, STATES)
    }

    fn table<'a>(
        &'a self,
        loaded: &'a OnceLock<Table>,
        start: u64,
        place: SectionPlace,
        what: &'static str,
    ) -> Result<TableReader<'a>, ArchiveError> {
        if let Some(table) = loaded.get() {
            return Ok(TableReader { file: &self.file, table });
        }
        let raw = self.section(place)?;
        let table = raw.and_then(|raw| Table::parse(&raw, start, place.offset));
        let table = table.ok_or(ArchiveError::damaged(what))?;
        Ok(TableReader { file: &self.file, table: loaded.get_or_init(|| table) })
    }

    fn section(&self, place: SectionPlace) -> Result<Option<Vec<u8>>, ArchiveError> {
        let stored = self.file.read(place.offset, place.stored_len as usize)?;
        Ok(stored.and_then(|stored| place.unpack(&stored)))
    }
}

fn parse_state(stream: StreamId, value: &[u8]) -> Result<ArchivedState, ArchiveError> {
    match value.split_first() {
        Some((0, record)) => Ok(ArchivedState { stream, is_gone: false, record: record.to_vec() }),
        Some((1, record)) => Ok(ArchivedState { stream, is_gone: true, record: record.to_vec() }),
        _ => Err(ArchiveError::damaged(STATES)),
    }
}
