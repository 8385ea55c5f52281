//! The checks of an installation (`doctor`). The module [`facts`] looks at the machine; the other modules judge the facts
//! without looking at anything.

mod agent;
pub(crate) mod check;
mod clock;
mod daemon;
mod disk;
mod ecosystem;
pub(crate) mod facts;
mod kernel;
mod ledger;
mod limits;
mod permissions;
mod session;
mod sockets;

use crate::doctor::{
    check::Check,
    facts::{Facts, agent::AgentFacts},
};

/// The checks of one agent.
pub(crate) fn agent_checks(facts: &AgentFacts) -> Vec<Check> {
    agent::judge(facts)
}

/// The checks of `facts`, in the order of their display.
pub(crate) fn checks(facts: &Facts) -> Vec<Check> {
    [
        ledger::judge(&facts.ledger),
        disk::judge(&facts.ledger),
        permissions::judge(&facts.permissions),
        daemon::judge(&facts.daemon),
        sockets::judge(&facts.sockets, &facts.daemon),
        limits::judge(&facts.limits),
        kernel::judge(&facts.kernel),
        session::judge(&facts.session),
        clock::judge(&facts.clock),
        ecosystem::judge(facts.ecosystem.as_ref()),
    ]
    .concat()
}
