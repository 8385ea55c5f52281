//! What every command has at hand: where the ledger is, how results are printed, what time it is.

use std::{
    io::{self, BufWriter, IsTerminal as _, Write},
    path::PathBuf,
    time::Duration,
};

use apm2_core::process::{Clock as _, Stream, SystemClock};
use apm2_daemon::{
    client::{self, Client, ClientError, Received},
    protocol::Request,
};
use apm2_ledger::{OpenError, ReadAccess, Reader};
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    args::{Format, GlobalArgs},
    daemon::connect,
    error::{CliError, PREFIX},
    ledger_dir::default_dir,
    render::{color, table::Layout},
    time::At,
};

/// How long a daemon may be silent that is only asked what can be read without it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The global options, made ready for use.
pub(crate) struct Context {
    ledger: Option<PathBuf>,
    pub(crate) format: Format,
    pub(crate) layout: Layout,
    pub(crate) verbose: bool,
    offline: bool,
}

/// A moment in the history of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The last event that counts.
    pub(crate) seq: u64,
    /// What the time was.
    pub(crate) now: DateTime<Utc>,
}

impl Context {
    pub(crate) fn new(global: &GlobalArgs) -> Self {
        let stdout = io::stdout();
        let width_columns = stdout
            .is_terminal()
            .then(|| terminal_size::terminal_size_of(&stdout))
            .flatten()
            .map(|(width, _)| usize::from(width.0))
            // A terminal that does not know its size says 0.
            .filter(|width| *width > 0);
        Self {
            ledger: global.ledger.clone().or_else(default_dir),
            format: global.format,
            layout: Layout { width_columns, color: color::wanted(global.color) },
            verbose: global.verbose,
            offline: global.offline,
        }
    }

    /// The directory of the ledger.
    ///
    /// # Errors
    /// When there is neither an option nor a variable nor a home to tell.
    pub(crate) fn ledger_dir(&self) -> Result<PathBuf, CliError> {
        self.ledger.clone().ok_or_else(|| {
            CliError::usage("no ledger is named, and HOME is not set").with_hint("name its directory with --ledger DIR")
        })
    }

    /// The directory of the ledger, which has to be there.
    ///
    /// # Errors
    /// When it is not.
    pub(crate) fn existing_ledger_dir(&self) -> Result<PathBuf, CliError> {
        let dir = self.ledger_dir()?;
        if dir.exists() { Ok(dir) } else { Err(OpenError::Missing { path: dir }.into()) }
    }

    /// The folds of all instances, from the daemon; `None` when there is none, it does not answer, or the journal is to be
    /// read.
    ///
    /// # Errors
    /// When the daemon cannot tell.
    pub(crate) fn streams_of_daemon(&self) -> Result<Option<Vec<Stream>>, CliError> {
        let dir = self.ledger_dir()?;
        let client = if self.offline { None } else { connect(&dir)? };
        let Some(client) = client else { return Ok(None) };
        match streams_of(client) {
            Ok(streams) => {
                self.remark(|| format!("reading {} from its daemon", dir.display()));
                Ok(Some(streams))
            }
            Err(ClientError::Gone(_)) => {
                say("the daemon does not answer; the ledger is read without it");
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Opens the ledger for reading, the best way there is.
    ///
    /// # Errors
    /// When it is missing, of a newer format, damaged, or out of reach.
    pub(crate) fn reader(&self) -> Result<Reader, CliError> {
        let dir = self.ledger_dir()?;
        let access = if self.offline { ReadAccess::Journal } else { ReadAccess::Auto };
        let reader = Reader::open(&dir, access)?;
        self.remark(|| format!("reading {} from its {}", dir.display(), reader.source()));
        Ok(reader)
    }

    /// The moment that `at` means; without one, now.
    ///
    /// # Errors
    /// When the ledger does not reach as far as the sequence number, or cannot be read.
    pub(crate) fn moment(&self, reader: &Reader, at: Option<At>) -> Result<Moment, CliError> {
        let now = SystemClock.now().wall();
        match at {
            // Not the head's size: it stops short of a damage, which must not go unnoticed.
            None => Ok(Moment { seq: u64::MAX, now }),
            Some(At::Time(time)) => Ok(Moment { seq: reader.seq_at(time)?, now: time }),
            Some(At::Ago(ago)) => {
                let time =
                    now.checked_sub_signed(ago).ok_or_else(|| CliError::usage("--at: no such time: too long ago"))?;
                Ok(Moment { seq: reader.seq_at(time)?, now: time })
            }
            Some(At::Seq(0)) => Ok(Moment { seq: 0, now }),
            Some(At::Seq(seq)) => {
                let event = reader.events(seq, seq).next().transpose()?;
                let event = event.ok_or_else(|| beyond_the_end(seq, reader))?;
                Ok(Moment { seq, now: event.stamp.wall() })
            }
        }
    }

    /// Hands standard output to `print`, buffered.
    ///
    /// # Errors
    /// When it cannot be written; see [`CliError`] for a reader that has gone.
    pub(crate) fn print(&self, print: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), CliError> {
        let mut out = BufWriter::new(io::stdout().lock());
        print(&mut out)?;
        Ok(out.flush()?)
    }

    /// Prints `document` as one JSON document.
    ///
    /// # Errors
    /// As [`print`](Self::print).
    pub(crate) fn print_json(&self, document: &impl Serialize) -> Result<(), CliError> {
        self.print(|out| write_json(out, document))
    }

    /// Prints one JSON object a line.
    ///
    /// # Errors
    /// As [`print`](Self::print).
    pub(crate) fn print_jsonl<T: Serialize>(&self, objects: impl IntoIterator<Item = T>) -> Result<(), CliError> {
        self.print(|out| write_jsonl(out, objects))
    }

    /// Says something on standard error, if more was asked for than the result.
    pub(crate) fn remark(&self, text: impl FnOnce() -> String) {
        if self.verbose {
            say(&text());
        }
    }
}

/// Writes `document` as one JSON document.
pub(crate) fn write_json(out: &mut dyn Write, document: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, document)?;
    writeln!(out)
}

/// Writes one JSON object a line.
pub(crate) fn write_jsonl<T: Serialize>(out: &mut dyn Write, objects: impl IntoIterator<Item = T>) -> io::Result<()> {
    for object in objects {
        serde_json::to_writer(&mut *out, &object)?;
        writeln!(out)?;
    }
    Ok(())
}

fn streams_of(mut client: Client) -> Result<Vec<Stream>, ClientError> {
    client.patience(PATIENCE).map_err(ClientError::Gone)?;
    client.ask(Request::Streams, None, None)?;
    let mut streams = Vec::new();
    loop {
        match client.receive()? {
            Received::Bytes(bytes) => streams.push(client::stream(&bytes)?),
            Received::Done(_) => return Ok(streams),
            Received::Progress(_) | Received::Answer(_) => {}
        }
    }
}

fn beyond_the_end(seq: u64, reader: &Reader) -> CliError {
    let size = reader.head().map_or(0, |head| head.size);
    CliError::usage(format!("--at {seq}: the ledger ends with event {size}"))
}

/// Says one line on standard error. Without a standard error there is nobody to tell.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{PREFIX}{}", crate::render::escape::escape(text));
}
