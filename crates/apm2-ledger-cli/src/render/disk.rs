//! Prints the space that a ledger takes on its disk.

use std::io::{self, Write};

use crate::{
    disk::DiskReport,
    render::{
        table::{Align, Cell, Layout, Table},
        words::{bytes, counted},
    },
};

/// Prints a row for each part and for the logs of each instance, and the number of events.
pub(crate) fn page(out: &mut dyn Write, report: &DiskReport, layout: Layout) -> io::Result<()> {
    let mut table = Table::new([("PART", Align::Left), ("SIZE", Align::Right)]);
    for (name, size) in &report.parts {
        table.push([Cell::new(name.replace('_', " ")), Cell::new(bytes(*size))]);
        let listed = match *name {
            "logs" => &report.logs,
            "set_aside_stores" => &report.set_aside,
            _ => continue,
        };
        for (name, size) in listed {
            table.push([Cell::new(format!("  {name}")), Cell::new(bytes(*size))]);
        }
    }
    table.push(["total".into(), bytes(report.total).into()]);
    if let Some(max_bytes) = report.max_bytes {
        table.push(["limit".into(), bytes(max_bytes).into()]);
    }
    table.write(out, "", layout)?;
    if let Some(excess) = report.excess().filter(|excess| *excess > 0) {
        writeln!(
            out,
            "\n{} above the limit: archives and logs of removed processes go first; events in the journal and logs in use stay",
            bytes(excess)
        )?;
    }
    let extent = report.extent;
    write!(out, "\n{}", counted(extent.events, "event"))?;
    if let (Some(oldest), Some(newest)) = (extent.oldest, extent.newest) {
        let (oldest, newest) = (layout.zone.time(oldest), layout.zone.time(newest));
        write!(out, ", from {oldest} to {newest}")?;
    }
    writeln!(out)?;
    if let (Some(journal), Some(store)) = (report.per_event(report.journal), report.per_event(report.store)) {
        writeln!(out, "{} an event in the journal, {} in the store", bytes(journal), bytes(store))?;
    }
    Ok(())
}
