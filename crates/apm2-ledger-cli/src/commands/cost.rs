//! The command `cost`, which adds up what agents used.

use apm2_ledger::ReadLedger as _;

use crate::{
    agents::spending::{Grouping, Spending},
    context::Context,
    error::CliError,
    options::Format,
    render,
    source::{LedgerSource, ReadFailure},
    stats::period::Period,
    terminal::say,
    time::At,
    view::{self, cost::CostView, notice::items},
};

/// Add up the tokens and the cost of AI agents, by process, day or model
///
/// The figures are those that the agents report: of each turn, and of a run what its result has beyond its turns. INPUT
/// contains the tokens of both caches. A process that is no agent is left out. Not every agent reports its cost; one that
/// does not has `-`, and is not in the total cost. The default period is the whole history.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger cost
  apm2-ledger cost --since yesterday
  apm2-ledger cost --by day --since '7 days ago'
  apm2-ledger cost reviewer --by model
  apm2-ledger --format json cost | jq '.total.cost_micros / 1e6'")]
pub(crate) struct CostArgs {
    /// Only these: process ids, unique prefixes of ids, names, NAME-INSTANCE
    ids: Vec<String>,
    /// The beginning of the period: a time or the sequence number of an event. Default: the first event
    #[arg(long, value_name = "TIME|SEQ")]
    since: Option<At>,
    /// The end of the period: a time or the sequence number of an event. Default: now
    #[arg(long, visible_alias = "at", value_name = "TIME|SEQ")]
    until: Option<At>,
    /// What each row stands for
    #[arg(long, value_enum, value_name = "WHAT", default_value_t)]
    by: Grouping,
}

pub(crate) fn run(args: &CostArgs, context: &Context) -> Result<i32, CliError> {
    let ((spending, period), _) = context.read(|source| read(source, args, context))?;
    match context.format {
        Format::Json => context.print_json(&CostView::new(&spending, &period, context.notice()))?,
        Format::Jsonl => context.print_jsonl(items(context.notice(), view::cost::rows(&spending)))?,
        Format::Table if spending.reports == 0 => say("no agent has reported anything in this period"),
        Format::Table => {
            context.print(|out| render::cost::table(out, &spending, args.by, &period, context.layout))?;
        }
    }
    Ok(0)
}

fn read(source: &LedgerSource, args: &CostArgs, context: &Context) -> Result<(Spending, Period), ReadFailure> {
    let end = source.head()?.end();
    let ids = source.all_named(&args.ids)?;
    let period = Period::requested(source, &ids, (args.since, args.until), end, context)?;
    Ok((Spending::read(source, &ids, &period, (args.by, context.layout.zone))?, period))
}
