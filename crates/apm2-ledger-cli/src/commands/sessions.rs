//! The command `sessions`, which lists the sessions of agents.

use crate::{
    agents::sessions::Sessions,
    commands::show::parse_count,
    context::Context,
    error::CliError,
    options::Format,
    render,
    terminal::say,
    view::{notice::items, sessions::SessionView},
};

/// List the sessions of AI agents, and how to go on with each by hand
///
/// The latest session comes first. OUTCOME is that of its latest run by the agent's account, of a failure its class. Stop the
/// process before its session is resumed by hand, and resume it in the working directory of the process: agents keep their
/// sessions by directory. A custom agent has no known command.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  apm2-ledger sessions
  apm2-ledger sessions reviewer -n 1           its latest session
  apm2-ledger --format json sessions reviewer | jq -r '.[0].session_id'
  apm2-ledger --format json sessions | jq '.[] | select(.class) | {name, class, resume}'")]
pub(crate) struct SessionsArgs {
    /// Only these: process ids, unique prefixes of ids, names, NAME-INSTANCE
    ids: Vec<String>,
    /// Latest N sessions, or `all`
    #[arg(long, short = 'n', value_name = "N", value_parser = parse_count, default_value = "all", hide_default_value = true)]
    limit: u64,
}

pub(crate) fn run(args: &SessionsArgs, context: &Context) -> Result<i32, CliError> {
    let (mut sessions, _) = context.read(|source| {
        let ids = source.all_named(&args.ids)?;
        Sessions::read(source, &ids)
    })?;
    sessions.all.truncate(usize::try_from(args.limit).unwrap_or(usize::MAX));
    let views = || items(context.notice(), SessionView::all(&sessions));
    match context.format {
        Format::Json => context.print_json(&views().collect::<Vec<_>>())?,
        Format::Jsonl => context.print_jsonl(views())?,
        Format::Table if sessions.all.is_empty() => say("no session of an agent is on record"),
        Format::Table => context.print(|out| render::sessions::table(out, &sessions, context.layout))?,
    }
    Ok(0)
}
