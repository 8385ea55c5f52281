//! Compares the catalogs of a journal with the sealed segments that they cover.

use std::{io, path::Path};

use crate::{
    dir::LedgerDir,
    error::OpenError,
    file,
    journal::{
        JOURNAL_DIR,
        catalog::{
            builder::{CatalogError, Sources},
            group::Group,
            reader::Catalog,
        },
        sealed::error::SealedError,
    },
    limits::CATALOG_LEVEL_MAX,
    verify::{Verifier, report::FindingKind},
};

impl Verifier<'_> {
    /// Checks the catalogs of all groups of segments, from the lowest level up. A group may have none.
    pub(super) fn check_catalogs(&mut self, dir: &LedgerDir) -> Result<(), OpenError> {
        let journal = dir.at().join(JOURNAL_DIR);
        for level in 1..=CATALOG_LEVEL_MAX {
            let mut group = Group { level, first: 1 };
            while group.last() < self.next_number {
                let path = group.path(&journal);
                match Catalog::of_group(&journal, group) {
                    Ok(catalog) => self.check_catalog(&journal, group, &catalog),
                    // The next program that opens the ledger replaces a catalog of an older version.
                    Err(SealedError::Older(_)) => {}
                    Err(SealedError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(SealedError::Io(error)) if !file::is_not_regular(&error) => {
                        return Err(OpenError::io(&path)(error));
                    }
                    Err(error) => self.add_catalog_finding(group, &error.to_string()),
                }
                group = Group { level, first: group.last() + 1 };
            }
        }
        Ok(())
    }

    fn check_catalog(&mut self, journal: &Path, group: Group, catalog: &Catalog) {
        match Sources::open(journal, group).and_then(|members| members.matches(catalog)) {
            Ok(true) => {}
            Ok(false) => self.add_catalog_finding(group, &SealedError::OtherSegments.to_string()),
            Err(CatalogError::Catalog(error)) => self.add_catalog_finding(group, &error.to_string()),
            Err(error) => self.add_catalog_finding(group, &format!("it cannot be compared: {error}")),
        }
    }

    fn add_catalog_finding(&mut self, group: Group, what: &str) {
        let name = group.file_name();
        let message = format!("{name}: {what}; no event is lost: remove the file, and the next daemon writes it again");
        let end = self.next_seq.saturating_sub(1).max(1);
        self.add_finding(FindingKind::Damage, 1, end, message);
    }
}
