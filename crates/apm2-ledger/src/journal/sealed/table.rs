//! A sorted table in the footer of a sealed segment: pages of entries, compressed one by one, and a directory of the pages, so
//! that one key is found by reading one page.
//!
//! ```text
//! page         stored bytes of: for each entry key length 4, key, value length 4, value
//!              … the pages follow each other, and the directory follows the last of them
//! directory    for each page: stored length 4, raw length 4, CRC-32C of the stored bytes 4, length of its first key 4, first key
//! ```
//!
//! Keys are in the order of their bytes, each once. The trailer has the place of the directory.

use crate::{
    journal::sealed::{
        error::{SealError, Section},
        fields::Fields,
        packing::{Packer, unpack},
        trailer::{SectionPlace, write_section},
    },
    limits::{PAGE_BYTES, RECORD_BYTES_MAX},
};

/// One entry of the largest kind: a record and a short key, or a long name and no value.
const PAGE_RAW_MAX: usize = RECORD_BYTES_MAX + 64;

/// Bytes of an entry beside its key and value.
const LENGTHS_LEN: usize = 8;

/// One page in the directory.
#[derive(Debug, Clone)]
pub(crate) struct PageEntry {
    /// Where it begins, in bytes from the beginning of the file.
    pub(crate) offset: u64,
    pub(crate) stored_len: usize,
    raw_len: usize,
    crc: u32,
    pub(crate) first_key: Vec<u8>,
}

/// The directory of a table.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    pages: Vec<PageEntry>,
}

impl Table {
    /// The directory that is at `offset` in the file, of pages from `start` on. `None` when they leave a gap, or when a page
    /// is longer than pages are.
    pub(crate) fn parse(raw: &[u8], start: u64, offset: u64) -> Option<Self> {
        let (mut fields, mut pages, mut at) = (Fields(raw), Vec::<PageEntry>::new(), start);
        while !fields.0.is_empty() {
            let (stored_len, raw_len, crc) = (fields.u32()? as usize, fields.u32()? as usize, fields.u32()?);
            let first_key = fields.prefixed()?.to_vec();
            let follows = pages.last().is_none_or(|before| before.first_key < first_key);
            if !follows || stored_len > raw_len || raw_len > PAGE_RAW_MAX {
                return None;
            }
            pages.push(PageEntry { offset: at, stored_len, raw_len, crc, first_key });
            at = at.checked_add(stored_len as u64)?;
        }
        (at == offset).then_some(Self { pages })
    }

    /// The pages, in order.
    pub(crate) fn pages(&self) -> &[PageEntry] {
        &self.pages
    }

    /// The number of the page that has the key, if the table has it; 0 when it comes before all keys.
    pub(crate) fn page_with(&self, key: &[u8]) -> usize {
        self.pages.partition_point(|page| page.first_key.as_slice() <= key).saturating_sub(1)
    }
}

/// The entries of one page.
#[derive(Debug, Clone)]
pub(crate) struct Page {
    raw: Vec<u8>,
}

impl Page {
    /// The page with these stored bytes; `None` when they are not what the directory says.
    pub(crate) fn parse(stored: &[u8], entry: &PageEntry) -> Option<Self> {
        if crc32c::crc32c(stored) != entry.crc {
            return None;
        }
        let page = Self { raw: unpack(stored, entry.raw_len)? };
        let (mut fields, mut before) = (Fields(&page.raw), None);
        while !fields.0.is_empty() {
            let (key, _) = take_entry(&mut fields)?;
            let follows = before.map_or(key == entry.first_key, |before| before < key);
            before = follows.then_some(key);
            before?;
        }
        before.is_some().then_some(page)
    }

    /// Its keys and values, in order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut fields = Fields(&self.raw);
        std::iter::from_fn(move || take_entry(&mut fields))
    }

    pub(crate) fn last_key(&self) -> Option<Vec<u8>> {
        self.entries().last().map(|(key, _)| key.to_vec())
    }
}

fn take_entry<'a>(fields: &mut Fields<'a>) -> Option<(&'a [u8], &'a [u8])> {
    Some((fields.prefixed()?, fields.prefixed()?))
}

/// Writes a table, entry by entry.
pub(crate) struct TableWriter<'a> {
    packer: &'a mut Packer,
    out: &'a mut Vec<u8>,
    /// Entries of the page that is not full yet.
    page: Vec<u8>,
    first_key: Vec<u8>,
    directory: Vec<u8>,
}

impl<'a> TableWriter<'a> {
    pub(crate) const fn new(packer: &'a mut Packer, out: &'a mut Vec<u8>) -> Self {
        Self { packer, out, page: Vec::new(), first_key: Vec::new(), directory: Vec::new() }
    }

    /// Adds an entry. Its key is greater than those before.
    pub(crate) fn push(&mut self, key: &[u8], value: &[u8]) -> Result<(), SealError> {
        let len = LENGTHS_LEN + key.len() + value.len();
        if len > PAGE_RAW_MAX {
            return Err(SealError::TooLarge(len));
        }
        if !self.page.is_empty() && self.page.len() + len > PAGE_BYTES {
            self.finish_page()?;
        }
        if self.page.is_empty() {
            self.first_key = key.to_vec();
        }
        push_prefixed(&mut self.page, key);
        push_prefixed(&mut self.page, value);
        Ok(())
    }

    fn finish_page(&mut self) -> Result<(), SealError> {
        let stored = self.packer.pack(&self.page)?;
        for number in [len_u32(&stored), len_u32(&self.page), crc32c::crc32c(&stored)] {
            self.directory.extend_from_slice(&number.to_le_bytes());
        }
        push_prefixed(&mut self.directory, &self.first_key);
        self.out.extend_from_slice(&stored);
        self.page.clear();
        Ok(())
    }

    /// Writes the last page and the directory, and returns the place of the directory.
    pub(crate) fn finish(mut self, section: Section) -> Result<SectionPlace, SealError> {
        if !self.page.is_empty() {
            self.finish_page()?;
        }
        write_section(section, &self.directory, self.packer, self.out)
    }
}

fn push_prefixed(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&len_u32(bytes).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// The length of what is limited to a page.
fn len_u32(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
