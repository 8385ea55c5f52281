//! The context of a command: the ledger directory, the output format, and the current time.

use std::{
    collections::HashSet,
    io::{self, BufWriter, IsTerminal as _, Write},
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};

use apm2_daemon::{
    client::{Client, ClientError},
    owner::{Ownership, ownership},
    protocol::{ClientRequest, FailureKind},
    reader::DaemonReader,
};
use apm2_ledger::{EventQuery, EventsQuestion, MissingArchive, OpenError, ReadLedger, Reader};
use apm2_model::{clock::SystemClock, event::timestamp::Clock as _, spec::id::ProcessId};
use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{
    daemon::connect,
    error::CliError,
    ledger_dir::default_dir,
    moment::Moment,
    options::{Format, FormatArg, GlobalArgs},
    render::{color, table::Layout, zone::Zone},
    source::{LedgerSource, ReadFailure},
    status::{StatusContext, Supervision},
    terminal::say,
    time::At,
    view::notice::{Notice, Seqs},
};

/// The exit code when the ledger is known to lack events.
const INCOMPLETE_CODE: i32 = 4;

/// Timeout for a request to the daemon, if the journal can be read instead.
const DAEMON_TIMEOUT: Duration = Duration::from_secs(2);

/// The global options in their final form, with defaults applied.
#[derive(Clone)]
pub(crate) struct Context {
    ledger: Option<PathBuf>,
    pub(crate) format: Format,
    /// Whether a picture is asked for in place of text (`--format svg`).
    pub(crate) is_svg: bool,
    pub(crate) layout: Layout,
    pub(crate) verbose: bool,
    offline: bool,
    /// The events that are known to be missing from the ledger that was read; `None` if none are missing.
    notice: OnceLock<Notice>,
}

/// Why a question was not answered by a daemon.
pub(crate) enum NoAnswer {
    /// No daemon can be asked, or it did not answer.
    Supervision(Supervision),
    /// The daemon refuses to answer, or its socket cannot be used.
    Refused(CliError),
}

impl Context {
    pub(crate) fn new(global: &GlobalArgs) -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        let width_columns = is_terminal
            .then(|| terminal_size::terminal_size_of(&stdout))
            .flatten()
            .map(|(width, _)| usize::from(width.0))
            // A terminal of unknown size reports 0 columns.
            .filter(|width| *width > 0);
        Self {
            ledger: global.ledger.clone().or_else(default_dir),
            format: global.format.into(),
            is_svg: global.format == FormatArg::Svg,
            layout: Layout { width_columns, color: color::wanted(global.color), zone: Zone::of(is_terminal) },
            verbose: global.verbose,
            offline: global.offline,
            notice: OnceLock::new(),
        }
    }

    /// The ledger directory. The directory may not exist.
    ///
    /// # Errors
    /// There is no option, no environment variable and no home directory from which the path follows.
    pub(crate) fn ledger_dir(&self) -> Result<PathBuf, CliError> {
        self.ledger.clone().ok_or_else(|| {
            CliError::usage("no ledger is named, and HOME is not set").with_hint("name its directory with --ledger DIR")
        })
    }

    /// The ledger directory, which must exist.
    ///
    /// # Errors
    /// The directory does not exist.
    pub(crate) fn existing_ledger_dir(&self) -> Result<PathBuf, CliError> {
        let dir = self.ledger_dir()?;
        if dir.exists() { Ok(dir) } else { Err(OpenError::Missing { path: dir }.into()) }
    }

    /// Reads the ledger with `ask`: through the daemon, else from the journal, for which `ask` is called again. Returns also
    /// whether a daemon supervises the processes.
    ///
    /// # Errors
    /// Those of `ask`, or the journal cannot be read.
    pub(crate) fn read<T>(
        &self,
        ask: impl Fn(&LedgerSource) -> Result<T, ReadFailure>,
    ) -> Result<(T, Supervision), CliError> {
        self.read_supervised(|source, supervision| Ok((ask(source)?, supervision)))
    }

    /// Like [`read`](Self::read), for an `ask` that needs to know whether a daemon supervises the processes.
    ///
    /// # Errors
    /// Those of [`read`](Self::read).
    pub(crate) fn read_supervised<T>(
        &self,
        ask: impl Fn(&LedgerSource, Supervision) -> Result<T, ReadFailure>,
    ) -> Result<T, CliError> {
        let supervision = match self.read_from_daemon(|source| ask(source, Supervision::Answered))? {
            Ok(answer) => return Ok(answer),
            Err(NoAnswer::Supervision(supervision)) => supervision,
            Err(NoAnswer::Refused(error)) => {
                say(&format!("{}; the ledger is read without the daemon", error.message()));
                Supervision::Unanswered
            }
        };
        self.read_from_journal(|source| ask(source, supervision))
    }

    /// Reads the ledger with `ask` through the daemon.
    ///
    /// # Errors
    /// Those of `ask`. The inner error is that of the daemon.
    pub(crate) fn read_from_daemon<T>(
        &self,
        ask: impl Fn(&LedgerSource) -> Result<T, ReadFailure>,
    ) -> Result<Result<T, NoAnswer>, CliError> {
        let dir = self.ledger_dir()?;
        let client = match self.daemon(&dir) {
            Ok(Ok(client)) => client,
            Ok(Err(supervision)) => return Ok(Err(NoAnswer::Supervision(supervision))),
            Err(error) => return Ok(Err(NoAnswer::Refused(error))),
        };
        match ask(&LedgerSource::Daemon(DaemonReader::new(client, &dir, DAEMON_TIMEOUT))) {
            Ok(answer) => {
                self.remark(|| format!("reading {} from its daemon", dir.display()));
                Ok(Ok(answer))
            }
            Err(ReadFailure::Command(error)) => Err(error),
            Err(ReadFailure::Daemon(ClientError::Gone(_))) => Ok(Err(NoAnswer::Supervision(unanswered()))),
            // A daemon of an earlier version does not understand the question.
            Err(ReadFailure::Daemon(ClientError::Refused { kind: FailureKind::Usage, .. })) => {
                self.remark(|| "the daemon is of an earlier version, which cannot be asked this".to_owned());
                Ok(Err(NoAnswer::Supervision(Supervision::Answered)))
            }
            Err(ReadFailure::Daemon(error)) => Ok(Err(NoAnswer::Refused(error.into()))),
        }
    }

    /// Reads the ledger with `ask` from the journal.
    ///
    /// # Errors
    /// Those of `ask`, or the journal cannot be read.
    pub(crate) fn read_from_journal<T>(
        &self,
        ask: impl Fn(&LedgerSource) -> Result<T, ReadFailure>,
    ) -> Result<T, CliError> {
        Ok(ask(&LedgerSource::Journal(self.reader()?))?)
    }

    /// Whether to read the journal without a connection to a daemon (`--offline`).
    pub(crate) const fn is_offline(&self) -> bool {
        self.offline
    }

    /// Whether a daemon supervises the processes in the ledger.
    ///
    /// # Errors
    /// The socket cannot be used.
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

    /// A connection to the daemon; the supervision status if no request can be sent to the daemon.
    fn daemon(&self, dir: &Path) -> Result<Result<Client, Supervision>, CliError> {
        if self.offline {
            // Checks only whether a daemon runs. No request is sent to the daemon.
            let is_there = connect(dir).is_ok_and(|client| client.is_some());
            return Ok(Err(if is_there { Supervision::Unanswered } else { without_socket(dir) }));
        }
        Ok(connect(dir)?.ok_or_else(|| without_socket(dir)))
    }

    /// The facts that are needed to display `moment` in addition to the recorded events. `recorded_until` is the time of the
    /// last event, if no daemon answers.
    ///
    /// # Errors
    /// No directory of a ledger is known.
    pub(crate) fn status_context(
        &self,
        moment: Moment,
        supervision: Supervision,
        recorded_until: Option<DateTime<Utc>>,
    ) -> Result<StatusContext, CliError> {
        if !moment.is_present {
            return Ok(StatusContext::past(moment));
        }
        let launched = self.launched()?;
        Ok(StatusContext { moment, supervision: Some(supervision), launched, recorded_until })
    }

    /// The ids of the processes that the current daemon or the next daemon supervises; `None` when unknown.
    ///
    /// # Errors
    /// No directory of a ledger is known.
    pub(crate) fn launched(&self) -> Result<Option<HashSet<ProcessId>>, CliError> {
        Ok(apm2_daemon::launched(&self.ledger_dir()?).unwrap_or_else(|error| {
            self.remark(|| format!("the launch files cannot be read: {error}"));
            None
        }))
    }

    /// Opens the ledger read-only, without a daemon.
    ///
    /// # Errors
    /// The ledger is missing, in a newer format, damaged, or not readable.
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

    /// Notes that the result lacks the events of these archives, which do not exist.
    pub(crate) fn note_missing(&self, archives: &[MissingArchive]) {
        let Some((first, last)) = archives.iter().fold(None, |seqs, archive| {
            let (first, last) = seqs.unwrap_or((archive.first_seq, archive.last_seq));
            Some((archive.first_seq.min(first), archive.last_seq.max(last)))
        }) else {
            return;
        };
        self.notice.get_or_init(|| {
            let of_archive = |archive: &MissingArchive| {
                let MissingArchive { path, first_seq, last_seq } = archive;
                format!("events {first_seq} to {last_seq} are in the archive {}", path.display())
            };
            let parts: Vec<String> = archives.iter().map(of_archive).collect();
            let message = format!("{}, which is missing; the result is without them", parts.join("; "));
            say(&message);
            Notice::events_missing(Seqs { first, last }, message)
        });
    }

    /// The notice about the ledger that was read; `None` when the ledger is intact.
    pub(crate) fn notice(&self) -> Option<&Notice> {
        self.notice.get()
    }

    /// The exit code of a command: `code`, or the code for an incomplete ledger if `code` is 0.
    pub(crate) fn exit_code(&self, code: i32) -> i32 {
        if code == 0 && self.notice().is_some() { INCOMPLETE_CODE } else { code }
    }

    /// The moment for `at`, the value of the option `option`. If `at` is `None`, the moment is the present.
    ///
    /// # Errors
    /// The ledger ends before the sequence number, or cannot be read.
    pub(crate) fn moment<L: ReadLedger>(&self, ledger: &L, at: Option<At>, option: &str) -> Result<Moment, ReadFailure>
    where
        ReadFailure: From<L::Error>,
    {
        match at {
            None => Ok(Moment::present()),
            Some(At::Time(time)) => Ok(Moment::past(ledger.seq_at(time, u64::MAX)?, time)),
            Some(At::Seq(seq)) => {
                let mut wall = None;
                // Before the first event, the time is that of the first event.
                let dated = seq.max(1);
                ledger.events(&EventsQuestion::all(EventQuery::default(), (dated, dated)), &mut |event| {
                    wall = Some(event.stamp.wall());
                    ControlFlow::Continue(())
                })?;
                match wall {
                    None if seq == 0 => Ok(Moment::past(0, SystemClock.now().wall())),
                    Some(wall) => Ok(Moment::past(seq, wall)),
                    None => Err(beyond_the_end(option, seq, ledger.head()?.size).into()),
                }
            }
        }
    }

    /// Calls `print` with a buffered standard output.
    ///
    /// # Errors
    /// Standard output cannot be written; see [`CliError`] for a closed pipe.
    pub(crate) fn print(&self, print: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), CliError> {
        let mut out = BufWriter::new(io::stdout().lock());
        print(&mut out)?;
        Ok(out.flush()?)
    }

    /// Prints `document` as one JSON document.
    ///
    /// # Errors
    /// Those of [`print`](Self::print).
    pub(crate) fn print_json(&self, document: &impl Serialize) -> Result<(), CliError> {
        self.print(|out| write_json(out, document))
    }

    /// Prints JSON objects, one per line.
    ///
    /// # Errors
    /// Those of [`print`](Self::print).
    pub(crate) fn print_jsonl<T: Serialize>(&self, objects: impl IntoIterator<Item = T>) -> Result<(), CliError> {
        self.print(|out| write_jsonl(out, objects))
    }

    /// Prints a message on standard error with `--verbose`.
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

/// Writes an array of the objects `texts`, which are JSON in the form of [`write_json`], in that form.
pub(crate) fn write_json_texts<'a>(out: &mut dyn Write, texts: impl IntoIterator<Item = &'a String>) -> io::Result<()> {
    let mut is_empty = true;
    for text in texts {
        out.write_all(if is_empty { b"[\n  " } else { b",\n  " })?;
        is_empty = false;
        // A string in JSON has no line break.
        out.write_all(text.replace('\n', "\n  ").as_bytes())?;
    }
    writeln!(out, "{}", if is_empty { "[]" } else { "\n]" })
}

/// Writes JSON objects, one per line.
pub(crate) fn write_jsonl<T: Serialize>(out: &mut dyn Write, objects: impl IntoIterator<Item = T>) -> io::Result<()> {
    for object in objects {
        serde_json::to_writer(&mut *out, &object)?;
        writeln!(out)?;
    }
    Ok(())
}

/// The supervision status when no daemon listens on the ledger's socket.
fn without_socket(dir: &Path) -> Supervision {
    match ownership(dir) {
        Ok(Ownership::Process(owner)) if owner.is_daemon() => Supervision::Unanswered,
        // A process outside this pid namespace may hold the ledger's lock.
        Ok(Ownership::Unseen) => Supervision::Unanswered,
        Ok(Ownership::Process(_) | Ownership::Free) | Err(_) => Supervision::Absent,
    }
}

fn unanswered() -> Supervision {
    say("the daemon does not answer; the ledger is read without it");
    Supervision::Unanswered
}

fn hello(mut client: Client) -> Result<(), ClientError> {
    client.set_timeout(DAEMON_TIMEOUT).map_err(ClientError::Gone)?;
    client.ask(ClientRequest::Hello, None, None)?;
    client.receive().map(drop)
}

fn beyond_the_end(option: &str, seq: u64, size: u64) -> CliError {
    CliError::usage(format!("{option} {seq}: the ledger ends with event {size}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_array_of_texts_has_the_form_of_an_array_of_values() {
        for values in [vec![], vec![json!({"a": "x\ny", "b": [1, {}]})], vec![json!({}), json!({"c": [], "d": null})]] {
            let (mut expected, mut found) = (Vec::new(), Vec::new());
            write_json(&mut expected, &values).unwrap();
            let texts: Vec<String> = values.iter().map(|value| serde_json::to_string_pretty(value).unwrap()).collect();
            write_json_texts(&mut found, &texts).unwrap();
            assert_eq!(String::from_utf8(found).unwrap(), String::from_utf8(expected).unwrap());
        }
    }
}
