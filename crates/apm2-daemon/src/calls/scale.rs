//! The call `scale`, which changes the number of instances of a process.

use std::sync::Arc;

use apm2_core::supervisor::Applied;
use apm2_model::event::requester::Requester;

use crate::{
    calls::outcomes::outcome,
    connection::Connection,
    failure::Failure,
    protocol::{Action, CallAnswer, Outcome},
    state::DaemonState,
};

/// The note for a call that changes nothing.
const IS_SO: &str = "it has that many instances already";

pub(crate) async fn scale(
    state: &Arc<DaemonState>,
    connection: &mut Connection,
    name: String,
    instances: u32,
    by: Requester,
) -> Result<CallAnswer, Failure> {
    let id = state.supervisor.find_process(&name)?;
    let supervisor = state.supervisor.clone();
    let applied = connection.wait_for(async move { supervisor.scale(id, instances, &by).await }).await??;
    let scaled = match applied {
        Applied::Unchanged => Outcome { note: Some(IS_SO.to_owned()), ..outcome(&name, Action::Unchanged) },
        Applied::Created | Applied::Changed => outcome(&name, Action::Scale),
    };
    Ok(CallAnswer::Outcomes(vec![scaled]))
}
