//! What a list prints, made of the states one after the other: the states of thousands of instances take much more memory than
//! their lines.

use std::{
    io::{self, Write},
    ops::ControlFlow,
};

use apm2_model::state::stream::Stream;

use crate::{
    commands::list::{args::ListArgs, sort_key::SortKey},
    context::{Context, write_json_texts},
    options::Format,
    render::{process::ListTable, zone::Zone},
    status::{InstanceStatus, StatusContext},
    view::{
        handle::HandleView,
        notice::{Item, Notice},
    },
};

/// The instances of a list.
pub(super) struct Listing<'a> {
    args: &'a ListArgs,
    status_context: StatusContext,
    /// The instances in the order in which they were added. Each has a line.
    instances: Vec<SortKey>,
    lines: Lines,
    /// The number of instances that `--all` would add.
    unlisted: usize,
    /// Whether an instance was found that is supervised, or will be by the next daemon.
    has_kept: bool,
    /// The error of the last instance.
    failed: Option<io::Error>,
}

/// What is printed of each instance.
enum Lines {
    Table(Box<ListTable>),
    /// JSON objects.
    Json(Vec<String>),
    /// JSON objects without line breaks.
    Jsonl(Vec<String>),
}

impl<'a> Listing<'a> {
    pub(super) fn new(args: &'a ListArgs, status_context: StatusContext, context: &Context) -> Self {
        let lines = match context.format {
            Format::Table => Lines::Table(Box::new(ListTable::new(context.layout))),
            Format::Json => Lines::Json(Vec::new()),
            Format::Jsonl => Lines::Jsonl(Vec::new()),
        };
        Self { args, status_context, instances: Vec::new(), lines, unlisted: 0, has_kept: false, failed: None }
    }

    /// Adds the instance of `stream`, if the list may have it. `Break` after an error, which [`write`](Self::write) returns.
    pub(super) fn add(&mut self, stream: &Stream) -> ControlFlow<()> {
        if !self.args.accepts(stream) {
            return ControlFlow::Continue(());
        }
        if !self.args.all && !self.args.retained && !self.status_context.is_kept(stream) {
            self.unlisted += 1;
            return ControlFlow::Continue(());
        }
        let status = self.status_context.status(stream);
        self.has_kept |= status.is_kept;
        if !self.args.is_in_wanted_state(&status) {
            return ControlFlow::Continue(());
        }
        match self.lines.push(&status) {
            Ok(()) => {
                self.instances.push(SortKey::of(stream));
                ControlFlow::Continue(())
            }
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// The instances in the order of the list, as many as it has, by their places in the order in which they were added.
    fn in_order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.instances.len()).collect();
        order.sort_unstable_by_key(|at| self.instances.get(*at));
        if self.args.reverse {
            order.reverse();
        }
        order.truncate(usize::try_from(self.args.limit).unwrap_or(usize::MAX));
        order
    }

    /// Writes the list, after `notice` if it is in JSON. Returns whether the list has no instance.
    ///
    /// # Errors
    /// An instance could not be added, or those of `out`.
    pub(super) fn write(&mut self, out: &mut dyn Write, notice: Option<&Notice>) -> io::Result<bool> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let order = self.in_order();
        let notice_item: Option<Item<'_, ()>> = notice.map(|notice| Item::Notice { notice });
        match &self.lines {
            Lines::Table(table) => table.write(&order, out)?,
            Lines::Json(objects) => {
                let notice = notice_item.map(|item| serde_json::to_string_pretty(&item)).transpose()?;
                write_json_texts(out, notice.iter().chain(order.iter().filter_map(|at| objects.get(*at))))?;
            }
            Lines::Jsonl(objects) => {
                let notice = notice_item.map(|item| serde_json::to_string(&item)).transpose()?;
                for object in notice.iter().chain(order.iter().filter_map(|at| objects.get(*at))) {
                    writeln!(out, "{object}")?;
                }
            }
        }
        Ok(order.is_empty())
    }

    /// Message for an empty list, with the number of instances that `--all` would show.
    pub(super) fn nothing(&self) -> String {
        match self.unlisted {
            0 => "no processes".to_owned(),
            1 => "no processes; 1 more that is over or removed, see --all".to_owned(),
            more => format!("no processes; {more} more that are over or removed, see --all"),
        }
    }

    /// The warning that is printed when no daemon updates these states.
    pub(super) fn warning(&self) -> Option<String> {
        if self.has_kept { self.status_context.unwatched(Zone::of_stderr()) } else { None }
    }
}

impl Lines {
    fn push(&mut self, status: &InstanceStatus<'_>) -> io::Result<()> {
        match self {
            Self::Table(table) => table.push(status),
            Self::Json(objects) => objects.push(serde_json::to_string_pretty(&HandleView::new(status))?),
            Self::Jsonl(objects) => objects.push(serde_json::to_string(&HandleView::new(status))?),
        }
        Ok(())
    }
}
