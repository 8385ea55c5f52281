//! The options that choose events. All commands that read events have them, with the same names and meanings.

use apm2_ledger::{EventQuery, KindSet};
use apm2_model::event::{actor::ActorFilter, end_filter::EndFilter, kind::EventKind};

use crate::{
    context::Context,
    options::typed,
    source::{LedgerSource, ReadFailure},
    time::At,
};

/// The states that an event can lead to. The kind of such an event has the name of the state.
const STATES: [&str; 7] = ["starting", "running", "unhealthy", "stopping", "stopped", "crashed", "terminated"];

/// Which events a command reads.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Filters")]
pub(crate) struct EventFilter {
    /// Only events of this type, such as crashed. Repeat a filter to accept any of several values
    #[arg(long = "type", value_name = "TYPE", value_parser = EventKind::NAMES)]
    types: Vec<String>,
    /// Only events that brought a process into this state
    #[arg(long, value_name = "STATE", value_parser = STATES)]
    state: Vec<String>,
    /// Only events that this actor caused: a user name, `uid:1000`, `operator` (any user), `policy`, `health`, `recovery` or
    /// `system`
    #[arg(long, value_name = "ACTOR")]
    actor: Vec<ActorFilter>,
    /// Only events of the run with this number
    #[arg(long, value_name = "N")]
    run: Option<u64>,
    /// Only ends of runs: an exit code (7), a signal (SIGKILL), `ok`, `failed`, `unknown` or `not-started`
    #[arg(long, value_name = "END")]
    exit: Vec<EndFilter>,
    /// Only events after this: a time or the sequence number of an event
    #[arg(long, value_name = "TIME|SEQ")]
    pub(crate) since: Option<At>,
    /// Only events up to this: a time or the sequence number of an event
    #[arg(long, visible_alias = "at", value_name = "TIME|SEQ")]
    pub(crate) until: Option<At>,
}

/// The events that are chosen.
#[derive(Debug, Clone)]
pub(crate) struct ChosenEvents {
    pub(crate) query: EventQuery,
    /// The sequence numbers of the first and the last event of the range.
    pub(crate) seqs: (u64, u64),
}

impl EventFilter {
    /// Whether every event is chosen.
    pub(crate) const fn is_empty(&self) -> bool {
        self.has_times_only() && self.since.is_none() && self.until.is_none()
    }

    pub(crate) const fn has_beginning(&self) -> bool {
        self.since.is_some()
    }

    /// The chosen events up to event `end` of the processes that `ids` names, or of the whole ledger when there are none.
    pub(crate) fn choose(
        &self,
        ids: &[String],
        end: u64,
        source: &LedgerSource,
        context: &Context,
    ) -> Result<ChosenEvents, ReadFailure> {
        let seq_of = |at, option, missing| match at {
            Some(at) => context.moment(source, Some(at), option).map(|moment| moment.seq.min(end)),
            None => Ok(missing),
        };
        let seqs =
            (seq_of(self.since, "--since", 0)?.saturating_add(1), seq_of(self.until, typed("--until", "--at"), end)?);
        let streams = ids.iter().map(|id| source.named(id)).collect::<Result<Vec<_>, _>>()?.concat();
        let query = EventQuery { streams, ..self.query() };
        Ok(ChosenEvents { query, seqs })
    }

    /// Whether the events of every kind, actor, run and end are chosen.
    pub(crate) const fn has_times_only(&self) -> bool {
        let Self { types, state, actor, run, exit, since: _, until: _ } = self;
        types.is_empty() && state.is_empty() && actor.is_empty() && run.is_none() && exit.is_empty()
    }

    /// The filter without its processes and times.
    pub(crate) fn query(&self) -> EventQuery {
        let kinds = |names: &[String]| KindSet::named(names.iter().map(String::as_str));
        // Both options are filters for the kind.
        let kinds = match (self.types.as_slice(), self.state.as_slice()) {
            ([], []) => None,
            (types, []) => Some(kinds(types)),
            ([], states) => Some(kinds(states)),
            (types, states) => Some(KindSet(kinds(types).0 & kinds(states).0)),
        };
        EventQuery {
            kinds,
            actors: self.actor.clone(),
            run: self.run,
            ends: self.exit.clone(),
            ..EventQuery::default()
        }
    }
}
