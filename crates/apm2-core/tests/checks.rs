//! Health checks against real servers and real programs.

use apm2_core::process::identify;
use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
    time::{Duration, Instant},
};

use apm2_core::{
    credentials::{CredentialConfig, CredentialSource},
    health::{DETAIL_CHARS_MAX, HealthCheck, HealthCheckConfig, ProbeResult, ProbeTarget, probe},
    process::{ProcessSpec, Requester},
    restart::{RestartConfig, RestartPolicy},
    supervisor::LaunchSpec,
};

use crate::support::{AMPLE, Log, in_time, sh_builder, until};

const LIMIT: Duration = Duration::from_secs(2);

async fn checked(check: &HealthCheck, limit: Duration) -> ProbeResult {
    in_time(probe(check, limit, &ProbeTarget::default())).await
}

/// A server that sends `answer` on each connection; with `None` it sends nothing and keeps the connection open.
fn server(answer: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            match answer {
                // The request arrives in one piece. The client may close the connection before the answer.
                Some(answer) => {
                    let _ = stream.read(&mut [0; 4096]);
                    let _ = stream.write_all(answer.as_bytes());
                }
                None => kept.push(stream),
            }
        }
    });
    address
}

fn http(address: &str) -> HealthCheck {
    HealthCheck::Http { url: format!("http://{address}/health"), expected_status: 200.into() }
}

#[tokio::test]
async fn http_is_well_with_the_expected_status_and_nothing_else() {
    let status = |line: &str| format!("HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").leak();
    for (answer, healthy, said) in [
        (&*status("200 OK"), true, "200"),
        (status("500 Sick"), false, "HTTP 500 where 200 was expected"),
        (status("302 Found\r\nLocation: http://127.0.0.1:1/"), false, "302"),
        ("not http at all\r\n\r\n", false, "HTTP"),
        ("", false, "HTTP"),
    ] {
        let result = checked(&http(&server(Some(answer))), LIMIT).await;
        assert_eq!(result.healthy, healthy, "{answer:?}: {result:?}");
        assert!(result.detail.contains(said), "{answer:?}: {result:?}");
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_on_in_time() {
    let began = Instant::now();
    let result = checked(&http(&server(None)), Duration::from_millis(200)).await;
    assert!(!result.healthy && began.elapsed() < LIMIT, "{result:?} after {:?}", began.elapsed());
}

#[tokio::test]
async fn tcp_is_well_when_somebody_accepts() {
    let address = server(None);
    assert!(checked(&HealthCheck::Tcp { address }, LIMIT).await.healthy);
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    assert!(!checked(&HealthCheck::Tcp { address: unused }, LIMIT).await.healthy);
}

fn script(text: &str) -> HealthCheck {
    HealthCheck::Script { command: "sh".to_owned(), args: vec!["-c".to_owned(), text.to_owned()] }
}

#[tokio::test]
async fn a_script_is_well_with_0_and_leaves_nothing_behind() {
    assert!(checked(&script("exit 0"), LIMIT).await.healthy);
    assert!(!checked(&script("exit 3"), LIMIT).await.healthy);
    assert!(checked(&script("head -c 10000000 /dev/zero"), LIMIT).await.healthy, "what it prints is its own affair");
    assert!(checked(&script("sleep 1000 & exit 0"), LIMIT).await.healthy, "its end counts, not that of its output");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("pids");
    let text = format!("trap '' TERM; sleep 1000 & echo $! $$ > {}; wait", file.display());
    let result = checked(&script(&text), Duration::from_millis(500)).await;
    assert!(!result.healthy && result.detail.contains("took longer"), "{result:?}");
    let pids = std::fs::read_to_string(&file).unwrap();
    let gone = |pid: &str| !crate::support::is_alive(pid.parse().unwrap());
    until("it is gone with what it started", || pids.split_whitespace().all(gone)).await;
}

#[test]
fn what_cannot_be_checked_is_refused_with_the_reason() {
    let with = |check: HealthCheck| HealthCheckConfig { check, ..HealthCheckConfig::default() };
    let url = "https://localhost/".to_owned();
    for (config, said) in [
        (with(HealthCheck::Http { url, expected_status: 200.into() }), "TLS"),
        (with(HealthCheck::Tcp { address: "localhost".to_owned() }), "host:port"),
        (with(HealthCheck::Script { command: String::new(), args: Vec::new() }), "command"),
        (HealthCheckConfig { interval: Duration::ZERO, ..HealthCheckConfig::default() }, "interval"),
        (HealthCheckConfig { timeout: Duration::ZERO, ..HealthCheckConfig::default() }, "timeout"),
        (HealthCheckConfig { failure_threshold: 0, ..HealthCheckConfig::default() }, "thresholds"),
    ] {
        assert!(config.validate().unwrap_err().contains(said), "{config:?}");
    }
}

#[tokio::test]
async fn liveness_sees_a_process_that_is_stopped_or_gone() {
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let _guard = crate::support::KillOnDrop(child.id());
    let process = identify(child.id());
    let pid = nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap());
    let signal = |signal| nix::sys::signal::kill(pid, signal).unwrap();
    let look = || async {
        let target = ProbeTarget { process, ..ProbeTarget::default() };
        in_time(probe(&HealthCheck::Liveness, Duration::from_millis(300), &target)).await
    };
    assert!(look().await.healthy);
    signal(nix::sys::signal::Signal::SIGSTOP);
    until("it is stopped", || crate::support::state_of(child.id()) == Some('T')).await;
    let stopped = look().await;
    assert!(!stopped.healthy && stopped.detail.contains("stopped (SIGSTOP) for 300ms"), "{stopped:?}");
    signal(nix::sys::signal::Signal::SIGCONT);
    assert!(look().await.healthy);
    signal(nix::sys::signal::Signal::SIGKILL);
    until("it has ended", || crate::support::state_of(child.id()) == Some('Z')).await;
    assert!(look().await.detail.contains("has ended"));
    child.wait().unwrap();
    assert!(look().await.detail.contains("is gone"));
    let none = in_time(probe(&HealthCheck::Liveness, LIMIT, &ProbeTarget::default())).await;
    assert!(!none.healthy);
}

#[tokio::test]
async fn a_script_is_given_what_its_process_was_started_with() {
    let script = r#"[ "$MODE" = batch ] && [ "$APM2_PID" = "$WANTED" ]"#.to_owned();
    let check = HealthCheck::Script { command: "sh".to_owned(), args: vec!["-c".to_owned(), script] };
    let process = identify(std::process::id());
    let variable = |name: &str, value: String| (name.to_owned(), value);
    let env = vec![variable("MODE", "batch".to_owned()), variable("WANTED", std::process::id().to_string())];
    let target = ProbeTarget { process, env, ..ProbeTarget::default() };
    let result = in_time(probe(&check, LIMIT, &target)).await;
    assert!(result.healthy, "{result:?}");
    assert!(!checked(&check, LIMIT).await.healthy);
}

#[tokio::test]
async fn what_a_script_said_last_is_kept_without_what_is_secret() {
    let masked = vec![("PASSWORD".to_owned(), "correcthorse".to_owned())];
    let target = ProbeTarget { masked, ..ProbeTarget::default() };
    for (text, said) in [
        ("echo begins; echo no room left; exit 3", "exit status: 3: no room left"),
        ("echo on stdout; echo on stderr >&2; echo >&2; exit 1", "exit status: 1: on stderr"),
        ("echo connecting as correcthorse; exit 1", "connecting as "),
        ("echo slow; sleep 1000", "took longer than 500ms: slow"),
    ] {
        let result = in_time(probe(&script(text), Duration::from_millis(500), &target)).await;
        assert!(!result.healthy && result.detail.contains(said), "{text}: {result:?}");
        assert!(!result.detail.contains("correcthorse"), "{result:?}");
    }
}

/// The captured part of an output may end in the middle of a line.
#[tokio::test]
async fn a_line_that_is_cut_is_not_reported() {
    for (before, said) in [("echo it is down;", "exit status: 1: it is down"), ("", "exit status: 1")] {
        let text = format!("exec >&2; {before} head -c 100000 /dev/zero | tr '\\0' x; exit 1");
        let result = checked(&script(&text), LIMIT).await;
        assert!(result.detail.ends_with(said), "{result:?}");
    }
}

/// Only the supervisor has the values of credentials. The output of the check is cut inside a credential value, and no
/// part of the value is recorded.
#[tokio::test]
async fn a_check_that_says_a_credential_has_it_masked_before_it_is_cut() {
    const SECRET: &str = "Zq8vK2m1Xw3rT6yU";
    let (log, begins) = (Log::default(), "sh: failed: exit status: 1: ");
    let pad = "x".repeat(DETAIL_CHARS_MAX - begins.len() - 5);
    let dir = tempfile::tempdir().unwrap();
    let says = dir.path().join("says");
    std::fs::write(&says, format!("{pad}{SECRET}\n")).unwrap();
    let health = HealthCheckConfig {
        check: script(&format!("cat {}; exit 1", says.display())),
        interval: Duration::from_millis(100),
        ..HealthCheckConfig::default()
    };
    let config = CredentialConfig {
        profile: "p".to_owned(),
        variables: [("A".to_owned(), "key".to_owned())].into(),
        reload_signal: None,
    };
    let restart = RestartConfig { policy: RestartPolicy::Always, ..RestartConfig::default() };
    let builder = sh_builder("exec sleep 1000").health(health).restart(restart);
    let spec = ProcessSpec { credentials: Some(config), ..builder.build() };
    let source = ["sh", "-c", &format!("echo key={SECRET}")].map(str::to_owned).to_vec();
    let launch = LaunchSpec { credential_source: Some(CredentialSource::Command(source)), ..LaunchSpec::new(spec) };
    let supervisor = log.supervisor(Vec::new());
    in_time(supervisor.bring_up(launch, false, &Requester::default())).await.unwrap();
    until("it is stopped for it", || log.names().contains(&"stopping")).await;
    in_time(supervisor.shutdown(AMPLE, &Requester::default())).await;
    let recorded = format!("{:?}", log.events());
    assert!(recorded.contains(&format!("{begins}{pad}")) && !recorded.contains(&SECRET[..3]), "{recorded}");
}
