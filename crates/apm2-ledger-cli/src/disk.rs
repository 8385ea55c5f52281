//! The space that a ledger takes on its disk, by part.

use std::{fs, io, ops::ControlFlow, path::Path};

use apm2_ledger::{DiskUsage, EventQuery, EventsQuestion, ReadLedger as _, allocated_bytes};
use chrono::{DateTime, Utc};

use crate::source::{LedgerSource, ReadFailure};

/// The directory of log files in the ledger directory.
const LOGS_DIR: &str = "logs";

/// The directory of launch files in the ledger directory.
const LAUNCH_DIR: &str = "launch";

/// The files of the daemon's log: the current one and the rotated one.
const DAEMON_LOGS: [&str; 2] = ["daemon.log", "daemon.log.1"];

/// The number of events, and the times of the first and the last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct LedgerExtent {
    pub(crate) events: u64,
    pub(crate) oldest: Option<DateTime<Utc>>,
    pub(crate) newest: Option<DateTime<Utc>>,
}

impl LedgerExtent {
    /// Reads the first and the last event.
    pub(crate) fn read(source: &LedgerSource) -> Result<Self, ReadFailure> {
        let events = source.head()?.size;
        if events == 0 {
            return Ok(Self::default());
        }
        Ok(Self { events, oldest: first_time(source, 1, events)?, newest: first_time(source, events, events)? })
    }
}

/// The time of the first event from `first` to `last` that is not in an archive that does not exist.
fn first_time(source: &LedgerSource, first: u64, last: u64) -> Result<Option<DateTime<Utc>>, ReadFailure> {
    let mut wall = None;
    let question = EventsQuestion { max: 1, ..EventsQuestion::all(EventQuery::default(), (first, last)) };
    source.present_events(&question, &mut |event| {
        wall = Some(event.stamp.wall());
        ControlFlow::Continue(())
    })?;
    Ok(wall)
}

/// The sizes of the log directories in the ledger directory `dir`, by the name of the instance, the largest first.
///
/// # Errors
/// A directory cannot be read.
pub(crate) fn log_sizes(dir: &Path) -> io::Result<Vec<(String, u64)>> {
    let entries = match fs::read_dir(dir.join(LOGS_DIR)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut sizes = Vec::new();
    for entry in entries {
        let entry = entry?;
        sizes.push((entry.file_name().to_string_lossy().into_owned(), allocated_bytes(&entry.path())?));
    }
    sizes.sort_by(|(one, bytes), (other, others)| others.cmp(bytes).then_with(|| one.cmp(other)));
    Ok(sizes)
}

/// Allocated bytes of the parts of a ledger.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct DiskReport {
    pub(crate) extent: LedgerExtent,
    /// The parts with their stable names, in the order of their display.
    pub(crate) parts: Vec<(&'static str, u64)>,
    pub(crate) total: u64,
    pub(crate) journal: u64,
    pub(crate) store: u64,
    /// Logs by instance, the largest first.
    pub(crate) logs: Vec<(String, u64)>,
    /// Stores that were set aside, by name.
    pub(crate) set_aside: Vec<(String, u64)>,
    /// The limit in the settings of the ledger.
    pub(crate) max_bytes: Option<u64>,
}

impl DiskReport {
    pub(crate) fn new(usage: &DiskUsage, logs: &[(String, u64)], extent: LedgerExtent) -> Self {
        let others = |is_part: &dyn Fn(&str) -> bool| {
            usage
                .others
                .iter()
                .filter(|(name, _)| is_part(name))
                .fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes))
        };
        let is_daemon_log = |name: &str| DAEMON_LOGS.contains(&name);
        let is_other = |name: &str| name != LOGS_DIR && name != LAUNCH_DIR && !is_daemon_log(name);
        let set_aside = usage.set_aside.iter().fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes));
        let parts = vec![
            ("plain_segments", usage.plain_segments),
            ("sealed_segments", usage.sealed_segments),
            ("catalogs", usage.catalogs),
            ("archives", usage.archives),
            ("store", usage.store),
            ("set_aside_stores", set_aside),
            ("logs", others(&|name| name == LOGS_DIR)),
            ("launch_files", others(&|name| name == LAUNCH_DIR)),
            ("daemon_log", others(&is_daemon_log)),
            ("other", others(&is_other).saturating_add(usage.other_journal)),
        ];
        Self {
            extent,
            total: parts.iter().fold(0, |sum: u64, (_, bytes)| sum.saturating_add(*bytes)),
            parts,
            journal: usage.journal(),
            store: usage.store,
            logs: logs.to_vec(),
            set_aside: usage.set_aside.clone(),
            max_bytes: None,
        }
    }

    /// Bytes by which the ledger exceeds the limit; `None` without a limit.
    pub(crate) fn excess(&self) -> Option<u64> {
        self.max_bytes.map(|max_bytes| self.total.saturating_sub(max_bytes))
    }

    /// Bytes for each event; `None` without events.
    pub(crate) const fn per_event(&self, bytes: u64) -> Option<u64> {
        bytes.checked_div(self.extent.events)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_file_of_the_directory_is_in_one_part() {
        let of = |name: &str, bytes| (name.to_owned(), bytes);
        let usage = DiskUsage {
            plain_segments: 1,
            sealed_segments: 2,
            catalogs: 4,
            other_journal: 8,
            archives: 1024,
            store: 16,
            set_aside: vec![of("sled.set-aside.1", 32)],
            others: vec![of("daemon.log", 64), of("launch", 128), of("logs", 256), of("owner", 512)],
        };
        let extent = LedgerExtent { events: 5, ..LedgerExtent::default() };
        let report = DiskReport::new(&usage, &[], extent);
        assert_eq!(
            report.parts.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>(),
            [1, 2, 4, 1024, 16, 32, 256, 128, 64, 520]
        );
        assert_eq!((report.total, report.journal, report.per_event(report.journal)), (2047, 15, Some(3)));
        assert_eq!(DiskReport::default().per_event(1), None);
    }
}
