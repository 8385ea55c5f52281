//! The tokens of the messages of the model since the last end of a turn. They are the only figures of a run that ends without a
//! result.

use std::collections::VecDeque;

use apm2_model::event::agent::usage::TokenUsage;

/// Messages that are remembered: an agent repeats the figures of a message in several lines.
const MESSAGES_MAX: usize = 64;

/// The usage by message.
#[derive(Debug, Default)]
pub(crate) struct Messages {
    /// Hashes of the identifiers, with the largest figures of each message.
    recent: VecDeque<(u64, TokenUsage)>,
    sum: TokenUsage,
}

impl Messages {
    /// The sum over the messages since the last end of a turn.
    pub(crate) const fn sum(&self) -> TokenUsage {
        self.sum
    }

    /// The tokens of the turn in progress before a supervisor took over the run.
    pub(crate) const fn restore(&mut self, sum: TokenUsage) {
        self.sum = sum;
    }

    /// Whether a message has used tokens since the last end of a turn.
    pub(crate) fn is_empty(&self) -> bool {
        self.sum == TokenUsage::default()
    }

    /// The figures of a message; later lines of the same message may have larger ones.
    pub(crate) fn see(&mut self, id: u64, usage: TokenUsage) {
        if let Some((_, known)) = self.recent.iter_mut().find(|(known, _)| *known == id) {
            let larger = TokenUsage {
                input: usage.input.max(known.input),
                output: usage.output.max(known.output),
                cache_read: usage.cache_read.max(known.cache_read),
                cache_creation: usage.cache_creation.max(known.cache_creation),
                reasoning: usage.reasoning.max(known.reasoning),
            };
            let more = larger.since(*known).unwrap_or_default();
            *known = larger;
            self.sum = self.sum.plus(more);
            return;
        }
        if self.recent.len() >= MESSAGES_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((id, usage));
        self.sum = self.sum.plus(usage);
    }

    /// The end of a turn has reported these figures itself.
    pub(crate) fn clear(&mut self) {
        self.sum = TokenUsage::default();
    }
}
