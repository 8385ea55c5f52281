//! Writes an archive.

use std::{
    fs::File,
    io::{self, BufWriter, Read as _, Write as _},
    path::Path,
};

use apm2_model::event::stream_id::StreamId;

use crate::{
    file,
    journal::{
        archive::form::{ARCHIVE_HEADER_LEN, ArchiveHeader, ArchiveTrailer, Part},
        sealed::{
            error::{SealError, Section},
            packing::Packer,
            stream_entry::StreamEntry,
            table::TableWriter,
            trailer::{SectionPlace, write_section},
        },
    },
};

/// Bytes that are copied at once.
const COPY_BYTES: usize = 256 * 1024;

/// An archive that is being written.
pub(crate) struct ArchiveWriter {
    out: BufWriter<File>,
    offset: u64,
    parts: Vec<Part>,
}

/// The tables of an archive, in memory.
pub(crate) struct ArchiveTables {
    bytes: Vec<u8>,
    packer: Packer,
    streams: u64,
    gone: u64,
    states: SectionPlace,
}

impl ArchiveWriter {
    /// Creates the file at `path`, which does not have the name of an archive yet.
    pub(crate) fn create(path: &Path, header: ArchiveHeader) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(COPY_BYTES, file::create(path)?);
        out.write_all(&header.to_bytes())?;
        Ok(Self { out, offset: ARCHIVE_HEADER_LEN as u64, parts: Vec::new() })
    }

    /// Appends a sealed segment (level 0) or the catalog of a group, from the file at `path`.
    pub(crate) fn push(&mut self, level: u32, first: u64, path: &Path) -> io::Result<()> {
        let mut from = file::open(path)?;
        let mut buffer = vec![0; COPY_BYTES];
        let (mut crc, mut len) = (0, 0);
        loop {
            let count = from.read(&mut buffer)?;
            let read = buffer.get(..count).unwrap_or_default();
            if read.is_empty() {
                break;
            }
            crc = crc32c::crc32c_append(crc, read);
            len += count as u64;
            self.out.write_all(read)?;
        }
        self.parts.push(Part { level, crc, first, offset: self.offset, len });
        self.offset += len;
        Ok(())
    }

    /// Appends the tables, the directory of the parts and the trailer, and syncs the file.
    pub(crate) fn finish(
        mut self,
        mut tables: ArchiveTables,
        names: impl IntoIterator<Item = Vec<u8>>,
        system_version: u64,
    ) -> Result<(), SealError> {
        let mut table = TableWriter::new(&mut tables.packer, &mut tables.bytes);
        for key in names {
            table.push(&key, &[])?;
        }
        let names = table.finish(Section::Names)?;
        let mut directory = Vec::new();
        self.parts.iter().for_each(|part| part.push(&mut directory));
        let parts = write_section(Section::Blocks, &directory, &mut tables.packer, &mut tables.bytes)?;
        let start = self.offset;
        let trailer = ArchiveTrailer {
            streams: tables.streams,
            gone: tables.gone,
            system_version,
            tables: start,
            states: tables.states.moved_by(start),
            names: names.moved_by(start),
            parts: parts.moved_by(start),
        };
        self.out.write_all(&tables.bytes)?;
        self.out.write_all(&trailer.to_bytes())?;
        Ok(self.out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?)
    }
}

impl ArchiveTables {
    /// The table of states. `add_states` calls its argument with each stream in order, whether it is gone, and the record of its
    /// state.
    pub(crate) fn build<E: From<SealError>>(
        add_states: impl FnOnce(&mut dyn FnMut(StreamId, bool, &[u8]) -> Result<(), SealError>) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut packer = Packer::new().map_err(SealError::Io)?;
        let (mut bytes, mut streams, mut gone) = (Vec::new(), 0, 0);
        let mut table = TableWriter::new(&mut packer, &mut bytes);
        add_states(&mut |stream, is_gone, state| {
            streams += 1;
            gone += u64::from(is_gone);
            table.push(&StreamEntry::key(stream), &[&[u8::from(is_gone)], state].concat())
        })?;
        let states = table.finish(Section::States)?;
        Ok(Self { bytes, packer, streams, gone, states })
    }

    /// Number of streams that are gone.
    pub(crate) const fn gone(&self) -> u64 {
        self.gone
    }
}
