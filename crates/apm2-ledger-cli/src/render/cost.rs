//! Prints what agents used: a row for each process, day or model, and the total.

use std::io::{self, Write};

use crate::{
    agents::{
        Spent,
        spending::{Grouping, Spending, SpendingKey},
    },
    render::{
        agent,
        color::Style,
        stats::interval,
        table::{
            Align::{Left, Right},
            Cell, Layout, Table,
        },
        words::{self, NOTHING},
    },
    stats::period::Period,
};

/// The number of columns after the name.
const FIGURES: usize = 7;

/// Prints the rows and the total.
pub(crate) fn table(
    out: &mut dyn Write,
    spending: &Spending,
    grouping: Grouping,
    period: &Period,
    layout: Layout,
) -> io::Result<()> {
    writeln!(out, "{}", interval(period.from, period.to, layout))?;
    let heading = match grouping {
        Grouping::Process => "NAME",
        Grouping::Day => "DAY",
        Grouping::Model => "MODEL",
    };
    let mut table = Table::new([
        (heading, Left),
        ("TURNS", Right),
        ("TOOLS", Right),
        ("INPUT", Right),
        ("CACHE READ", Right),
        ("CACHE WRITTEN", Right),
        ("OUTPUT", Right),
        ("COST", Right),
    ]);
    for (key, spent) in &spending.rows {
        table.push(row(name(key).into(), figures(spent).map(Cell::new)));
    }
    let total = figures(&spending.total).map(|text| Cell::new(text).styled(Style::Heading));
    table.push(row(Cell::new("total").styled(Style::Heading), total));
    table.write(out, "", layout)
}

/// What a row stands for, in words.
pub(crate) fn name(key: &SpendingKey) -> String {
    match key {
        SpendingKey::Process { display_name, .. } => display_name.clone(),
        SpendingKey::Day(day) => day.to_string(),
        SpendingKey::Model { model: Some(model), kind } => format!("{model} ({kind})"),
        SpendingKey::Model { model: None, kind } => format!("{NOTHING} ({kind})"),
    }
}

fn row(name: Cell, figures: [Cell; FIGURES]) -> [Cell; FIGURES + 1] {
    let [turns, tools, input, read, written, output, cost] = figures;
    [name, turns, tools, input, read, written, output, cost]
}

fn figures(spent: &Spent) -> [String; FIGURES] {
    let (totals, usage) = (spent.totals, spent.totals.usage);
    [
        words::count(totals.turns.into()),
        words::count(totals.tool_calls.into()),
        words::count(usage.input),
        words::count(usage.cache_read),
        words::count(usage.cache_creation),
        words::count(usage.output),
        spent.cost_micros().map_or_else(|| NOTHING.to_owned(), agent::cost),
    ]
}
