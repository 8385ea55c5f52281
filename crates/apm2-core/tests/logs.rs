//! Output in log files: complete, in order, rotated, within its limits, and never blocking the process.

use std::{fs, io, path::Path, sync::Arc, time::Duration};

use apm2_core::{
    log::{LogConfig, LogItem, LogPosition, LogReader, LogThreads, LogsDir},
    process::{EventKind, OutputSource, ProcessSpec, Requester, Stream, StreamId},
    restart::{RestartConfig, RestartPolicy},
    supervisor::{LaunchSpec, Supervisor, Unrecovered},
};
use proptest::prelude::*;

use crate::support::{Log, in_time, sh, until};

fn supervisor(log: &Log, dir: &Path) -> Supervisor {
    let mut services = log.services(Vec::new());
    services.logs = Some((LogsDir::new(dir), Arc::new(LogThreads::default())));
    Unrecovered::new(services).without_past()
}

/// Runs a script to its end with this configuration and returns the recorded stream.
async fn ended(log: &Log, dir: &Path, config: LogConfig, script: &str) -> Stream {
    let restart = RestartConfig { policy: RestartPolicy::Never, ..RestartConfig::default() };
    let spec = ProcessSpec { log: config, restart, ..sh(script) };
    let id = StreamId { process_id: spec.id, instance: 0 };
    let supervisor = supervisor(log, dir);
    in_time(supervisor.apply(LaunchSpec::new(spec), &Requester::default())).await.unwrap();
    in_time(supervisor.start(id, &Requester::default())).await.unwrap();
    in_time(supervisor.wait(id)).await.unwrap()
}

/// The whole output that can be read, and the number of files that were removed before.
fn all(path: &Path) -> (String, u64) {
    let mut reader = LogReader::from_start(path).unwrap();
    let (mut bytes, mut gaps) = (Vec::new(), 0);
    loop {
        match reader.next_item().unwrap() {
            LogItem::Bytes(read) => bytes.extend_from_slice(read),
            LogItem::Gap(files) => gaps += files,
            LogItem::End => return (String::from_utf8(bytes).unwrap(), gaps),
        }
    }
}

fn size_of(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).unwrap();
    // A file that is being compressed may be missing for a moment.
    entries.filter_map(|entry| entry.unwrap().metadata().ok()).map(|metadata| metadata.len()).sum()
}

const NUMBERS: &str = "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo $i; done";

fn assert_numbered(text: &str, first: Option<u64>) {
    let numbers: Vec<u64> = text.lines().map(|line| line.parse().unwrap()).collect();
    let first = first.unwrap_or_else(|| *numbers.first().unwrap());
    assert!(numbers.iter().copied().eq(first..=20_000), "from {first}: {:?}", numbers.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn rotated_and_compressed_files_read_as_one() {
    for compress in [false, true] {
        let (log, dir) = (Log::default(), tempfile::tempdir().unwrap());
        let config = LogConfig { rotate_bytes: 5000, compress, ..LogConfig::default() };
        ended(&log, dir.path(), config, NUMBERS).await;
        let path = dir.path().join("test-0/stdout.log");
        let (text, gaps) = all(&path);
        assert_eq!(gaps, 0);
        assert_numbered(&text, Some(1));
        let ends_with = if compress { ".gz" } else { "2" };
        let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
        until("they are rotated", || {
            fs::read_dir(path.parent().unwrap()).unwrap().map(name).any(|name| name.ends_with(ends_with))
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_on_the_whole_holds_and_the_newest_is_kept() {
    let (log, dir) = (Log::default(), tempfile::tempdir().unwrap());
    let config = LogConfig { rotate_bytes: 5000, total_bytes_max: 30_000, ..LogConfig::default() };
    ended(&log, dir.path(), config, NUMBERS).await;
    let dir = dir.path().join("test-0");
    until("the surplus is gone", || size_of(&dir) <= 30_000).await;
    for entry in fs::read_dir(&dir).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(
            text.len() <= 5000 && (text.is_empty() || text.ends_with('\n')),
            "{} bytes, {:?}",
            text.len(),
            text.lines().last()
        );
    }
    let (text, _) = all(&dir.join("stdout.log"));
    assert_numbered(&text, None);
    assert!(text.len() > 10_000, "{} bytes are left", text.len());
}

/// After `cp -al`, the log files of the copy are those of the original.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_with_several_hard_links_is_rotated_and_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("test-0/stdout.log");
    let (copy, go) = (dir.path().join("copy"), dir.path().join("go"));
    ended(&Log::default(), dir.path(), LogConfig::default(), "echo one").await;
    fs::hard_link(&path, &copy).unwrap();
    let script = format!("echo two; until [ -e '{}' ]; do sleep 0.01; done; echo three", go.display());
    let link = async {
        until("the second run has written", || all(&path).0.contains("two")).await;
        fs::hard_link(&path, dir.path().join("copy-2")).unwrap();
        fs::write(&go, "").unwrap();
    };
    let log = Log::default();
    tokio::join!(ended(&log, dir.path(), LogConfig::default(), &script), link);
    let read = |path: &Path| fs::read_to_string(path).unwrap();
    assert_eq!(all(&path), ("one\ntwo\nthree\n".to_owned(), 0));
    assert_eq!((read(&copy), read(&dir.path().join("copy-2"))), ("one\n".to_owned(), "two\n".to_owned()));
    assert_eq!(read(&path), "three\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_without_data_creates_no_log_file() {
    let dir = tempfile::tempdir().unwrap();
    ended(&Log::default(), dir.path(), LogConfig::default(), "echo one").await;
    let exists = ["stdout.log", "stderr.log"].map(|name| dir.path().join("test-0").join(name).exists());
    assert_eq!(exists, [true, false]);
    ended(&Log::default(), dir.path(), LogConfig::default(), "echo two >&2").await;
    assert_eq!(fs::read_to_string(dir.path().join("test-0/stderr.log")).unwrap(), "two\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_file_is_rotated_however_small() {
    let (log, dir) = (Log::default(), tempfile::tempdir().unwrap());
    let config = LogConfig { rotate_age: Duration::from_millis(50), ..LogConfig::default() };
    ended(&log, dir.path(), config, "echo 19999; sleep 0.2; echo 20000").await;
    assert!(dir.path().join("test-0/stdout.log.00000001").exists());
    assert_numbered(&all(&dir.path().join("test-0/stdout.log")).0, Some(19_999));
}

#[tokio::test(flavor = "multi_thread")]
async fn merged_outputs_keep_their_order_and_apart_they_are_apart() {
    let script = "i=0; while [ $i -lt 500 ]; do i=$((i+1)); echo $i; echo $i >&2; done";
    let (log, dir) = (Log::default(), tempfile::tempdir().unwrap());
    ended(&log, dir.path(), LogConfig { merge: true, ..LogConfig::default() }, script).await;
    let twice: String = (1..=500).map(|number| format!("{number}\n{number}\n")).collect();
    assert_eq!(fs::read_to_string(dir.path().join("test-0/output.log")).unwrap(), twice);
    let (log, dir) = (Log::default(), tempfile::tempdir().unwrap());
    ended(&log, dir.path(), LogConfig::default(), script).await;
    let once: String = (1..=500).map(|number| format!("{number}\n")).collect();
    for name in ["stdout.log", "stderr.log"] {
        assert_eq!(fs::read_to_string(dir.path().join("test-0").join(name)).unwrap(), once, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_begins_with_its_time_if_asked_however_it_was_written() {
    let (log, dir) = (Log::default(), tempfile::tempdir().unwrap());
    let script = "printf 'one\\ntw'; sleep 0.05; printf 'o\\n\\n'; sleep 0.05; printf end";
    ended(&log, dir.path(), LogConfig { timestamps: true, ..LogConfig::default() }, script).await;
    let text = fs::read_to_string(dir.path().join("test-0/stdout.log")).unwrap();
    let lines: Vec<&str> = text.split('\n').map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(lines, ["one", "two", "", "end"], "{text}");
    for line in text.lines() {
        chrono::DateTime::parse_from_rfc3339(line.split_once(' ').unwrap().0).unwrap();
    }
}

/// Output that cannot be written is dropped and its size recorded, and the process does not block.
#[tokio::test(flavor = "multi_thread")]
async fn output_that_cannot_be_written_is_dropped_and_recorded() {
    let (log, dir) = (Log::default(), tempfile::tempdir().unwrap());
    let config = LogConfig { stdout: Some("/dev/full".into()), ..LogConfig::default() };
    let stream = ended(&log, dir.path(), config, "head -c 1000000 /dev/zero; exit 7").await;
    assert_eq!(stream.exit().unwrap().code(), Some(7));
    let dropped: Vec<(u64, String)> = log
        .events()
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::OutputDropped { source: OutputSource::Stdout, bytes, cause } => Some((bytes, cause)),
            _ => None,
        })
        .collect();
    assert!(dropped[0].1.contains("/dev/full: it is not a regular file"), "{dropped:?}");
    assert_eq!(dropped.last().unwrap().0, 1_000_000, "{dropped:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_lines_are_attached_to_an_end_that_failed_with_secrets_masked() {
    let (log, dir) = (Log::default(), tempfile::tempdir().unwrap());
    let script = "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo line $i; done; echo password=hunter2 >&2; exit 1";
    ended(&log, dir.path(), LogConfig::default(), script).await;
    let tails: Vec<_> = log
        .events()
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::OutputTail { stdout, stderr } => Some((stdout, stderr)),
            _ => None,
        })
        .collect();
    let [(stdout, stderr)] = tails.as_slice() else { panic!("{tails:?}") };
    assert_eq!(*stdout, (3..=12).map(|number| format!("line {number}")).collect::<Vec<_>>());
    assert_eq!(stderr.len(), 1);
    assert!(!stderr[0].contains("hunter2"), "{stderr:?}");
    let (log, dir) = (Log::default(), tempfile::tempdir().unwrap());
    ended(&log, dir.path(), LogConfig::default(), "echo fine").await;
    assert!(!log.names().contains(&"output_tail"), "of one that succeeded nothing has to be explained");
}

/// The last lines of stdout of a run of `script`, which fails.
async fn last_lines_of(script: &str) -> Vec<String> {
    let (log, dir) = (Log::default(), tempfile::tempdir().unwrap());
    ended(&log, dir.path(), LogConfig::default(), script).await;
    let mut tails = log.events().into_iter().filter_map(|event| match event.kind {
        EventKind::OutputTail { stdout, .. } => Some(stdout),
        _ => None,
    });
    tails.next_back().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_last_line_that_is_too_long_keeps_its_end_and_no_part_of_a_secret() {
    for bytes in [3_000, 40_000] {
        let script = format!("head -c {bytes} /dev/zero | tr '\\0' x; printf ' because of this'; exit 1");
        let lines = last_lines_of(&script).await;
        let [line] = lines.as_slice() else { panic!("{lines:?}") };
        assert!(line.starts_with("[cut] ") && line.ends_with(" because of this") && line.len() <= 2 << 10, "{line}");
        let script = format!("printf 'token='; head -c {bytes} /dev/zero | tr '\\0' S; printf ' because'; exit 1");
        let lines = last_lines_of(&script).await.concat();
        assert!(lines.ends_with(" because") && !lines.contains("SS"), "{lines}");
    }
    let key = "echo -----BEGIN X KEY-----; for i in 1 2 3 4 5 6 7 8 9 10 11 12; do echo AAAALEAK$i; done; \
               echo -----END X KEY-----; echo because; exit 1";
    assert_eq!(last_lines_of(key).await, ["<redacted>", "because"]);
}

/// Numbered bytes in files of random sizes, read in two parts from a random position: none is lost or read twice.
fn written(dir: &Path, sizes: &[usize]) -> std::path::PathBuf {
    let path = dir.join("log");
    let mut next = 0_usize;
    for (generation, size) in (1..).zip(sizes) {
        let bytes: Vec<u8> = (next..next + size).map(|number| b'a' + u8::try_from(number % 26).unwrap()).collect();
        next += size;
        let is_last = generation == sizes.len();
        fs::write(if is_last { path.clone() } else { dir.join(format!("log.{generation:08}")) }, bytes).unwrap();
    }
    path
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn reading_goes_on_from_any_position(sizes in proptest::collection::vec(1..40_usize, 1..6), place in any::<prop::sample::Index>()) {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path(), &sizes);
        let whole = all(&path).0;
        prop_assert_eq!(whole.len(), sizes.iter().sum::<usize>());
        let generation = place.index(sizes.len());
        let offset = place.index(sizes[generation] + 1);
        let position = LogPosition { generation: u64::try_from(generation).unwrap() + 1, offset: u64::try_from(offset).unwrap() };
        let mut reader = LogReader::from_position(&path, position).unwrap();
        let mut rest = Vec::new();
        while let LogItem::Bytes(bytes) = reader.next_item().unwrap() {
            rest.extend_from_slice(bytes);
        }
        let before: usize = sizes[..generation].iter().sum();
        prop_assert_eq!(String::from_utf8(rest).unwrap(), &whole[before + offset..]);
    }
}
