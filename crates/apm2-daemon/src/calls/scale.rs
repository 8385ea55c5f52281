//! The call `scale`, which changes the number of instances of a process.

use std::sync::Arc;

use apm2_model::event::requester::Requester;

use crate::{
    calls::outcomes::outcome,
    connection::Connection,
    failure::Failure,
    protocol::{Action, CallAnswer},
    state::DaemonState,
};

pub(crate) async fn scale(
    state: &Arc<DaemonState>,
    connection: &mut Connection,
    name: String,
    instances: u32,
    by: Requester,
) -> Result<CallAnswer, Failure> {
    let id = state.supervisor.find_process(&name)?;
    let supervisor = state.supervisor.clone();
    connection.wait_for(async move { supervisor.scale(id, instances, &by).await }).await??;
    Ok(CallAnswer::Outcomes(vec![outcome(&name, Action::Scale)]))
}
