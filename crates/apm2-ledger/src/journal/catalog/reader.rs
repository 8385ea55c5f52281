//! Reads a catalog: the header when it is opened, pages of the tables when they are needed.

use std::{fs::File, io, path::Path, sync::OnceLock};

use apm2_model::event::stream_id::StreamId;

use crate::{
    file,
    journal::{
        catalog::{
            group::Group,
            header::{CATALOG_HEADER_LEN, CatalogHeader, Member},
        },
        sealed::{
            error::{SealedError, Section},
            file_part::FilePart,
            index::name_prefix,
            reader::SealedSegment,
            stream_entry::StreamEntry,
            table::Table,
            table_reader::TableReader,
            trailer::SectionPlace,
        },
        segment_file::sealed_path,
    },
    limits::CATALOG_MEMBERS,
};

/// A set of the members of a catalog. The first member is the lowest bit.
pub type Members = u16;

const _: () = assert!(Members::BITS as usize == CATALOG_MEMBERS);

/// An open catalog.
#[derive(Debug)]
pub struct Catalog {
    file: FilePart,
    header: CatalogHeader,
    streams: OnceLock<Table>,
    names: OnceLock<Table>,
}

impl Catalog {
    /// Opens the file at `path`, and reads its header.
    ///
    /// # Errors
    /// When the file cannot be read, or has no sound header.
    pub fn open(path: &Path) -> Result<Self, SealedError> {
        Self::from_file(file::open(path)?)
    }

    /// Reads the header of an open file.
    ///
    /// # Errors
    /// Those of [`Catalog::open`].
    pub fn from_file(file: File) -> Result<Self, SealedError> {
        Self::from_part(FilePart::whole(file)?)
    }

    /// The same, of a part of a file that is open.
    pub(crate) fn from_part(file: FilePart) -> Result<Self, SealedError> {
        let header = file.read(0, CATALOG_HEADER_LEN)?.ok_or(SealedError::Header)?;
        Ok(Self { header: CatalogHeader::parse(&header)?, file, streams: OnceLock::new(), names: OnceLock::new() })
    }

    /// Opens the catalog of `group` in the directory `journal`, and compares it with the last segment of the group: a catalog of
    /// another ledger, or of a copy of the ledger that was continued in another way, would leave out segments with events.
    ///
    /// # Errors
    /// When a file cannot be read, or the catalog is not that of the group.
    pub(crate) fn of_group(journal: &Path, group: Group) -> Result<Self, SealedError> {
        let catalog = Self::open(&group.path(journal))?;
        if catalog.header.group != group {
            return Err(SealedError::Header);
        }
        let is_of_segments = match SealedSegment::open(&sealed_path(journal, group.last())) {
            Ok(last) => catalog.header.ends_with(&last),
            Err(SealedError::Io(error)) if error.kind() != io::ErrorKind::NotFound && !file::is_not_regular(&error) => {
                return Err(error.into());
            }
            Err(_) => false,
        };
        if is_of_segments { Ok(catalog) } else { Err(SealedError::OtherSegments) }
    }

    pub(crate) const fn header(&self) -> &CatalogHeader {
        &self.header
    }

    /// Whether the file ends with the last table.
    pub(crate) fn has_its_length(&self) -> Result<bool, SealedError> {
        Ok(self.file.len() == self.header.names.end())
    }

    /// The members that satisfy `is_wanted`.
    pub(crate) fn members_where(&self, is_wanted: impl Fn(&Member) -> bool) -> Members {
        let wanted = self.header.members.iter().enumerate().filter(|(_, member)| is_wanted(member));
        wanted.fold(0, |found, (at, _)| found | 1 << at)
    }

    /// The members with events of this stream.
    ///
    /// # Errors
    /// When the table is damaged, or the file cannot be read.
    pub fn with_stream(&self, stream: StreamId) -> Result<Members, SealedError> {
        let value = self.table(Section::Streams)?.value(&StreamEntry::key(stream));
        match value.map_err(|error| error.in_section(Section::Streams))? {
            Some(value) => parse_members(&value, Section::Streams),
            None => Ok(0),
        }
    }

    /// The members with events of a stream whose process id begins with these bytes.
    ///
    /// # Errors
    /// When the table is damaged, or the file cannot be read.
    pub fn with_id_prefix(&self, prefix: &[u8]) -> Result<Members, SealedError> {
        if prefix.is_empty() {
            return Ok(Members::MAX);
        }
        self.with_key_prefix(Section::Streams, prefix)
    }

    /// The members in which a process got this name.
    ///
    /// # Errors
    /// When the table is damaged, or the file cannot be read.
    pub fn with_name(&self, name: &str) -> Result<Members, SealedError> {
        self.with_key_prefix(Section::Names, &name_prefix(name))
    }

    fn with_key_prefix(&self, section: Section, prefix: &[u8]) -> Result<Members, SealedError> {
        let mut found = 0;
        for entry in self.entries(section, prefix)? {
            let (key, members) = entry?;
            if !key.starts_with(prefix) || found == Members::MAX {
                break;
            }
            found |= members;
        }
        Ok(found)
    }

    /// The keys of a table from `key` on, with the members of each, in order. After an error there are no more.
    pub(crate) fn entries<'a>(
        &'a self,
        section: Section,
        key: &'a [u8],
    ) -> Result<impl Iterator<Item = Result<(Vec<u8>, Members), SealedError>> + 'a, SealedError> {
        let entries = self.table(section)?.entries_from(key);
        Ok(entries.map(move |entry| {
            let (key, value) = entry.map_err(|error| error.in_section(section))?;
            Ok((key, parse_members(&value, section)?))
        }))
    }

    fn table(&self, section: Section) -> Result<TableReader<'_>, SealedError> {
        let header = &self.header;
        let (loaded, start, place) = match section {
            Section::Streams => (&self.streams, CATALOG_HEADER_LEN as u64, header.streams),
            Section::Names => (&self.names, header.streams.end(), header.names),
            Section::Blocks | Section::States => return Err(SealedError::Section(section)),
        };
        if let Some(table) = loaded.get() {
            return Ok(TableReader { file: &self.file, table });
        }
        let directory = self.section(place)?;
        let table = directory.and_then(|raw| Table::parse(&raw, start, place.offset));
        let table = table.ok_or(SealedError::Section(section))?;
        Ok(TableReader { file: &self.file, table: loaded.get_or_init(|| table) })
    }

    fn section(&self, place: SectionPlace) -> Result<Option<Vec<u8>>, SealedError> {
        let stored = self.file.read(place.offset, place.stored_len as usize)?;
        Ok(stored.and_then(|stored| place.unpack(&stored)))
    }
}

/// The members in the value of a table.
fn parse_members(value: &[u8], section: Section) -> Result<Members, SealedError> {
    value.try_into().map(Members::from_le_bytes).map_err(|_| SealedError::Section(section))
}

/// The members that are in one of the sets.
pub(crate) fn union(sets: impl IntoIterator<Item = Result<Members, SealedError>>) -> Result<Members, SealedError> {
    sets.into_iter().try_fold(0, |found, members| Ok(found | members?))
}
