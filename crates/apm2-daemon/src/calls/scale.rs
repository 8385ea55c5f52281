//! `scale`.

use std::sync::Arc;

use apm2_model::event::requester::Requester as By;

use crate::{
    calls::outcomes::outcome,
    connection::Connection,
    failure::Failure,
    protocol::{Action, Answer},
    shared::Shared,
};

pub(crate) async fn scale(
    shared: &Arc<Shared>,
    connection: &mut Connection,
    name: String,
    instances: u32,
    by: By,
) -> Result<Answer, Failure> {
    let id = shared.supervisor.find_process(&name)?;
    let supervisor = shared.supervisor.clone();
    connection.wait_for(async move { supervisor.scale(id, instances, &by).await }).await??;
    Ok(Answer::Outcomes(vec![outcome(&name, Action::Scale)]))
}
