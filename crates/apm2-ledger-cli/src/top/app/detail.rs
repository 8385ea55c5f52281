//! The detail pane: what is shown of the selected process, and what has to be asked for it.

use std::{path::PathBuf, time::Duration};

use apm2_core::log::LogsDir;
use apm2_model::state::stream::Stream;

use crate::{
    history::InstanceHistory,
    render::{color::Style, zone::Zone},
    top::{
        app::{logs::Logs, search::Search, text_view::TextView},
        feed::log_update::{LogTarget, LogUpdate},
        message::{DetailKey, Question},
        pages,
        snapshot::Snapshot,
        tabs::Tab,
        text::StyledLine,
    },
    why::evidence::Evidence,
};

/// Least time between two questions about the same process, however many events it has.
const ASK_INTERVAL: Duration = Duration::from_millis(500);

/// Time after a failure until the question is asked again, in addition to the interval.
const FAILED_DELAY: Duration = Duration::from_secs(5);

/// The detail pane.
#[derive(Debug, Default)]
pub(crate) struct Detail {
    pub(crate) tab: Tab,
    /// The process and the event that are to be shown; `None` when no process is selected.
    key: Option<DetailKey>,
    history: Option<(DetailKey, Option<InstanceHistory>)>,
    why: Option<(DetailKey, Option<Evidence>)>,
    pub(crate) logs: Logs,
    /// Whether logs of agents are shown as they were written.
    pub(crate) is_raw: bool,
    /// The text that is shown.
    pub(crate) lines: Vec<StyledLine>,
    pub(crate) view: TextView,
    pub(crate) search: Search,
    /// The question that was not answered yet.
    asked: Option<Question>,
    /// When the last question was asked.
    asked_at: Option<Duration>,
    /// Whether events of the process came since the last question.
    is_stale: bool,
    /// Whether the lines have to be made again.
    is_changed: bool,
}

impl Detail {
    /// Shows another tab, from its beginning or its end.
    pub(crate) fn show_tab(&mut self, tab: Tab) {
        self.tab = tab;
        self.view = if matches!(tab, Tab::Events | Tab::Logs) { TextView::END } else { TextView::BEGINNING };
        self.is_changed = true;
        self.asked_at = None;
        self.search.forget_place();
    }

    /// Shows a process after an event.
    pub(crate) fn show(&mut self, key: Option<DetailKey>) {
        if self.key == key {
            return;
        }
        if self.key.map(|key| key.id) != key.map(|key| key.id) {
            self.show_tab(self.tab);
        }
        self.key = key;
        self.is_changed = true;
        self.is_stale = false;
        self.asked = None;
        self.asked_at = None;
    }

    /// Notes that there are new events of the process that is shown.
    pub(crate) const fn note_events(&mut self) {
        self.is_stale = true;
    }

    /// Whether the text is not that of the process and the moment that are to be shown.
    pub(crate) fn is_loading(&self) -> bool {
        self.key.is_some() && !matches!(self.tab, Tab::Logs) && self.shown() != self.key
    }

    /// What the text of the tab is about.
    fn shown(&self) -> Option<DetailKey> {
        match self.tab {
            Tab::Runs | Tab::Events => self.history.as_ref().map(|(key, _)| *key),
            Tab::Why => self.why.as_ref().map(|(key, _)| *key),
            Tab::Logs => self.key,
        }
    }

    /// The question that has to be asked now.
    pub(crate) fn question(&mut self, open_for: Duration) -> Option<Question> {
        let question = match (self.tab, self.key?) {
            (Tab::Runs | Tab::Events, key) => Question::History(key),
            (Tab::Why, key) => Question::Why(key),
            (Tab::Logs, _) => return None,
        };
        if self.asked.as_ref() == Some(&question) || !(self.is_loading() || self.is_stale) {
            return None;
        }
        if self.wait(open_for).is_some_and(|wait| !wait.is_zero()) {
            return None;
        }
        self.asked = Some(question.clone());
        self.asked_at = Some(open_for);
        self.is_stale = false;
        Some(question)
    }

    /// The time until the next question may be asked; `None` when there is no question.
    pub(crate) fn wait(&self, open_for: Duration) -> Option<Duration> {
        let is_wanted = self.key.is_some() && self.tab != Tab::Logs && (self.is_loading() || self.is_stale);
        let due = self.asked_at.map_or(Duration::ZERO, |at| at + ASK_INTERVAL);
        (is_wanted && self.asked.is_none()).then(|| due.saturating_sub(open_for))
    }

    /// Takes the answer about runs and events.
    pub(crate) fn take_history(&mut self, key: DetailKey, history: Option<InstanceHistory>) {
        self.answered(&Question::History(key));
        if self.key == Some(key) {
            self.history = Some((key, history));
            self.is_changed = true;
        }
    }

    /// Takes the answer about causes.
    pub(crate) fn take_why(&mut self, key: DetailKey, evidence: Option<Evidence>) {
        self.answered(&Question::Why(key));
        if self.key == Some(key) {
            self.why = Some((key, evidence));
            self.is_changed = true;
        }
    }

    /// Takes output.
    pub(crate) fn take_logs(&mut self, update: LogUpdate) {
        self.is_changed |= self.logs.take(update) && self.tab == Tab::Logs;
    }

    /// Notes that a question is not under way any more.
    pub(crate) fn answered(&mut self, question: &Question) {
        if self.asked.as_ref() == Some(question) {
            self.asked = None;
        }
    }

    /// Notes that a question has failed. It is asked again later.
    pub(crate) fn failed(&mut self, question: &Question, open_for: Duration) {
        if self.asked.as_ref() == Some(question) {
            self.asked = None;
            self.asked_at = Some(open_for + FAILED_DELAY);
        }
    }

    /// The output that has to be read from now on: the inner value is `None` when none has to be. `None` if nothing changes.
    pub(crate) fn log_request(
        &mut self,
        stream: Option<&Stream>,
        snapshot: &Snapshot,
        logs_dir: &LogsDir,
    ) -> Option<Option<LogTarget>> {
        let wanted = stream.filter(|_| self.tab == Tab::Logs).map(|stream| LogTarget {
            id: stream.id,
            files: files(stream, logs_dir),
            until: (!snapshot.context.moment.is_present).then_some(snapshot.context.moment.now),
            is_pretty: stream.agent.is_some() && !self.is_raw,
        });
        if self.logs.target == wanted {
            return None;
        }
        match &wanted {
            Some(target) => self.logs.show(target.clone()),
            None => self.logs = Logs::default(),
        }
        self.is_changed = true;
        Some(wanted)
    }

    /// Notes that the width of the pane, or a time in its text, has changed.
    pub(crate) const fn redo(&mut self) {
        self.is_changed = true;
    }

    /// Makes the lines again, if what they show has changed.
    pub(crate) fn refresh(&mut self, snapshot: &Snapshot, zone: Zone, columns: usize) {
        if !std::mem::take(&mut self.is_changed) {
            return;
        }
        let now = snapshot.context.moment.now;
        let text = |text: &str| vec![StyledLine::new(text, Style::Quiet)];
        let not_yet = || text("it did not exist yet");
        self.lines = match (self.tab, &self.history, &self.why) {
            _ if self.key.is_none() => text("no process is selected"),
            (Tab::Logs, ..) => pages::logs::lines(&self.logs),
            (Tab::Runs, Some((key, history)), _) if self.is_of_same_process(*key) => history
                .as_ref()
                .map_or_else(not_yet, |history| pages::runs::lines(history, &snapshot.status(&history.stream), zone)),
            (Tab::Events, Some((key, history)), _) if self.is_of_same_process(*key) => {
                history.as_ref().map_or_else(not_yet, |history| pages::events::lines(history, zone, now))
            }
            (Tab::Why, _, Some((key, evidence))) if self.is_of_same_process(*key) => {
                evidence.as_ref().map_or_else(not_yet, |evidence| {
                    pages::why::lines(evidence, &snapshot.status(&evidence.stream), zone, columns)
                })
            }
            _ => text("reading…"),
        };
    }

    /// Scrolls to the next line that was searched for, or to the one before. False if there is none.
    pub(crate) fn show_found(&mut self, is_next: bool) -> bool {
        let found = self.search.go_on(&self.lines, is_next);
        if let Some(found) = found {
            self.view.follows = false;
            self.view.top = found.saturating_sub(1);
        }
        found.is_some()
    }

    /// Whether the text is of the selected process, perhaps at another moment. It is shown until the right one was read.
    fn is_of_same_process(&self, key: DetailKey) -> bool {
        self.key.is_some_and(|wanted| wanted.id == key.id)
    }
}

/// The log files of an instance, each once.
fn files(stream: &Stream, logs_dir: &LogsDir) -> Vec<(apm2_model::event::kind::OutputSource, PathBuf)> {
    let spec = &stream.handle.spec;
    let files = logs_dir.files(&spec.log, &spec.name, stream.id.instance);
    files.all().map(|(output, path)| (output, path.to_owned())).collect()
}

impl Default for TextView {
    fn default() -> Self {
        Self::BEGINNING
    }
}
