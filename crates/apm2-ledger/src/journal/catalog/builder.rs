//! Makes a catalog from its members, and compares one with them.

use std::{iter::Peekable, path::Path};

use uuid::Uuid;

use crate::{
    chain::Chain,
    journal::{
        catalog::{
            group::Group,
            header::{CATALOG_HEADER_LEN, CatalogHeader, Member},
            reader::{Catalog, Members},
        },
        sealed::{
            block_table::BlockSummary,
            error::{SealError, SealedError, Section},
            packing::Packer,
            reader::SealedSegment,
            stream_entry::StreamEntry,
            table::TableWriter,
            trailer::SectionPlace,
        },
        segment_file::{SegmentStart, sealed_path},
    },
};

/// Why a catalog cannot be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CatalogError {
    /// A member cannot be read, or its index is damaged.
    #[error("segments {first} to {last}: {source}")]
    Member { first: u64, last: u64, source: SealedError },
    /// The members do not follow each other, or belong to several ledgers.
    #[error("segments {first} to {last} do not follow each other")]
    Order { first: u64, last: u64 },
    /// The catalog that is compared with its members cannot be read.
    #[error(transparent)]
    Catalog(SealedError),
    /// The catalog cannot be built.
    #[error(transparent)]
    Build(#[from] SealError),
}

/// A member of a group that is opened.
enum Source {
    Segment(Box<SealedSegment>),
    Catalog(Box<Catalog>),
}

type Keys<'a> = Box<dyn Iterator<Item = Result<Vec<u8>, SealedError>> + 'a>;

impl Source {
    fn open(journal: &Path, group: Group) -> Result<Self, SealedError> {
        match group.level {
            0 => {
                let segment = SealedSegment::open(&sealed_path(journal, group.first))?;
                let is_right = segment.header().number == group.first && segment.blocks()?.is_indexed();
                if is_right { Ok(Self::Segment(Box::new(segment))) } else { Err(SealedError::Trailer) }
            }
            _ => Ok(Self::Catalog(Box::new(Catalog::of_group(journal, group)?))),
        }
    }

    const fn ledger(&self) -> Uuid {
        match self {
            Self::Segment(segment) => segment.header().ledger,
            Self::Catalog(catalog) => catalog.header().ledger,
        }
    }

    /// Whether it continues `before`. Of catalogs only the ledger is compared here.
    fn follows(&self, before: &Self) -> bool {
        match (before, self) {
            (Self::Segment(before), Self::Segment(segment)) => SegmentStart::from(&**segment).follows(before),
            _ => self.ledger() == before.ledger(),
        }
    }

    /// The hash chain value after its last event.
    fn chain_after(&self) -> Result<Chain, SealedError> {
        match self {
            Self::Segment(segment) => segment.chain_after(),
            Self::Catalog(catalog) => Ok(catalog.header().chain_after),
        }
    }

    fn member(&self) -> Result<Member, SealedError> {
        match self {
            Self::Segment(segment) => {
                let (first_seq, last_seq) = (segment.header().first_seq, segment.header().last_seq());
                let summaries = segment.blocks()?.entries().iter().map(|entry| entry.summary);
                let summary = summaries.fold(BlockSummary::EMPTY, BlockSummary::union);
                Ok(Member { first_seq, last_seq, summary, has_states: segment.has_states()? })
            }
            Self::Catalog(catalog) => {
                let members = &catalog.header().members;
                let (first, last) = (members.first(), members.last());
                Ok(Member {
                    first_seq: first.map_or(0, |member| member.first_seq),
                    last_seq: last.map_or(0, |member| member.last_seq),
                    summary: members.iter().map(|member| member.summary).fold(BlockSummary::EMPTY, BlockSummary::union),
                    has_states: members.iter().all(|member| member.has_states),
                })
            }
        }
    }

    /// The keys of one of its tables, in order.
    fn keys(&self, section: Section) -> Result<Keys<'_>, SealedError> {
        Ok(match (self, section) {
            (Self::Catalog(catalog), _) => {
                Box::new(catalog.entries(section, &[])?.map(|entry| entry.map(|(key, _)| key)))
            }
            (Self::Segment(segment), Section::Names) => Box::new(segment.names()?),
            (Self::Segment(segment), _) => {
                Box::new(segment.streams_from(&[])?.map(|entry| entry.map(|entry| StreamEntry::key(entry.stream))))
            }
        })
    }
}

/// The opened members of a group.
pub(crate) struct Sources {
    group: Group,
    sources: Vec<Source>,
}

impl Sources {
    /// Opens the members of `group` in the directory `journal`.
    pub(crate) fn open(journal: &Path, group: Group) -> Result<Self, CatalogError> {
        let open = |member: Group| {
            Source::open(journal, member).map_err(|source| CatalogError::Member {
                first: member.first,
                last: member.last(),
                source,
            })
        };
        let sources: Vec<Source> = group.members().map(open).collect::<Result<_, _>>()?;
        if sources.windows(2).all(|pair| matches!(pair, [one, next] if next.follows(one))) {
            Ok(Self { group, sources })
        } else {
            Err(CatalogError::Order { first: group.first, last: group.last() })
        }
    }

    /// The bytes of the catalog.
    pub(crate) fn build(&self) -> Result<Vec<u8>, CatalogError> {
        let mut out = vec![0; CATALOG_HEADER_LEN];
        let mut packer = Packer::new().map_err(SealError::Io)?;
        let streams = self.write_table(Section::Streams, &mut packer, &mut out)?;
        let names = self.write_table(Section::Names, &mut packer, &mut out)?;
        let header = CatalogHeader { streams, names, ..self.header()? };
        // A header that cannot be parsed would make the file useless.
        let bytes = header.to_bytes();
        CatalogHeader::parse(&bytes).map_err(|_| self.order_error())?;
        out.splice(..CATALOG_HEADER_LEN, bytes);
        Ok(out)
    }

    /// Whether the catalog says of its members what they contain. Reads all of it.
    pub(crate) fn matches(&self, catalog: &Catalog) -> Result<bool, CatalogError> {
        let found = catalog.header();
        let expected = CatalogHeader { streams: found.streams, names: found.names, ..self.header()? };
        let mut is_same = *found == expected && catalog.has_its_length().map_err(CatalogError::Catalog)?;
        for section in [Section::Streams, Section::Names] {
            let mut entries = catalog.entries(section, &[]).map_err(CatalogError::Catalog)?;
            let mut is_readable = Ok(());
            self.merge(section, |key, members| {
                match entries.next().transpose() {
                    Ok(entry) => is_same &= entry.is_some_and(|(found, value)| found == key && value == members),
                    Err(error) => is_readable = Err(error),
                }
                Ok(())
            })?;
            is_readable.map_err(CatalogError::Catalog)?;
            is_same &= entries.next().is_none();
        }
        Ok(is_same)
    }

    /// The header without the places of the tables.
    fn header(&self) -> Result<CatalogHeader, CatalogError> {
        let ledger = self.sources.first().ok_or_else(|| self.order_error())?.ledger();
        let members = self.sources.iter().map(Source::member).collect::<Result<Vec<_>, _>>();
        let members = members.map_err(|source| self.member_error(source))?.try_into();
        let members = members.map_err(|_| self.order_error())?;
        let last = self.sources.last().ok_or_else(|| self.order_error())?;
        let chain_after = last.chain_after().map_err(|source| self.member_error(source))?;
        let (streams, names) = Default::default();
        Ok(CatalogHeader { group: self.group, ledger, members, chain_after, streams, names })
    }

    const fn order_error(&self) -> CatalogError {
        CatalogError::Order { first: self.group.first, last: self.group.last() }
    }

    const fn member_error(&self, source: SealedError) -> CatalogError {
        CatalogError::Member { first: self.group.first, last: self.group.last(), source }
    }

    fn write_table(
        &self,
        section: Section,
        packer: &mut Packer,
        out: &mut Vec<u8>,
    ) -> Result<SectionPlace, CatalogError> {
        let mut table = TableWriter::new(packer, out);
        self.merge(section, |key, members| table.push(key, &members.to_le_bytes()))?;
        Ok(table.finish(section)?)
    }

    /// Calls `visit` with each key of the members' tables, in order, and the members that have it.
    fn merge(
        &self,
        section: Section,
        mut visit: impl FnMut(&[u8], Members) -> Result<(), SealError>,
    ) -> Result<(), CatalogError> {
        let keys = self.sources.iter().map(|source| Ok(source.keys(section)?.peekable()));
        let mut keys: Vec<Peekable<Keys<'_>>> =
            keys.collect::<Result<_, _>>().map_err(|error| self.member_error(error))?;
        while let Some(least) = least(&mut keys) {
            let least = least.map_err(|error| self.member_error(error))?;
            let mut members = 0;
            for (at, keys) in keys.iter_mut().enumerate() {
                if keys.next_if(|key| key.as_ref().is_ok_and(|key| *key == least)).is_some() {
                    members |= 1 << at;
                }
            }
            visit(&least, members)?;
        }
        Ok(())
    }
}

/// The least of the next keys, or the error of one that cannot be read.
fn least(keys: &mut [Peekable<Keys<'_>>]) -> Option<Result<Vec<u8>, SealedError>> {
    let mut least: Option<Vec<u8>> = None;
    for keys in keys {
        if let Some(error) = keys.next_if(Result::is_err) {
            return Some(error);
        }
        if let Some(Ok(key)) = keys.peek()
            && least.as_ref().is_none_or(|least| key < least)
        {
            least = Some(key.clone());
        }
    }
    least.map(Ok)
}
