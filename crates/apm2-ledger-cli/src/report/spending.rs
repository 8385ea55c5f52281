//! What agents used, in a document.

use apm2_page::document::{Spending as Converted, Spent as Row};

use crate::{
    agents::spending::Spending,
    render::{cost::name, escape::escape},
};

/// What agents used, by model and by day.
pub(crate) fn converted(by_model: &Spending, by_day: &Spending) -> Converted {
    Converted { by_model: rows(by_model), by_day: rows(by_day) }
}

fn rows(spending: &Spending) -> Vec<Row> {
    let row = |(key, spent): (&_, &crate::agents::Spent)| Row {
        name: escape(&name(key)).into_owned(),
        turns: spent.totals.turns,
        tool_calls: spent.totals.tool_calls,
        input_tokens: spent.totals.usage.input,
        output_tokens: spent.totals.usage.output,
        cost_micros: spent.cost_micros(),
    };
    spending.rows.iter().map(row).collect()
}
