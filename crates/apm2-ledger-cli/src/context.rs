//! What every command has at hand: where the ledger is, how results are printed, what time it is.

use std::{
    io::{self, BufWriter, IsTerminal as _, Write},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use apm2_daemon::{
    client::{self, Client, ClientError, Received},
    owner::{Ownership, ownership},
    protocol::Request,
};
use apm2_ledger::{OpenError, Reader};
use apm2_model::{clock::SystemClock, event::timestamp::Clock as _, state::stream::Stream};
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    daemon::connect,
    error::CliError,
    ledger_dir::default_dir,
    moment::Moment,
    options::{Format, GlobalArgs},
    render::{color, table::Layout, zone::Zone},
    standing::{Scene, Supervision},
    terminal::say,
    time::At,
    view::notice::{Notice, Seqs},
};

/// The exit code where the record is known to lack something.
const INCOMPLETE_CODE: i32 = 4;

/// How long a daemon may be silent that is only asked what can be read without it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The global options, made ready for use.
pub(crate) struct Context {
    ledger: Option<PathBuf>,
    pub(crate) format: Format,
    pub(crate) layout: Layout,
    pub(crate) verbose: bool,
    offline: bool,
    /// What the record of a ledger that was read is known to lack.
    notice: OnceLock<Notice>,
}

/// The folds of all instances, as far as the daemon told.
pub(crate) enum FromDaemon {
    /// All of them.
    Streams(Vec<Stream>),
    /// None: this is why.
    Nothing(Supervision),
}

impl Context {
    pub(crate) fn new(global: &GlobalArgs) -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let width_columns = is_terminal
            .then(|| terminal_size::terminal_size_of(&stdout))
            .flatten()
            .map(|(width, _)| usize::from(width.0))
            // A terminal that does not know its size says 0.
            .filter(|width| *width > 0);
        Self {
            ledger: global.ledger.clone().or_else(default_dir),
            format: global.format,
            layout: Layout { width_columns, color: color::wanted(global.color), zone: Zone::of(is_terminal) },
            verbose: global.verbose,
            offline: global.offline,
            notice: OnceLock::new(),
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

    /// The folds of all instances, from the daemon; nothing when there is none, it does not answer, or the journal is to be
    /// read.
    ///
    /// # Errors
    /// When the daemon cannot tell.
    pub(crate) fn streams_of_daemon(&self) -> Result<FromDaemon, CliError> {
        let dir = self.ledger_dir()?;
        let client = match self.daemon(&dir)? {
            Ok(client) => client,
            Err(supervision) => return Ok(FromDaemon::Nothing(supervision)),
        };
        match streams_of(client) {
            Ok(streams) => {
                self.remark(|| format!("reading {} from its daemon", dir.display()));
                Ok(FromDaemon::Streams(streams))
            }
            Err(ClientError::Gone(_)) => Ok(FromDaemon::Nothing(unanswered())),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the journal is to be read, and no daemon asked.
    pub(crate) const fn is_offline(&self) -> bool {
        self.offline
    }

    /// Who supervises what is in the ledger.
    ///
    /// # Errors
    /// When the socket cannot be used.
    pub(crate) fn supervision(&self) -> Result<Supervision, CliError> {
        let client = match self.daemon(&self.ledger_dir()?)? {
            Ok(client) => client,
            Err(supervision) => return Ok(supervision),
        };
        match hello(client) {
            Ok(()) => Ok(Supervision::Answered),
            Err(ClientError::Gone(_)) => Ok(unanswered()),
            Err(error) => Err(error.into()),
        }
    }

    /// The daemon that can be asked, or who supervises without being asked.
    fn daemon(&self, dir: &Path) -> Result<Result<Client, Supervision>, CliError> {
        if self.offline {
            // Whether there is one, and not a word more.
            let is_there = connect(dir).is_ok_and(|client| client.is_some());
            return Ok(Err(if is_there { Supervision::Unanswered } else { without_socket(dir) }));
        }
        Ok(connect(dir)?.ok_or_else(|| without_socket(dir)))
    }

    /// What is known beside the record about `moment`.
    ///
    /// # Errors
    /// When the end of the record cannot be read.
    pub(crate) fn scene(
        &self,
        moment: Moment,
        supervision: Supervision,
        reader: Option<&Reader>,
    ) -> Result<Scene, CliError> {
        if !moment.is_present {
            return Ok(Scene::past(moment));
        }
        let launched = apm2_daemon::launched(&self.ledger_dir()?).unwrap_or_else(|error| {
            self.remark(|| format!("what is launched cannot be read: {error}"));
            None
        });
        let recorded_until = reader.map(last_time).transpose()?.flatten();
        Ok(Scene { moment, supervision: Some(supervision), launched, recorded_until })
    }

    /// Opens the ledger for reading, without a daemon.
    ///
    /// # Errors
    /// When it is missing, of a newer format, damaged, or out of reach.
    pub(crate) fn reader(&self) -> Result<Reader, CliError> {
        let dir = self.ledger_dir()?;
        let reader = Reader::open(&dir)?;
        self.remark(|| format!("reading {} from its {}", dir.display(), reader.source()));
        if let Some((first, last)) = reader.missing() {
            self.notice.get_or_init(|| {
                let dir = dir.display();
                let message =
                    format!("the journal in {dir} is shorter than it was: events {first} to {last} are missing");
                say(&message);
                say("hint: `apm2-ledger verify` says more; keep a copy of the directory");
                Notice::events_missing(Seqs { first, last }, message)
            });
        }
        Ok(reader)
    }

    /// What is to be known of everything that was read; nothing of a sound ledger.
    pub(crate) fn notice(&self) -> Option<&Notice> {
        self.notice.get()
    }

    /// The code to leave with, of a command that would leave with `code`.
    pub(crate) fn exit_code(&self, code: i32) -> i32 {
        if code == 0 && self.notice().is_some() { INCOMPLETE_CODE } else { code }
    }

    /// The moment that `at` means, which was given with `option`; without one, now.
    ///
    /// # Errors
    /// When the ledger does not reach as far as the sequence number, or cannot be read.
    pub(crate) fn moment(&self, reader: &Reader, at: Option<At>, option: &str) -> Result<Moment, CliError> {
        let now = SystemClock.now().wall();
        match at {
            None => Ok(Moment::present()),
            Some(At::Time(time)) => Ok(Moment::past(reader.seq_at(time)?, time)),
            Some(At::Seq(0)) => Ok(Moment::past(0, now)),
            Some(At::Seq(seq)) => {
                let event = reader.events(seq, seq).next().transpose()?;
                let event = event.ok_or_else(|| beyond_the_end(option, seq, reader))?;
                Ok(Moment::past(seq, event.stamp.wall()))
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

/// Who supervises a ledger on whose socket no daemon listens.
fn without_socket(dir: &Path) -> Supervision {
    match ownership(dir) {
        Ok(Ownership::Process(owner)) if owner.is_daemon() => Supervision::Unanswered,
        // Whoever it is: not to be seen from here does not mean that there is none.
        Ok(Ownership::Unseen) => Supervision::Unanswered,
        Ok(Ownership::Process(_) | Ownership::Free) | Err(_) => Supervision::Absent,
    }
}

/// The time of the last event on record, as far as it is sound.
fn last_time(reader: &Reader) -> Result<Option<DateTime<Utc>>, CliError> {
    let Some(head) = reader.head() else { return Ok(None) };
    Ok(reader.events(head.size, head.size).next().transpose()?.map(|event| event.stamp.wall()))
}

fn unanswered() -> Supervision {
    say("the daemon does not answer; the ledger is read without it");
    Supervision::Unanswered
}

fn hello(mut client: Client) -> Result<(), ClientError> {
    client.set_timeout(PATIENCE).map_err(ClientError::Gone)?;
    client.ask(Request::Hello, None, None)?;
    client.receive().map(drop)
}

fn streams_of(mut client: Client) -> Result<Vec<Stream>, ClientError> {
    client.set_timeout(PATIENCE).map_err(ClientError::Gone)?;
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

fn beyond_the_end(option: &str, seq: u64, reader: &Reader) -> CliError {
    let size = reader.head().map_or(0, |head| head.size);
    CliError::usage(format!("{option} {seq}: the ledger ends with event {size}"))
}
