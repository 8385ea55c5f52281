//! Reads the output of an agent, line by line.

use std::borrow::Cow;

use apm2_model::{
    event::{
        agent::{
            event::{AgentEvent, AgentPhase, SkippedLines},
            label::Label,
            usage::TokenUsage,
        },
        exit::Exit,
        kind::OutputSource,
        timestamp::Timestamp,
    },
    spec::agent_kind::AgentKind,
};

use crate::{
    detect,
    dialect::{Context, Dialect, Line, Use},
    record::OnRecord,
    tracker::Tracker,
    verdict,
};

/// Longest time stamp that is taken off the beginning of a line (`log.timestamps`), in bytes.
const STAMP_BYTES_MAX: usize = 40;

/// The part of a line of standard error that is read, in bytes.
const ERROR_LINE_BYTES_MAX: usize = 4096;

/// Reads the output of one instance of an agent, over all of its runs.
///
/// For each run call [`begin_run`](Self::begin_run), [`line`](Self::line) for each line in the order of the output, and
/// [`end`](Self::end). No call blocks, reads a clock or does I/O, and no line makes it panic.
#[derive(Debug)]
pub struct AgentReader {
    /// The kind from the specification; `None` if it is found out.
    fixed: Option<AgentKind>,
    /// The kind by the name of the program, which the first line of JSON confirms or corrects.
    guess: Option<AgentKind>,
    utc_offset_secs: i32,
    dialect: Option<Dialect>,
    tracker: Tracker,
}

impl AgentReader {
    /// A reader of the output of this kind of agent. `utc_offset_secs` is the time zone of the agent, in seconds east of UTC: Codex CLI
    /// gives the reset of a limit as a local time of day.
    #[must_use]
    pub fn new(kind: AgentKind, utc_offset_secs: i32) -> Self {
        Self {
            fixed: Some(kind),
            guess: None,
            utc_offset_secs,
            dialect: Some(Dialect::new(kind)),
            tracker: Tracker::default(),
        }
    }

    /// A reader that finds out the kind: from the name of the program, which may be a path, and from its first line of JSON. A program
    /// that prints no such line is no agent, and has no events unless it fails with a message of the agent whose name it has.
    #[must_use]
    pub fn auto(program: &str, utc_offset_secs: i32) -> Self {
        let guess = AgentKind::of_program(program);
        let dialect = guess.map(Dialect::new);
        Self { fixed: None, guess, utc_offset_secs, dialect, tracker: Tracker::default() }
    }

    /// The kind of the agent, as far as it is known.
    #[must_use]
    pub fn kind(&self) -> Option<AgentKind> {
        self.dialect.as_ref().map(Dialect::kind)
    }

    /// A run begins, or goes on after a restart of the supervisor. The record gives the session that the run may resume, and for a run
    /// that goes on what it did so far.
    pub fn begin_run(&mut self, record: OnRecord) {
        let is_confirmed = self.tracker.is_known || record.run.as_ref().is_some_and(|run| run.is_session_started);
        let kind = self.fixed.or(if is_confirmed { self.kind() } else { self.guess });
        self.guess = kind;
        self.dialect = kind.map(Dialect::new);
        self.tracker = Tracker::new(record);
    }

    /// Reads a line, without its line feed. `is_cut` says that the line was too long and only its beginning is here.
    pub fn line(&mut self, source: OutputSource, bytes: &[u8], is_cut: bool, now: Timestamp) -> Vec<AgentEvent> {
        self.tracker.tick(now);
        let context = Context { now, utc_offset_secs: self.utc_offset_secs };
        match source {
            OutputSource::Stdout => self.output_line(bytes, is_cut, context),
            OutputSource::Stderr => self.error_line(bytes),
        }
        self.tracker.take()
    }

    /// The run has ended, and its last line was read. `was_stopped` says that the supervisor had asked the run to stop.
    pub fn end(&mut self, exit: Option<&Exit>, was_stopped: bool, now: Timestamp) -> Vec<AgentEvent> {
        let Some(dialect) = &mut self.dialect else { return Vec::new() };
        let kind = dialect.kind();
        let is_confirmed = self.fixed.is_some() || self.tracker.is_known;
        if !is_confirmed {
            let is_failure = exit.is_none_or(|exit| !exit.is_success());
            if !is_failure || was_stopped || self.tracker.pending.is_none() {
                return Vec::new();
            }
        }
        dialect.end(&mut self.tracker);
        let skipped = std::mem::take(&mut self.tracker.skipped);
        if is_confirmed && skipped != SkippedLines::default() {
            self.tracker.push(AgentEvent::LinesSkipped(skipped));
        }
        if !self.tracker.is_finished() {
            let (outcome, failure) = verdict::of_exit(kind, exit, was_stopped, self.tracker.pending);
            self.tracker.finish(outcome, failure, false, now);
        }
        self.tracker.take()
    }

    /// What the agent does, for limits of the time without output.
    #[must_use]
    pub fn phase(&self) -> AgentPhase {
        self.tracker.phase()
    }

    /// The tool in progress; of several the one that was called last.
    #[must_use]
    pub fn tool_in_progress(&self) -> Option<&Label> {
        self.tracker.tools.in_progress()
    }

    /// The number of tasks in the background. While there are some, an agent may go on after its result.
    #[must_use]
    pub fn background_tasks(&self) -> u32 {
        self.tracker.background.count()
    }

    /// The tokens of the turn in progress, as far as the agent has said them.
    #[must_use]
    pub const fn usage_in_turn(&self) -> TokenUsage {
        self.tracker.messages.sum()
    }

    /// How often the last tool call was made in a row with the same arguments; 0 before the first call.
    #[must_use]
    pub fn loop_count(&self) -> u32 {
        self.tracker.tools.repeats()
    }

    fn output_line(&mut self, bytes: &[u8], is_cut: bool, context: Context) {
        let text = match str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            // The cut may be in the middle of a character.
            Err(error) if is_cut => {
                Cow::Borrowed(str::from_utf8(bytes.get(..error.valid_up_to()).unwrap_or_default()).unwrap_or_default())
            }
            Err(_) => String::from_utf8_lossy(bytes),
        };
        let text = without_stamp(text.trim());
        if is_cut {
            count(&mut self.tracker.skipped.cut);
        }
        if text.is_empty() {
            return;
        }
        if !text.starts_with('{') {
            if !is_cut {
                count(&mut self.tracker.skipped.invalid);
            }
            return;
        }
        self.choose(text);
        let Some(dialect) = &mut self.dialect else {
            count(&mut self.tracker.skipped.unknown);
            return;
        };
        match dialect.line(&mut self.tracker, Line { text, is_cut, context }) {
            Use::Known => self.tracker.is_known = true,
            Use::Unknown if !is_cut => count(&mut self.tracker.skipped.unknown),
            Use::Invalid if !is_cut => count(&mut self.tracker.skipped.invalid),
            Use::Unknown | Use::Invalid => {}
        }
    }

    /// Finds out the kind, until a line was read of which it is known.
    fn choose(&mut self, text: &str) {
        if self.fixed.is_some() || self.tracker.is_known {
            return;
        }
        if let Some(kind) = detect::of_line(text)
            && self.kind() != Some(kind)
        {
            self.dialect = Some(Dialect::new(kind));
        }
    }

    fn error_line(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes.get(..ERROR_LINE_BYTES_MAX).unwrap_or(bytes));
        if let Some(dialect) = &mut self.dialect {
            dialect.error_line(&mut self.tracker, without_color(text.trim_end()));
        }
    }
}

fn count(lines: &mut u64) {
    *lines = lines.saturating_add(1);
}

/// The line without the time stamp that a log puts before it: digits and punctuation up to a space and the object.
fn without_stamp(text: &str) -> &str {
    if !text.starts_with(|character: char| character.is_ascii_digit()) {
        return text;
    }
    match text.split_once(' ') {
        Some((stamp, rest)) if stamp.len() <= STAMP_BYTES_MAX && rest.starts_with('{') => rest,
        _ => text,
    }
}

/// The line without the escape sequence of a color at its beginning.
fn without_color(text: &str) -> &str {
    let Some(rest) = text.strip_prefix("\u{1b}[") else { return text };
    rest.split_once('m').map_or(text, |(_, rest)| rest)
}
