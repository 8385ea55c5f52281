//! Looks up keys in a sorted table of an open file, page by page.

use std::io;

use crate::journal::sealed::{
    error::{SealedError, Section},
    file_part::FilePart,
    table::{Page, PageEntry, Table},
};

/// A key of a table and its value.
pub(crate) type TableEntry = (Vec<u8>, Vec<u8>);

/// Why an entry of a table cannot be read.
#[derive(Debug)]
pub(crate) enum TableError {
    Io(io::Error),
    Damaged,
}

impl TableError {
    pub(crate) fn in_section(self, section: Section) -> SealedError {
        match self {
            Self::Io(error) => SealedError::Io(error),
            Self::Damaged => SealedError::Section(section),
        }
    }
}

/// A table in a file, or in a part of one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TableReader<'a> {
    pub(crate) file: &'a FilePart,
    /// The directory of the table.
    pub(crate) table: &'a Table,
}

impl<'a> TableReader<'a> {
    /// The value of `key`.
    pub(crate) fn value(self, key: &[u8]) -> Result<Option<Vec<u8>>, TableError> {
        let Some(entry) = self.table.pages().get(self.table.page_with(key)) else { return Ok(None) };
        let page = self.page(entry)?;
        let value = page.entries().find(|(found, _)| *found == key).map(|(_, value)| value.to_vec());
        Ok(value)
    }

    /// The entries from `key` on, in order. After an error there are no more.
    pub(crate) fn entries_from(self, key: &'a [u8]) -> impl Iterator<Item = Result<TableEntry, TableError>> + 'a {
        let pages = self.table.pages().get(self.table.page_with(key)..).unwrap_or_default();
        let mut last_key: Option<Vec<u8>> = None;
        let mut is_over = false;
        let pages = pages.iter().map_while(move |entry| {
            if is_over {
                return None;
            }
            // The keys ascend from page to page, too.
            let follows = last_key.as_ref().is_none_or(|last| *last < entry.first_key);
            let page = if follows { self.page(entry) } else { Err(TableError::Damaged) };
            is_over = page.is_err();
            last_key = page.as_ref().ok().and_then(Page::last_key);
            Some(page)
        });
        let from_key = move |page: &Page| -> Vec<_> {
            let owned = |(key, value): (&[u8], &[u8])| Ok((key.to_vec(), value.to_vec()));
            page.entries().filter(|(found, _)| *found >= key).map(owned).collect()
        };
        pages.flat_map(move |page| page.map_or_else(|error| vec![Err(error)], |page| from_key(&page)))
    }

    fn page(self, entry: &PageEntry) -> Result<Page, TableError> {
        let stored = self.file.read(entry.offset, entry.stored_len).map_err(TableError::Io)?;
        stored.and_then(|stored| Page::parse(&stored, entry)).ok_or(TableError::Damaged)
    }
}
