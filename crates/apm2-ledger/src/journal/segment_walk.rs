//! Finds the segments that can answer a question, without opening the others: by the catalogs of the sealed segments.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    journal::{
        catalog::{
            group::Group,
            reader::{Catalog, Members, union},
        },
        sealed::error::SealedError,
        segment_file::SegmentFile,
    },
    read::query::{Direction, EventQuery},
};

/// What a segment must contain to be visited.
#[derive(Debug, Clone)]
pub(crate) enum Wanted {
    /// An event that the query accepts.
    Query(EventQuery),
    /// A process that got one of these names.
    Named(Vec<String>),
    /// A stream whose process id begins with one of these byte sequences.
    IdPrefixes(Vec<Vec<u8>>),
    /// This event, or a later one.
    From(u64),
}

impl Wanted {
    /// The members of a catalog that can contain it.
    fn members(&self, catalog: &Catalog) -> Result<Members, SealedError> {
        match self {
            Self::Query(query) => query.members(catalog),
            Self::Named(names) => union(names.iter().map(|name| catalog.with_name(name))),
            Self::IdPrefixes(prefixes) => union(prefixes.iter().map(|prefix| catalog.with_id_prefix(prefix))),
            Self::From(seq) => Ok(catalog.members_where(|member| member.last_seq >= *seq)),
        }
    }
}

/// Iterates over the numbers of the segments that can contain what is wanted. Segments without a catalog are all visited, also
/// those that do not exist.
#[derive(Debug)]
pub(crate) struct SegmentWalk {
    journal: PathBuf,
    /// The numbers of the first and the last segment of the walk.
    numbers: (u64, u64),
    direction: Direction,
    wanted: Wanted,
    /// The groups that are to be visited, the next one last.
    groups: Vec<Group>,
}

impl SegmentWalk {
    /// The segments from number `numbers.0` to `numbers.1`.
    pub(crate) fn new(journal: PathBuf, numbers: (u64, u64), direction: Direction, wanted: Wanted) -> Self {
        Self { journal, numbers, direction, wanted, groups: vec![Group::ROOT] }
    }

    /// Puts the members of the group that can contain what is wanted on the stack.
    fn open(&mut self, group: Group) {
        let members = self.members(group);
        let chosen = group.members().enumerate().filter(|(at, _)| members >> at & 1 == 1).map(|(_, member)| member);
        let before = self.groups.len();
        self.groups.extend(chosen.filter(|member| member.first <= self.numbers.1 && member.last() >= self.numbers.0));
        if self.direction == Direction::Forwards
            && let Some(added) = self.groups.get_mut(before..)
        {
            added.reverse();
        }
    }

    /// The members of the group that can contain what is wanted; all where its catalog is missing or damaged.
    fn members(&self, group: Group) -> Members {
        if !group.is_catalogued() {
            return Members::MAX;
        }
        let catalog = Catalog::of_group(&self.journal, group);
        catalog.and_then(|catalog| self.wanted.members(&catalog)).unwrap_or(Members::MAX)
    }
}

impl Iterator for SegmentWalk {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        loop {
            match self.groups.pop()? {
                Group { level: 0, first } => return Some(first),
                group => self.open(group),
            }
        }
    }
}

/// The last segment of `files` whose first event is `seq` or an earlier one. `None` when all segments begin later. The error has
/// the file that cannot be read.
///
/// A segment with an invalid header is skipped: a reader then begins in an earlier segment, and reports the damage when it gets to
/// this one.
pub(crate) fn segment_containing<'a>(
    journal: &Path,
    files: &'a [SegmentFile],
    seq: u64,
) -> Result<Option<&'a SegmentFile>, (&'a SegmentFile, io::Error)> {
    let begins_later = |file: &'a SegmentFile| {
        let start = file.start().map_err(|error| (file, error))?;
        Ok(start.ok().map(|start| start.first_seq > seq))
    };
    let last = files.last().map_or(0, |file| file.number);
    // All segments before the first one of this walk end before the event.
    let mut walk = SegmentWalk::new(journal.to_owned(), (1, last), Direction::Forwards, Wanted::From(seq));
    let number = walk.next().unwrap_or(last);
    let mut low = files.partition_point(|file| file.number < number);
    let mut high = files.len();
    while low < high {
        let middle = low + (high - low) / 2;
        let Some(file) = files.get(middle) else { break };
        match begins_later(file)? {
            Some(true) => high = middle,
            Some(false) => low = middle + 1,
            None => {
                for file in files.iter().rev() {
                    if begins_later(file)? == Some(false) {
                        return Ok(Some(file));
                    }
                }
                return Ok(None);
            }
        }
    }
    Ok(low.checked_sub(1).and_then(|at| files.get(at)))
}
