//! The input of adapters and the recording of their observations.

use std::sync::Arc;

use apm2_core::{
    adapter::{Adapter, LINE_BYTES_MAX, Line, OBSERVATION_CHARS_MAX, Observation},
    log::{LogThreads, LogsDir},
    process::{EventKind, ProcessSpec, Requester, StreamId, Timestamp},
    supervisor::{LaunchSpec, Services, Unrecovered},
};

use crate::support::{AMPLE, Log, in_time, sh, until};

/// An adapter that parses lines such as `{"tool":"edit"}` only.
struct Tools;

impl Adapter for Tools {
    fn name(&self) -> &'static str {
        "tools"
    }

    fn wants_lines(&self) -> bool {
        true
    }

    fn line(&mut self, line: Line<'_>, _now: Timestamp) -> Vec<Observation> {
        let text = String::from_utf8_lossy(line.bytes);
        let tool = text.strip_prefix("{\"tool\":\"").and_then(|rest| rest.strip_suffix("\"}"));
        tool.map(Observation::new).into_iter().collect()
    }
}

#[tokio::test]
async fn lines_of_json_become_events() {
    let (log, dir) = (Log::default(), tempfile::tempdir().unwrap());
    let mut services: Services = log.services(Vec::new());
    services.logs = Some((LogsDir::new(dir.path()), Arc::new(LogThreads::default())));
    services.adapters = Arc::new(|_| Some(Box::new(Tools)));
    let supervisor = Unrecovered::new(services).without_past();
    // The last line is written in two pieces.
    let spec = sh(r#"echo '{"tool":"edit"}'; echo no; printf '{"tool":'; sleep 0.1; echo '"run"}'; exec sleep 1000"#);
    let id = StreamId { process_id: spec.id, instance: 0 };
    in_time(supervisor.apply(LaunchSpec::new(spec), &Requester::default())).await.unwrap();
    for run in 1..=2 {
        in_time(supervisor.start(id, &Requester::default())).await.unwrap();
        let said = || {
            let events = log.events().into_iter().filter(|event| event.run == run);
            let said = events.filter_map(|event| match event.kind {
                EventKind::Observed { adapter, detail } => Some((adapter, detail)),
                _ => None,
            });
            said.collect::<Vec<_>>()
        };
        until("both are seen", || said().len() >= 2).await;
        let expected = ["edit", "run"].map(|tool| ("tools".to_owned(), tool.to_owned()));
        assert_eq!(said(), expected, "run {run} sees its own lines");
        in_time(supervisor.stop(id, None, &Requester::default())).await.unwrap();
    }
}

/// An observation is masked before it is cut, and the end of a line that is cut contains no part of a secret.
#[tokio::test]
async fn no_part_of_a_value_is_left_where_an_observation_or_a_line_is_cut() {
    const SECRET: &str = "Zq8vK2m1Xw3rT6yU";
    /// Observes the end of each line.
    struct Ends;
    impl Adapter for Ends {
        fn name(&self) -> &'static str {
            "ends"
        }

        fn wants_lines(&self) -> bool {
            true
        }

        fn line(&mut self, line: Line<'_>, _now: Timestamp) -> Vec<Observation> {
            let text = String::from_utf8_lossy(line.bytes);
            let end = text.get(text.len().saturating_sub(8)..).unwrap_or(&text);
            vec![Observation::new(if line.is_cut { end } else { &text })]
        }
    }
    let (log, dir) = (Log::default(), tempfile::tempdir().unwrap());
    let mut services: Services = log.services(Vec::new());
    services.logs = Some((LogsDir::new(dir.path()), Arc::new(LogThreads::default())));
    services.adapters = Arc::new(|_| Some(Box::new(Ends)));
    let supervisor = Unrecovered::new(services).without_past();
    let (short, long) = (OBSERVATION_CHARS_MAX - 5, LINE_BYTES_MAX - 5);
    let pad = |length: usize| format!("head -c {length} /dev/zero | tr '\\0' x; echo \"$PASSWORD\"");
    let script = format!("{}; {}; exec sleep 1000", pad(short), pad(long));
    let spec = ProcessSpec { env: [("PASSWORD".to_owned(), SECRET.to_owned())].into(), ..sh(&script) };
    in_time(supervisor.bring_up(LaunchSpec::new(spec), false, &Requester::default())).await.unwrap();
    let seen = || {
        let details = log.events().into_iter().filter_map(|event| match event.kind {
            EventKind::Observed { detail, .. } => Some(detail),
            _ => None,
        });
        details.collect::<Vec<_>>()
    };
    until("both are seen", || seen().len() >= 2).await;
    in_time(supervisor.shutdown(AMPLE, &Requester::default())).await;
    let seen = seen();
    assert!(seen.iter().all(|detail| !detail.contains(&SECRET[..1])), "{:?}", &seen[1]);
    assert_eq!((seen[0].len(), &*seen[1]), (short, "xxxxxxxx"));
}
