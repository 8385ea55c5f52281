//! The totals of a run and of its session, and the part of cumulative figures that is new.

use apm2_model::event::agent::usage::TokenUsage;

use crate::record::SessionOnRecord;

/// Tokens and their cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) usage: TokenUsage,
    pub(crate) cost_micros: Option<u64>,
}

impl Figures {
    /// What these figures have more than `earlier` ones; `None` if they do not contain those.
    fn since(self, earlier: Self) -> Option<Self> {
        let usage = self.usage.since(earlier.usage)?;
        let cost_micros = match self.cost_micros {
            Some(cost) => Some(cost.checked_sub(earlier.cost_micros.unwrap_or(0))?),
            None => None,
        };
        Some(Self { usage, cost_micros })
    }
}

/// The sums over the ends of turns.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    turns: u32,
    pub(crate) agent_turns: u32,
    pub(crate) usage: TokenUsage,
    pub(crate) cost_micros: Option<u64>,
    session: Figures,
}

impl Totals {
    /// The run works on a session, which may be on record.
    pub(crate) fn begin_session(&mut self, on_record: Option<&SessionOnRecord>) {
        self.session = on_record
            .map(|session| Figures { usage: session.usage, cost_micros: Some(session.cost_micros) })
            .unwrap_or_default();
    }

    pub(crate) const fn restore(&mut self, turns: u32, agent_turns: u32, usage: TokenUsage, cost_micros: Option<u64>) {
        self.turns = turns;
        self.agent_turns = agent_turns;
        self.usage = usage;
        self.cost_micros = cost_micros;
    }

    /// Counts a cost that belongs to no turn.
    pub(crate) fn add_cost(&mut self, micros: u64) {
        self.cost_micros = Some(self.cost_micros.unwrap_or(0).saturating_add(micros));
    }

    /// Counts a turn. Returns its number.
    pub(crate) fn add_turn(&mut self, figures: Figures, agent_turns: u32) -> u32 {
        self.turns = self.turns.saturating_add(1);
        self.agent_turns = self.agent_turns.saturating_add(agent_turns);
        self.usage = self.usage.plus(figures.usage);
        self.session.usage = self.session.usage.plus(figures.usage);
        if let Some(cost) = figures.cost_micros {
            self.cost_micros = Some(self.cost_micros.unwrap_or(0).saturating_add(cost));
            self.session.cost_micros = Some(self.session.cost_micros.unwrap_or(0).saturating_add(cost));
        }
        self.turns
    }

    /// The new part of figures that are cumulative over the session.
    pub(crate) fn new_in_session(&self, total: Figures) -> Figures {
        total.since(self.session).unwrap_or(total)
    }

    /// The new part of figures that are cumulative over the session or over the process; which of them depends on the version of the
    /// agent. The new part is at least what the turn itself used.
    pub(crate) fn new_part(&self, total: Figures, turn: TokenUsage) -> Figures {
        let run = Figures { usage: self.usage, cost_micros: self.cost_micros };
        let contains_turn = |new: &Figures| new.usage.since(turn).is_some();
        total
            .since(self.session)
            .filter(contains_turn)
            .or_else(|| if self.turns > 0 { total.since(run) } else { None })
            .unwrap_or(total)
    }
}
