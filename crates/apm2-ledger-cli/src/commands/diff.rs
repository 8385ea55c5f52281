//! The command `diff`, which shows what changed between two moments.

use std::collections::BTreeSet;

use apm2_ledger::{KindSet, ReadLedger as _, StatesQuestion, StreamAt};
use apm2_model::{
    event::{kind::EventKind, stream_id::StreamId},
    state::stream::Stream,
};

use crate::{
    changed_streams::changed_streams,
    comparison::compare,
    context::Context,
    error::CliError,
    moment::Moment,
    options::{Format, typed},
    render,
    source::{LedgerSource, ReadFailure},
    status::StatusContext,
    time::At,
    view::{
        diff::{ChangeView, DiffView},
        notice::items,
    },
};

/// The kinds of events that `diff` does not show.
const UNSHOWN: [&str; 3] = ["sampled", "health_changed", "observed"];

/// Show what changed between two moments
///
/// Prints each process that was added (`+`), removed (`-`) or changed (`~`): its state before and after, its runs and
/// restarts in between, and each setting that differs, by the names in the JSON of a specification. Samples and results of
/// health checks are no changes. The values of environment variables are not recorded, so they are not compared.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger diff --from yesterday
  apm2-ledger diff --from '2h ago' --to '1h ago'
  apm2-ledger diff build --from 1200 --to 1300   between two events
  apm2-ledger --format json diff --from today | jq '.changes[].settings'")]
pub(crate) struct DiffArgs {
    /// Only these: process ids, unique prefixes of ids, names, NAME-INSTANCE
    ids: Vec<String>,
    /// The first moment: a time or the sequence number of an event
    #[arg(long, value_name = "TIME|SEQ", visible_alias = "since")]
    from: At,
    /// The second moment. Default: now
    #[arg(long, value_name = "TIME|SEQ", visible_alias = "until")]
    to: Option<At>,
}

/// The states at the two moments.
struct States {
    moments: (Moment, Moment),
    seqs: (u64, u64),
    before: Vec<Stream>,
    after: Vec<Stream>,
}

pub(crate) fn run(args: &DiffArgs, context: &Context) -> Result<i32, CliError> {
    // Everything is read before it is printed, so that a slow reader of the output does not keep the ledger open.
    let (States { moments, seqs, before, after }, _) = context.read(|source| read(source, args, context))?;
    // Both are shown as they are recorded.
    let contexts = (StatusContext::past(moments.0), StatusContext::past(moments.1));
    let contexts = (&contexts.0, &contexts.1);
    let changes = compare(&before, &after);
    match context.format {
        Format::Json => context.print_json(&DiffView::new(&changes, contexts, seqs, context.notice()))?,
        Format::Jsonl => {
            let changes = changes.iter().map(|change| ChangeView::new(change, contexts.0, contexts.1));
            context.print_jsonl(items(context.notice(), changes))?;
        }
        Format::Table => context.print(|out| render::diff::diff(out, &changes, contexts, seqs, context.layout))?,
    }
    Ok(0)
}

fn read(source: &LedgerSource, args: &DiffArgs, context: &Context) -> Result<States, ReadFailure> {
    let head = source.head()?;
    let from = context.moment(source, Some(args.from), typed("--from", "--since"))?;
    let to = context.moment(source, args.to, typed("--to", "--until"))?;
    let seqs = (from.seq.min(head.end()), to.seq.min(head.end()));
    if from.is_after(to, head.end()) {
        let (from, to) = (typed("--from", "--since"), typed("--to", "--until"));
        return Err(CliError::usage(format!("{from} is later than {to}")).into());
    }
    let (before, after) = if args.ids.is_empty() {
        match changed_streams(source, kinds(), (seqs.0.saturating_add(1), seqs.1))? {
            Some(ids) => (states_of(source, &ids, seqs.0)?, states_of(source, &ids, seqs.1)?),
            None => {
                // A stream without events in between has not changed.
                let changed = StatesQuestion::Active { since: seqs.0.saturating_add(1), upto: seqs.1 };
                (source.states_of(&StatesQuestion::All(seqs.0))?, source.states_of(&changed)?)
            }
        }
    } else {
        let ids = args.ids.iter().map(|id| source.named(id)).collect::<Result<Vec<_>, _>>()?.concat();
        let ids = ids.into_iter().collect();
        (states_of(source, &ids, seqs.0)?, states_of(source, &ids, seqs.1)?)
    };
    Ok(States { moments: (from, to), seqs, before, after })
}

/// The kinds of events that `diff` shows.
fn kinds() -> KindSet {
    KindSet::named(EventKind::NAMES.into_iter().filter(|name| !UNSHOWN.contains(name)))
}

fn states_of(source: &LedgerSource, ids: &BTreeSet<StreamId>, seq: u64) -> Result<Vec<Stream>, ReadFailure> {
    source.states_of(&StatesQuestion::Of(ids.iter().map(|id| StreamAt { id: *id, seq }).collect()))
}
