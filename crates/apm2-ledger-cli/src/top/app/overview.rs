//! The overview: what happened lately, for all processes.

use apm2_lanes::lane_state::is_down;
use apm2_model::state::stream::Stream;

use crate::{
    moment::Moment,
    time::At,
    top::{app::App, message::Question, pages, regions, text::StyledLine},
};

impl App {
    /// Asks for what happened until the moment that is shown.
    pub(super) fn ask_overview(&mut self) {
        self.overview = None;
        let Some(snapshot) = self.shown() else { return };
        let moment = snapshot.context.moment;
        let until = match moment {
            Moment { is_present: true, .. } => None,
            // It ends in the time without a daemon, after the last event.
            Moment { is_unwatched: true, now, .. } => Some(At::Time(now)),
            Moment { .. } => Some(At::Seq(snapshot.seq)),
        };
        let is_named = |stream: &&Stream| snapshot.context.is_kept(stream) && is_down(stream);
        let down = snapshot.states.values().filter(is_named).map(|stream| stream.id).collect();
        self.outbox.questions.push(Question::Overview { until, down });
    }

    /// The lines of the overview; none until it was read.
    pub(crate) fn overview_lines(&self) -> Vec<StyledLine> {
        let columns = usize::from(regions::overview_columns(self.size));
        self.overview
            .as_ref()
            .map(|timeline| pages::overview::lines(timeline, self.setting.zone, columns))
            .unwrap_or_default()
    }
}
