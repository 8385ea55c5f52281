//! The characters and colours of a timeline. Each state and each mark has a shape of its own, so that no colour is needed.

use std::env;

use apm2_lanes::{
    lane_state::LaneState,
    lanes::Lane,
    mark::{MarkClass, MarkCounts},
    span::Span,
};

use crate::render::{color::Style, table::cut};

/// From this number of crashes in one column on, the number is not shown any more.
pub(crate) const CRASHES_SHOWN_MAX: u32 = 9;

/// The set of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Glyphs {
    /// Block characters and symbols of Unicode.
    Unicode,
    /// Characters of ASCII only.
    Ascii,
}

/// What a character of a timeline stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Shown {
    /// A state of a process.
    State(LaneState),
    /// A mark.
    Mark(MarkClass),
    /// Several crashes and failed starts.
    Crashes(u32),
    /// No supervisor ran, and the last known state of the process is one in which it is alive, or not.
    Unwatched { is_alive: bool },
    /// No supervisor ran, in the line of the daemon.
    NoDaemon,
}

impl Glyphs {
    /// The characters for the terminal that `TERM` names. A dumb one shows ASCII only.
    pub(crate) fn of_terminal(is_ascii: bool) -> Self {
        let is_dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        if is_ascii || is_dumb { Self::Ascii } else { Self::Unicode }
    }

    /// The text in so many columns; `…`, or a dot, is in the place of what is cut off.
    pub(crate) fn cut(self, text: &str, room: usize) -> String {
        let shown = cut(text, room);
        match (self, shown.strip_suffix('…')) {
            (Self::Ascii, Some(rest)) if shown != text => format!("{rest}."),
            _ => shown,
        }
    }

    const fn choose(self, unicode: char, ascii: char) -> char {
        match self {
            Self::Unicode => unicode,
            Self::Ascii => ascii,
        }
    }

    /// The character for `shown`.
    pub(crate) fn character(self, shown: Shown) -> char {
        match shown {
            Shown::State(state) => match state {
                LaneState::Absent => ' ',
                LaneState::Stopped => self.choose('─', '-'),
                LaneState::Running => self.choose('█', '#'),
                LaneState::Starting => self.choose('▄', '<'),
                LaneState::Stopping => self.choose('▀', '>'),
                LaneState::Unhealthy => self.choose('▓', '%'),
                LaneState::Waiting => self.choose('░', ':'),
                LaneState::Terminated => self.choose('╌', '~'),
                LaneState::Down => self.choose('▁', '_'),
            },
            Shown::Mark(class) => match class {
                MarkClass::Success => self.choose('✓', 'v'),
                MarkClass::Start => self.choose('▸', 'o'),
                MarkClass::Restart => self.choose('↻', 'r'),
                MarkClass::StopRequest | MarkClass::Stop => self.choose('▪', 's'),
                MarkClass::Unhealthy => 'u',
                MarkClass::Kill => 'K',
                MarkClass::FailedStart => '!',
                MarkClass::Crash => self.choose('✗', 'X'),
                MarkClass::Refusal => self.choose('⊘', 'G'),
            },
            Shown::Crashes(count) if count <= CRASHES_SHOWN_MAX => char::from_digit(count, 10).unwrap_or('+'),
            Shown::Crashes(_) => '+',
            Shown::Unwatched { is_alive: true } => self.choose('╱', '/'),
            Shown::Unwatched { is_alive: false } => self.choose('╲', '\\'),
            Shown::NoDaemon => self.choose('╳', '*'),
        }
    }
}

impl Shown {
    /// What is shown of a column of a lane. `is_unwatched` is whether no supervisor ran for a good part of it.
    pub(crate) fn of(span: &Span, is_unwatched: bool) -> Self {
        if let Some(mark) = Self::of_marks(&span.counts) {
            return mark;
        }
        match span.mix.longest() {
            Some(LaneState::Absent) | None => Self::State(LaneState::Absent),
            Some(state) if is_unwatched => Self::Unwatched { is_alive: state.is_alive() },
            Some(state) => Self::State(state),
        }
    }

    fn of_marks(counts: &MarkCounts) -> Option<Self> {
        let crashes = counts.of(MarkClass::Crash).saturating_add(counts.of(MarkClass::FailedStart));
        if counts.of(MarkClass::Refusal) == 0 && crashes > 1 {
            return Some(Self::Crashes(crashes));
        }
        // The state shows that a stop was requested.
        let class = counts.present().map(|(class, _)| class).filter(|class| *class != MarkClass::StopRequest).last();
        class.map(Self::Mark)
    }

    /// The colour. In a time without a supervisor it is that of the last known state.
    pub(crate) const fn style(self, state: LaneState) -> Style {
        match self {
            Self::State(_) | Self::Unwatched { .. } => style_of(state),
            Self::Mark(class) => match class {
                MarkClass::Success | MarkClass::Stop | MarkClass::StopRequest => Style::Plain,
                MarkClass::Start => Style::Good,
                MarkClass::Restart => Style::Busy,
                MarkClass::Unhealthy
                | MarkClass::Kill
                | MarkClass::FailedStart
                | MarkClass::Crash
                | MarkClass::Refusal => Style::Bad,
            },
            Self::Crashes(_) | Self::NoDaemon => Style::Bad,
        }
    }

    /// What the character means, in words.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::State(state) => state_words(state),
            Self::Mark(class) => match class {
                MarkClass::Success => "succeeded",
                MarkClass::Start => "start",
                MarkClass::Restart => "restart",
                MarkClass::StopRequest | MarkClass::Stop => "stopped",
                MarkClass::Unhealthy => "became unhealthy",
                MarkClass::Kill => "killed after its stop timeout",
                MarkClass::FailedStart => "start failed",
                MarkClass::Crash => "crash",
                MarkClass::Refusal => "gave up",
            },
            Self::Crashes(count) if count > CRASHES_SHOWN_MAX => "ten crashes or more in one column",
            Self::Crashes(_) => "crashes in one column",
            Self::Unwatched { is_alive: true } => "no daemon ran, last known alive",
            Self::Unwatched { is_alive: false } => "no daemon ran, last known not running",
            Self::NoDaemon => "no daemon ran",
        }
    }
}

/// A state in words.
pub(crate) const fn state_words(state: LaneState) -> &'static str {
    match state {
        LaneState::Absent => "removed",
        LaneState::Stopped => "not running",
        LaneState::Running => "running",
        LaneState::Starting => "starting",
        LaneState::Stopping => "stopping",
        LaneState::Unhealthy => "unhealthy",
        LaneState::Waiting => "waits for a restart",
        LaneState::Terminated => "killed",
        LaneState::Down => "down: failed or given up",
    }
}

/// The state of a process at the end of the period, in one or two words.
pub(crate) const fn end_words(lane: &Lane) -> &'static str {
    match lane.state {
        _ if lane.gave_up.is_some() => "gave up",
        LaneState::Absent => "removed",
        state => state.name(),
    }
}

/// The colour of a state.
pub(crate) const fn style_of(state: LaneState) -> Style {
    match state {
        LaneState::Running => Style::Good,
        LaneState::Starting | LaneState::Stopping | LaneState::Waiting => Style::Busy,
        LaneState::Unhealthy | LaneState::Down => Style::Bad,
        LaneState::Absent | LaneState::Stopped | LaneState::Terminated => Style::Quiet,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use unicode_width::UnicodeWidthChar as _;

    use super::*;

    #[test]
    fn each_meaning_has_a_shape_of_its_own_of_one_column() {
        let states = LaneState::ALL.map(Shown::State);
        let unwatched = [true, false].map(|is_alive| Shown::Unwatched { is_alive });
        let marks = MarkClass::ALL.into_iter().filter(|class| *class != MarkClass::StopRequest).map(Shown::Mark);
        let all: Vec<Shown> = states
            .into_iter()
            .chain(marks)
            .chain([Shown::Crashes(2), Shown::Crashes(99), Shown::NoDaemon])
            .chain(unwatched)
            .collect();
        for glyphs in [Glyphs::Unicode, Glyphs::Ascii] {
            let mut meanings = HashMap::new();
            for shown in &all {
                let character = glyphs.character(*shown);
                assert_eq!(character.width(), Some(1), "{character}");
                assert!(glyphs == Glyphs::Unicode || character.is_ascii());
                assert_eq!(meanings.insert(character, shown), None, "{character} means {shown:?}, too");
            }
        }
    }

    #[test]
    fn crashes_in_one_column_are_counted() {
        let mut counts = MarkCounts::NONE;
        let character = |counts: &MarkCounts| Glyphs::Unicode.character(Shown::of_marks(counts).unwrap());
        counts.add(MarkClass::Crash);
        counts.add(MarkClass::Restart);
        assert_eq!(character(&counts), '✗');
        counts.add(MarkClass::FailedStart);
        assert_eq!(character(&counts), '2');
        (0..8).for_each(|_| counts.add(MarkClass::Crash));
        assert_eq!(character(&counts), '+');
        counts.add(MarkClass::Refusal);
        assert_eq!(character(&counts), '⊘');
    }
}
