//! The ecosystem file and the processes in it.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use apm2_core::{log::check_targets, process::check_launch};
use apm2_daemon::{
    client::{Client, ClientError},
    protocol::{CallAnswer, ClientRequest, SentLaunch},
};
use apm2_model::spec::launch::LaunchSpec;

use crate::{
    daemon::{answered, connect},
    ecosystem::Ecosystem,
};

/// Timeout for an answer of the daemon. Another check reports a daemon that does not answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// One process of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProcessFacts {
    pub(crate) name: String,
    /// Why it could not be started now.
    pub(crate) obstacle: Option<String>,
}

/// The facts about the ecosystem file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EcosystemFacts {
    pub(crate) file: PathBuf,
    /// The processes of the file, or why it cannot be used.
    pub(crate) processes: Result<Vec<ProcessFacts>, String>,
    /// Why `up` would refuse the file.
    pub(crate) refusal: Option<String>,
}

impl EcosystemFacts {
    pub(crate) fn look(file: &Path, ledger: &Path, is_offline: bool) -> Self {
        let file = file.to_owned();
        match Ecosystem::read(&file) {
            Err(error) => Self { file, processes: Err(error.message().to_owned()), refusal: None },
            Ok(Ecosystem { group, launches, .. }) => {
                let processes = launches.iter().map(process).collect();
                Self { file, processes: Ok(processes), refusal: refusal(ledger, group, launches, is_offline) }
            }
        }
    }
}

fn process(launch: &LaunchSpec) -> ProcessFacts {
    let obstacle = check_launch(launch).and_then(|()| check_targets(&launch.spec.log)).err();
    ProcessFacts { name: launch.spec.name.clone(), obstacle }
}

/// Why `up` would refuse these launches, as `up --dry-run` says. `None` without a ledger, or if it cannot be asked.
fn refusal(ledger: &Path, group: String, launches: Vec<LaunchSpec>, is_offline: bool) -> Option<String> {
    if !ledger.is_dir() {
        return None;
    }
    let answer = match connect(ledger).ok()? {
        Some(_) if is_offline => return None,
        Some(client) => asked(client, group, launches),
        None => match apm2_daemon::dry_run(ledger, &group, launches, false) {
            Err(ClientError::Refused { message, .. }) => Err(Some(message)),
            planned => planned.map_err(|_| None),
        },
    };
    match answer {
        Ok(CallAnswer::Outcomes(outcomes)) => {
            outcomes.into_iter().find_map(|outcome| Some(format!("{}: {}", outcome.name, outcome.error?)))
        }
        Ok(_) => None,
        Err(message) => message,
    }
}

fn asked(client: Client, group: String, launches: Vec<LaunchSpec>) -> Result<CallAnswer, Option<String>> {
    client.set_timeout(ANSWER_MAX).map_err(|_| None)?;
    let launches = launches.into_iter().map(SentLaunch).collect();
    let request = ClientRequest::Apply { group, launches, dry_run: true, rerun: false, ledger: None };
    answered(client, &request, None, |_| ()).map_err(|unanswered| match unanswered.error {
        ClientError::Refused { message, .. } => Some(message),
        _ => None,
    })
}
