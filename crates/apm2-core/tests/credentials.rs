//! The sources of credentials, their delivery to the process, and that they are never recorded.

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt as _, path::Path};

use apm2_core::{
    credentials::{CredentialConfig, CredentialSource, resolve},
    process::{EventKind, ProcessSpec, Requester, RunEnd, SpawnStage, StreamId},
    supervisor::LaunchSpec,
};

use crate::support::{Log, in_time, sh, until};

const SECRET: &str = "correct horse";

fn config() -> CredentialConfig {
    let variables = BTreeMap::from([("API_KEY".to_owned(), "key".to_owned())]);
    CredentialConfig { profile: "api".to_owned(), variables, reload_signal: None }
}

fn profile(dir: &Path, mode: u32) -> CredentialSource {
    let path = dir.join("api.env");
    fs::write(&path, format!("key = \"{SECRET}\"\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    CredentialSource::File(path)
}

fn command(script: &str) -> CredentialSource {
    CredentialSource::Command(["sh", "-c", script].map(str::to_owned).to_vec())
}

async fn value(source: CredentialSource) -> Result<String, String> {
    let resolved = in_time(resolve(Some(&source), &config(), None)).await;
    assert!(!format!("{resolved:?}").contains(SECRET), "a value is shown");
    let resolved = resolved.map_err(|error| error.to_string())?;
    let (name, value) = resolved.into_variables().pop().unwrap();
    assert_eq!(name, "API_KEY");
    Ok(value.into_string().unwrap())
}

#[tokio::test]
async fn values_come_from_a_file_that_no_other_user_may_read() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(value(profile(dir.path(), 0o600)).await.unwrap(), SECRET);
    for mode in [0o640, 0o604, 0o620] {
        assert!(value(profile(dir.path(), mode)).await.unwrap_err().contains("0600"), "{mode:o}");
    }
    profile(dir.path(), 0o600);
    let link = dir.path().join("link");
    std::os::unix::fs::symlink(dir.path().join("api.env"), &link).unwrap();
    value(CredentialSource::File(link)).await.unwrap_err();
    value(CredentialSource::File(dir.path().to_owned())).await.unwrap_err();
    value(CredentialSource::File(dir.path().join("nowhere"))).await.unwrap_err();
    let long = dir.path().join("long");
    fs::write(&long, format!("key={}\n", "x".repeat(70_000))).unwrap();
    fs::set_permissions(&long, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(value(CredentialSource::File(long)).await.unwrap_err().contains("larger"), "and not cut");
}

#[tokio::test]
async fn values_come_from_a_command_in_either_form() {
    assert_eq!(value(command(&format!("echo '{SECRET}'; echo second line"))).await.unwrap(), SECRET);
    assert_eq!(value(command(&format!("echo '# mine'; echo other=1; echo 'key={SECRET}'"))).await.unwrap(), SECRET);
    assert_eq!(value(command("echo 'c2VjcmV0dmFsdWU='")).await.unwrap(), "c2VjcmV0dmFsdWU=", "no pair: a token");
    assert_eq!(value(command("echo 'key=real'; echo some note")).await.unwrap(), "real");
    for (script, said) in [
        ("exit 3", "failed"),
        ("true", "printed nothing"),
        ("printf '\\377'", "not UTF-8"),
        ("echo other=1", "has no \"key\""),
        ("head -c 70000 /dev/zero | tr '\\0' k", "64 KiB"),
    ] {
        assert!(value(command(script)).await.unwrap_err().contains(said), "{script}");
    }
    let error = value(command(&format!("echo 'key={SECRET}'; exit 1"))).await.unwrap_err();
    assert!(!error.contains(SECRET), "{error}");
}

#[tokio::test]
async fn values_come_from_the_environment_by_the_names_that_are_mapped() {
    let variables = BTreeMap::from([("WHERE".to_owned(), "PATH".to_owned())]);
    let config = CredentialConfig { variables, ..config() };
    let resolved = in_time(resolve(Some(&CredentialSource::Environment), &config, None)).await.unwrap();
    assert_eq!(resolved.into_variables(), [("WHERE".to_owned(), std::env::var_os("PATH").unwrap())]);
}

fn launch(source: Option<CredentialSource>, script: &str) -> (LaunchSpec, StreamId) {
    let spec = ProcessSpec { credentials: Some(config()), ..sh(script) };
    let id = StreamId { process_id: spec.id, instance: 0 };
    (LaunchSpec { credential_source: source, ..LaunchSpec::new(spec) }, id)
}

#[tokio::test]
async fn the_process_has_the_value_and_the_record_has_its_name() {
    let (log, dir) = (Log::default(), tempfile::tempdir().unwrap());
    let out = dir.path().join("out");
    let script = format!("printf %s \"$API_KEY\" > {}; mv {0} {0}.done; exec sleep 1000", out.display());
    let (launch, id) = launch(Some(profile(dir.path(), 0o600)), &script);
    let supervisor = log.supervisor(Vec::new());
    in_time(supervisor.apply(launch.clone(), &Requester::default())).await.unwrap();
    in_time(supervisor.start(id, &Requester::default())).await.unwrap();
    let done = dir.path().join("out.done");
    until("it has said what it was given", || done.exists()).await;
    assert_eq!(fs::read_to_string(done).unwrap(), SECRET);
    in_time(supervisor.stop(id, None, &Requester::default())).await.unwrap();
    let recorded = format!("{:?} {launch:?}", log.events());
    assert!(recorded.contains("API_KEY") && !recorded.contains(SECRET));
}

#[tokio::test]
async fn without_its_credentials_nothing_is_started_and_that_is_a_failed_spawn() {
    let log = Log::default();
    let (launch, id) = launch(None, "exit 0");
    let supervisor = log.supervisor(Vec::new());
    in_time(supervisor.apply(launch, &Requester::default())).await.unwrap();
    let error = in_time(supervisor.start(id, &Requester::default())).await.unwrap_err();
    assert!(error.to_string().contains("\"api\" is not defined"), "{error}");
    let crashed = log.events().into_iter().find_map(|event| match event.kind {
        EventKind::Crashed { cause: RunEnd::SpawnFailed(failure) } => Some(failure.stage),
        _ => None,
    });
    assert_eq!(crashed, Some(SpawnStage::Credentials));
    in_time(supervisor.stop(id, None, &Requester::default())).await.unwrap();
}
