//! Finds the segments that can answer a question, by the catalogs of the sealed segments, and the segment of an event, by the headers.

use std::{io, sync::Arc};

use crate::{
    journal::{
        catalog::{group::Group, reader::Members},
        segment_file::SegmentFile,
        segments::{Catalogs, Segments},
        wanted::Wanted,
    },
    read::query::Direction,
};

/// Iterates over the numbers of the segments that can contain what is wanted. Segments without a catalog are all visited, also
/// those that do not exist.
#[derive(Debug)]
pub(crate) struct SegmentWalk {
    catalogs: Catalogs,
    /// The numbers of segments in archives that cannot contain what is wanted.
    left_out: Arc<[(u64, u64)]>,
    /// The numbers of the first and the last segment of the walk.
    numbers: (u64, u64),
    /// The number of the last segment of the ledger.
    last_number: u64,
    direction: Direction,
    wanted: Wanted,
    /// The groups that are to be visited, the next one last.
    groups: Vec<Group>,
}

impl SegmentWalk {
    /// The segments from number `numbers.0` to `numbers.1`.
    pub(crate) fn new(segments: &Segments, numbers: (u64, u64), direction: Direction, wanted: Wanted) -> Self {
        let (catalogs, left_out) = (segments.catalogs.clone(), Arc::clone(&segments.left_out));
        let last_number = segments.files.last().map_or(0, |file| file.number);
        Self { catalogs, left_out, numbers, last_number, direction, wanted, groups: vec![Group::ROOT] }
    }

    /// Puts the members of the group that can contain what is wanted on the stack.
    fn open(&mut self, group: Group) {
        let members = self.members(group);
        let is_left_out =
            |member: &Group| self.left_out.iter().any(|(first, last)| *first <= member.first && member.last() <= *last);
        let chosen = group.members().enumerate().filter(|(at, _)| members >> at & 1 == 1).map(|(_, member)| member);
        let chosen = chosen.filter(|member| !is_left_out(member));
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
        // A catalog is written once the segments of its group are sealed, so a group beyond the last segment has none.
        if !group.is_catalogued() || group.last() > self.last_number {
            return Members::MAX;
        }
        let catalog = self.catalogs.open(group);
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

/// The last of the segments whose first event is `seq` or an earlier one. `None` when all segments begin later. The error has
/// the file that cannot be read.
///
/// A segment with an invalid header is skipped: a reader then begins in an earlier segment, and reports the damage when it gets to
/// this one.
pub(crate) fn segment_containing<'a>(
    segments: &'a Segments,
    seq: u64,
) -> Result<Option<&'a SegmentFile>, (&'a SegmentFile, io::Error)> {
    let files = &segments.files;
    let begins_later = |file: &'a SegmentFile| {
        let start = file.start().map_err(|error| (file, error))?;
        Ok(start.ok().map(|start| start.first_seq > seq))
    };
    // Most questions are about the last events. Earlier ones are found when the last segment cannot be read.
    if let Some(file) = files.last()
        && matches!(begins_later(file), Ok(Some(false)))
    {
        return Ok(Some(file));
    }
    let (mut low, mut high) = (0, files.len());
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
