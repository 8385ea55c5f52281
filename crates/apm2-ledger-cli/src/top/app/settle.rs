//! What follows from changes, once before each frame: the list, the selection, the text, and what has to be asked.

use std::time::Duration;

use apm2_model::state::stream::FollowUp;

use crate::top::{
    app::{App, totals::Totals},
    message::{DetailKey, Question},
    regions::Focus,
};

/// Interval of frames while the screen shows seconds.
const SECOND: Duration = Duration::from_secs(1);

/// Interval of frames otherwise.
const QUIET_INTERVAL: Duration = Duration::from_secs(30);

/// Age below which an uptime is shown with its seconds.
const UPTIME_WITH_SECONDS: i64 = 3600;

impl App {
    /// Brings everything in line with what has changed.
    pub(crate) fn settle(&mut self) {
        if std::mem::take(&mut self.is_list_stale) {
            self.refresh_list();
        }
        if self.facts_due.is_some_and(|due| due <= self.now.open_for) {
            self.facts_due = None;
            self.outbox.questions.extend(self.live.as_ref().map(|live| Question::Facts(live.unsupervised())));
        }
        self.refresh_detail();
        let Some(regions) = self.regions() else { return };
        self.list.scroll_into_view(usize::from(regions.rows.height));
        self.detail.view.fit(self.detail.lines.len(), usize::from(regions.text.height));
    }

    fn refresh_list(&mut self) {
        // The fields are borrowed one by one.
        let shown = self.past.as_ref().map(|past| &past.snapshot).or(self.live.as_ref());
        if let Some(snapshot) = shown {
            self.list.refresh(snapshot);
            self.totals = Totals::of(snapshot);
        }
        if self.list.rows.is_empty() {
            self.focus = Focus::List;
        }
    }

    fn refresh_detail(&mut self) {
        let shown = self.past.as_ref().map(|past| &past.snapshot).or(self.live.as_ref());
        let Some(snapshot) = shown else { return };
        let upto = if snapshot.context.moment.is_present { u64::MAX } else { snapshot.seq };
        let id = self.list.selected();
        self.detail.show(id.map(|id| DetailKey { id, upto }));
        let stream = id.and_then(|id| snapshot.states.get(&id));
        if let Some(request) = self.detail.log_request(stream, snapshot, &self.logs_dir) {
            self.outbox.logs = Some(request);
        }
        self.outbox.questions.extend(self.detail.question(self.now.open_for));
        self.detail.refresh(snapshot, self.setting.zone, usize::from(self.size.width));
    }

    /// The longest time until the screen has to be updated without a message.
    pub(crate) fn wait_max(&self) -> Duration {
        let interval = if self.shows_seconds() { SECOND } else { QUIET_INTERVAL };
        let facts = self.facts_due.map(|due| due.saturating_sub(self.now.open_for));
        let detail = self.detail.wait(self.now.open_for);
        [facts, detail].into_iter().flatten().fold(interval, Duration::min)
    }

    /// Whether a row that is visible, or the note, changes each second.
    fn shows_seconds(&self) -> bool {
        let Some(snapshot) = self.shown() else { return true };
        if !snapshot.context.moment.is_present || self.note().is_some() {
            return true;
        }
        let height = self.regions().map_or(0, |regions| usize::from(regions.rows.height));
        let mut visible = self.list.rows.iter().skip(self.list.top).take(height);
        visible.any(|id| {
            snapshot.states.get(id).is_some_and(|stream| {
                matches!(stream.follow_up, FollowUp::Restart { .. })
                    || stream.handle.uptime_secs_at(self.now.wall).is_some_and(|secs| secs < UPTIME_WITH_SECONDS)
            })
        })
    }
}
