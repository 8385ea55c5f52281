//! JSON view of the space that a ledger takes on its disk.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{disk::DiskReport, view::notice::Notice};

/// The space on the disk: output of `stats --disk`. All sizes are allocated bytes.
#[derive(Debug, Serialize)]
pub(crate) struct DiskView<'a> {
    total_bytes: u64,
    /// The limit of `[ledger]` in the ecosystem file, and the bytes above it; null without a limit.
    max_bytes: Option<u64>,
    excess_bytes: Option<u64>,
    /// Bytes by part: `plain_segments`, `sealed_segments`, `catalogs`, `store`, `set_aside_stores`, `logs`, `launch_files`,
    /// `daemon_log`, `other`.
    parts: BTreeMap<&'static str, u64>,
    /// Logs in the ledger's directory, the largest first.
    logs: Vec<SizeView<'a>>,
    set_aside_stores: Vec<SizeView<'a>>,
    events: u64,
    /// Bytes of the journal for each event; null without events.
    journal_bytes_per_event: Option<u64>,
    /// Bytes of the store for each event; null without events.
    store_bytes_per_event: Option<u64>,
    oldest: Option<String>,
    newest: Option<String>,
    /// The notice about the ledger; null when it is intact.
    notice: Option<&'a Notice>,
}

#[derive(Debug, Serialize)]
struct SizeView<'a> {
    name: &'a str,
    bytes: u64,
}

impl<'a> DiskView<'a> {
    pub(crate) fn new(report: &'a DiskReport, notice: Option<&'a Notice>) -> Self {
        let sizes =
            |list: &'a [(String, u64)]| list.iter().map(|(name, bytes)| SizeView { name, bytes: *bytes }).collect();
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(chrono::SecondsFormat::Nanos, true);
        Self {
            total_bytes: report.total,
            max_bytes: report.max_bytes,
            excess_bytes: report.excess(),
            parts: report.parts.iter().copied().collect(),
            logs: sizes(&report.logs),
            set_aside_stores: sizes(&report.set_aside),
            events: report.extent.events,
            journal_bytes_per_event: report.per_event(report.journal),
            store_bytes_per_event: report.per_event(report.store),
            oldest: report.extent.oldest.map(time),
            newest: report.extent.newest.map(time),
            notice,
        }
    }
}
