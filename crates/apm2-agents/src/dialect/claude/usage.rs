//! Tokens and costs in the lines of Claude Code and Qwen Code.

use apm2_model::event::agent::usage::TokenUsage;

use super::{
    Claude,
    lines::{Members, ModelUsage, Usage},
};
use crate::{
    json::{self, Raw},
    money,
    tracker::{Tracker, totals::Figures},
};

impl Claude {
    /// The tokens and the cost of a turn.
    pub(super) fn figures(&self, tracker: &Tracker, members: &Members<'_>) -> Figures {
        let turn = self.tokens(&members.usage);
        if let Some(new) = members.new_model_usage {
            let (usage, cost) = sum_of_models(new);
            return Figures { usage, cost_micros: cost.or(members.total_cost_usd.and(Some(0))) };
        }
        let total_cost = money::micros(members.total_cost_usd);
        match members.model_usage.map(sum_of_models) {
            Some((usage, cost)) if usage != TokenUsage::default() => {
                tracker.totals.new_part(Figures { usage, cost_micros: total_cost.or(cost) }, turn)
            }
            _ => Figures { usage: turn, cost_micros: total_cost },
        }
    }

    /// The tokens of a message or of a result. The input of Claude Code is without both caches; that of Qwen Code includes them.
    pub(super) fn tokens(&self, usage: &Usage<'_>) -> TokenUsage {
        let cache_read = usage.cache_read.unwrap_or(0);
        let cache_creation = usage.cache_creation.unwrap_or(0);
        let input = usage.input.unwrap_or(0);
        let caches = if self.is_qwen { 0 } else { cache_read.saturating_add(cache_creation) };
        TokenUsage {
            input: input.saturating_add(caches),
            output: usage.output.unwrap_or(0),
            cache_read,
            cache_creation,
            reasoning: usage.details.thinking.unwrap_or(0),
        }
    }
}

fn sum_of_models(models: Raw<'_>) -> (TokenUsage, Option<u64>) {
    let mut sum = TokenUsage::default();
    let mut cost: Option<u64> = None;
    json::for_each_member(models, |model: ModelUsage<'_>| {
        let cache_read = model.cache_read.unwrap_or(0);
        let cache_creation = model.cache_creation.unwrap_or(0);
        sum = sum.plus(TokenUsage {
            input: model.input.unwrap_or(0).saturating_add(cache_read).saturating_add(cache_creation),
            output: model.output.unwrap_or(0),
            cache_read,
            cache_creation,
            reasoning: model.thinking.unwrap_or(0),
        });
        if let Some(micros) = money::micros(model.cost) {
            cost = Some(cost.unwrap_or(0).saturating_add(micros));
        }
    });
    (sum, cost)
}
