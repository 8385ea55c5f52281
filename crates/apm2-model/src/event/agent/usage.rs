//! Tokens that an agent used.

/// Numbers of tokens, by class. As in the OpenTelemetry GenAI conventions, the input includes the tokens that were read from a cache
/// and written to one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TokenUsage {
    /// Tokens of the input, with those of both caches (`gen_ai.usage.input_tokens`).
    pub input: u64,
    /// Tokens of the output, with those of the reasoning (`gen_ai.usage.output_tokens`).
    pub output: u64,
    /// The part of the input that was read from a cache (`gen_ai.usage.cache_read.input_tokens`).
    pub cache_read: u64,
    /// The part of the input that was written to a cache (`gen_ai.usage.cache_creation.input_tokens`).
    pub cache_creation: u64,
    /// The part of the output that is reasoning, where the agent says it.
    pub reasoning: u64,
}

impl TokenUsage {
    /// The sum of two usages.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cache_read: self.cache_read.saturating_add(other.cache_read),
            cache_creation: self.cache_creation.saturating_add(other.cache_creation),
            reasoning: self.reasoning.saturating_add(other.reasoning),
        }
    }

    /// What this usage has more than `earlier`; `None` if a class of it has less, so that it does not contain `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Option<Self> {
        Some(Self {
            input: self.input.checked_sub(earlier.input)?,
            output: self.output.checked_sub(earlier.output)?,
            cache_read: self.cache_read.checked_sub(earlier.cache_read)?,
            cache_creation: self.cache_creation.checked_sub(earlier.cache_creation)?,
            reasoning: self.reasoning.checked_sub(earlier.reasoning)?,
        })
    }
}
