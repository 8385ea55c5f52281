//! The plan of `up --dry-run` when no daemon runs. It is computed from the ledger and the launch files. Nothing is
//! written or started.

use std::{path::Path, sync::Arc};

use apm2_core::supervisor::{Services, Supervisor, Unrecovered};
use apm2_ledger::{LedgerDir, OpenError, Origin, ReadError, Reader};
use apm2_model::{
    causes::causes,
    clock::SystemClock,
    event::requester::Requester,
    recorder::NullRecorder,
    spec::{launch::LaunchSpec, validate::check},
    state::stream::Stream,
};
use tokio::runtime;

use crate::{
    calls::{
        apply::{grouped, plan},
        outcomes::outcome,
    },
    error::ClientError,
    failure::{Failure, error_text},
    fd_store::client::FdStoreClient,
    launches::LaunchFiles,
    place::{self, PlaceCheck},
    protocol::{Action, CallAnswer, FailureKind},
    recovery::LedgerSummary,
};

/// The plan for applying `launches` as the group `group` to the ledger in `dir`. No daemon of this ledger runs.
///
/// # Errors
/// The ledger cannot be read, or a daemon would refuse the launches.
pub fn dry_run(dir: &Path, group: &str, launches: Vec<LaunchSpec>, rerun: bool) -> Result<CallAnswer, ClientError> {
    if !dir.exists() {
        return first_plan(&launches);
    }
    let failed = |error: String| ClientError::Refused { kind: FailureKind::Failed, message: error, hint: None };
    let opened = Arc::new(LedgerDir::open(dir)?);
    let streams = streams_of(dir)?;
    let fd_store = FdStoreClient::new(&opened, Vec::new());
    let mut summary = LedgerSummary::none();
    streams.iter().for_each(|stream| summary.note(stream));
    let finding = place::find(opened.at(), summary.evidence(&fd_store)).map_err(|error| failed(error.to_string()))?;
    // The construction of the supervisor spawns tasks. This runtime never runs these tasks.
    let runtime =
        runtime::Builder::new_current_thread().enable_all().build().map_err(|error| failed(error.to_string()))?;
    let _entered = runtime.enter();
    let unrecovered = Unrecovered::new(Services {
        store: Arc::new(NullRecorder),
        clock: Arc::new(SystemClock),
        launches: Arc::new(LaunchFiles::new(&opened)),
        place: Some(finding.place()),
        fd_store: None,
        logs: None,
        adapters: Arc::new(|_| None),
    });
    let is_ours = matches!(finding, PlaceCheck::Own(_));
    let supervisor = unrecovered.survey(streams, is_ours).map_err(|error| failed(error.to_string()))?;
    let planned = plan(&supervisor, group, &grouped(launches, group), rerun, &Requester::default());
    planned.map_err(|Failure { kind, message, hint }| ClientError::Refused { kind, message, hint })
}

/// The plan where there is no ledger yet: each process is created.
fn first_plan(launches: &[LaunchSpec]) -> Result<CallAnswer, ClientError> {
    let refused = |message| ClientError::Refused { kind: FailureKind::Usage, message, hint: None };
    launches.iter().try_for_each(check).map_err(refused)?;
    Supervisor::check_together(launches).map_err(|error| refused(error_text(error)))?;
    Ok(CallAnswer::Outcomes(launches.iter().map(|launch| outcome(&launch.spec.name, Action::Create)).collect()))
}

fn streams_of(dir: &Path) -> Result<Vec<Stream>, ClientError> {
    let reader = match Reader::open(dir) {
        // A directory without a ledger has no streams.
        Err(OpenError::Missing { .. }) => return Ok(Vec::new()),
        reader => reader?,
    };
    let replayed = reader.replay(u64::MAX, Origin::Snapshot).map_err(|error: ReadError| ClientError::Refused {
        kind: if error.is_integrity() { FailureKind::Integrity } else { FailureKind::Unusable },
        message: causes(&error),
        hint: None,
    })?;
    Ok(replayed.streams.into_values().collect())
}
