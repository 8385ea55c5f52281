//! The groups of segments that catalogs cover: their numbers and file names.

use std::path::{Path, PathBuf};

use crate::limits::{CATALOG_LEVEL_MAX, CATALOG_MEMBERS};

/// A group of segments: a single segment at level 0, [`CATALOG_MEMBERS`] groups of the level below at a higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) level: u32,
    /// The number of its first segment.
    pub(crate) first: u64,
}

impl Group {
    /// The group of the highest level, which begins with the first segment.
    pub(crate) const ROOT: Self = Self { level: CATALOG_LEVEL_MAX + 1, first: 1 };

    /// The number of its segments.
    const fn len(self) -> u64 {
        (CATALOG_MEMBERS as u64).pow(self.level)
    }

    /// The number of its last segment.
    pub(crate) const fn last(self) -> u64 {
        self.first.saturating_add(self.len() - 1)
    }

    /// Whether a catalog can cover the group.
    pub(crate) const fn is_catalogued(self) -> bool {
        self.level > 0 && self.level <= CATALOG_LEVEL_MAX
    }

    /// The group of this level that contains segment `number`.
    pub(crate) const fn containing(level: u32, number: u64) -> Self {
        let len = Self { level, first: 1 }.len();
        Self { level, first: (number - 1) / len * len + 1 }
    }

    /// Its members, in order; none at level 0.
    pub(crate) fn members(self) -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        let level = self.level.saturating_sub(1);
        let count = if self.level == 0 { 0 } else { CATALOG_MEMBERS };
        let len = Self { level, first: 1 }.len();
        (0..count).map(move |at| Self { level, first: self.first.saturating_add(len.saturating_mul(at as u64)) })
    }

    /// The path of its catalog in the directory `journal`.
    pub(crate) fn path(self, journal: &Path) -> PathBuf {
        journal.join(self.file_name())
    }

    /// The group whose catalog has this file name.
    pub(crate) fn of_file_name(name: &str) -> Option<Self> {
        let (first, last) = name.strip_suffix(".catalog")?.split_once('-')?;
        let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
        let group = (1..=CATALOG_LEVEL_MAX).map(|level| Self { level, first }).find(|group| group.last() == last)?;
        (first > 0 && group.file_name() == name).then_some(group)
    }

    /// The name of its catalog.
    pub(crate) fn file_name(self) -> String {
        format!("{:010}-{:010}.catalog", self.first, self.last())
    }
}
