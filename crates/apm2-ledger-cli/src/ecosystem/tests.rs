//! From the text of a file to launch specifications, and to errors with a line.

use std::path::{Path, PathBuf};

use apm2_model::spec::{
    config::{
        agent::{SESSION, SESSION_ARGS},
        credentials::CredentialSource,
        health::HealthCheck,
        log::NOWHERE,
    },
    launch::LaunchSpec,
};

use crate::ecosystem::{file::EcosystemFile, invalid_setting::located};

fn launches(text: &str) -> Result<Vec<LaunchSpec>, String> {
    let file: EcosystemFile = toml::from_str(text).map_err(|error| located(text, &error))?;
    file.into_launches(Path::new("/d")).map_err(|mistake| mistake.located(text))
}

#[test]
fn an_error_does_not_contain_the_value() {
    for (line, said) in [
        ("env = 'hunter2'", "line 4: invalid type: string, expected a map"),
        ("env = { TOKEN = 4711 }", "line 4: invalid type: integer, expected a string"),
        ("env = { TOKEN = 47.11 }", "line 4: invalid type: floating point, expected a string"),
        ("env = [1]", "line 4: invalid type: sequence, expected a map"),
        ("env = 'hunter2, expected hunter2'", "line 4: invalid type: string, expected a map"),
        ("env = \"hunter2\\\", expected `hunter2`\"", "line 4: invalid type: string, expected a map"),
        ("instances = -4711", "line 4: invalid value: integer, expected u32"),
    ] {
        let error = launches(&format!("[[process]]\nname = 'a'\ncommand = 'true'\n{line}\n")).unwrap_err();
        assert_eq!(error, said, "{line}");
    }
}

#[test]
fn every_program_is_beside_the_file() {
    let text = "
        [[process]]
        name = 'a'
        command = './serve'
        shutdown = { pre_stop = [['./drain', './now'], ['echo']] }
        health = { check = { script = { command = 'bin/check' } } }
        credentials = { profile = 'p', variables = { KEY = 'key' } }
        [profile.p]
        command = ['../pass', 'show']";
    let launches = launches(text).unwrap();
    let [LaunchSpec { spec, credential_source, .. }] = launches.as_slice() else { panic!("{launches:?}") };
    assert_eq!(spec.command, "/d/./serve");
    assert_eq!(spec.shutdown.pre_stop, [vec!["/d/./drain", "./now"], vec!["echo"]]);
    let check = spec.health.as_ref().map(|health| &health.check);
    assert_eq!(check, Some(&HealthCheck::Script { command: "/d/bin/check".to_owned(), args: vec![] }));
    let source = CredentialSource::Command(vec!["/d/../pass".to_owned(), "show".to_owned()]);
    assert_eq!(credential_source, &Some(source));
}

#[test]
fn a_log_file_has_one_writer() {
    let two = |a: &str, b: &str| {
        let process = |name, more| format!("[[process]]\nname = '{name}'\ncommand = 'true'\n{more}\n");
        launches(&(process("a", a) + &process("b", b))).map(|_| ())
    };
    let said = Err("line 8: \"a\" and \"b\" both write their log to /d/x.log".to_owned());
    assert_eq!(two("log.stdout = './x.log'", "log.stdout = 'x.log'"), said);
    assert_eq!(two("log.stdout = 'x.log'", "log.stderr = '/d/x.log'"), said);
    assert!(two("log.stdout = 'x.log'\ninstances = 2", "log.stdout = 'x-1.log'").is_err());
    assert_eq!(two("log.stdout = 'x.log'\nlog.stderr = 'x.log'", "log.stdout = 'y.log'"), Ok(()));
    assert_eq!(two("", ""), Ok(()));
}

#[test]
fn invalid_checks_and_logs_are_reported_with_their_line() {
    let head = "[[process]]\nname = 'first'\ncommand = 'true'\n\n[[process]]\nname = 'a'\ncommand = 'true'\n";
    for (settings, line, said) in [
        ("health = { check = { http = { url = 'http://127.0.0.1:99999/' } } }", 8, "port"),
        ("[process.health]\ninterval = '1s'\n[process.health.check.http]\nurl = 'http://a b/'", 11, "URL"),
        ("[process.health]\ncheck = { http = { url = 'http://' } }", 9, "HOST"),
        ("[process.health]\n\ncheck.tcp.address = 'unix:/run/x.sock'", 10, "unix = { path"),
        ("health = { check = { tcp = { address = 'tcp://127.0.0.1:80' } } }", 8, "host:port"),
        ("health = { check = { tcp = { address = '127.0.0.1:99999' } } }", 8, "port"),
        ("health = { check = { unix = { path = '' } } }", 8, "empty"),
        ("health = { check = { http = { url = 'http://a/', expected_status = [] } } }", 8, "no status"),
        ("health = { check = { http = { url = 'http://a/', expected_status = [200, 7] } } }", 8, "100 to 599"),
        ("\nhealth = { check = 'liveness', env = { A = 'hunter2' } }", 9, "for a script"),
        ("health = { check = { script = { command = 'x' } }, env = { 'A=B' = 'hunter2' } }", 8, "health.env"),
        ("[process.log]\nmerge = true\nstdout = ''", 10, "log.stdout is empty"),
        ("[process.log]\nstdout = 'x'\nstderr = '/'", 10, "log.stderr names no file"),
        ("log = { stdout = '/etc' }", 8, "a directory"),
        ("log = { stderr = '/dev/zero' }", 8, "not a regular file"),
        ("log = { stderr = '/proc/self' }", 8, "a symbolic link"),
        ("instances = 0", 8, "1 to 1024"),
        ("credentials = { profile = 'p', variables = { A = 'a' } }", 8, "[profile.p]"),
    ] {
        let error = launches(&format!("{head}{settings}\n")).unwrap_err();
        assert!(error.starts_with(&format!("line {line}: process \"a\": ")), "{settings}: {error}");
        assert!(error.contains(said) && !error.contains("hunter2"), "{settings}: {error}");
    }
}

#[test]
fn what_is_asked_and_written_is_beside_the_file() {
    let of = |settings: &str| {
        let text = format!("[[process]]\nname = 'a'\ncommand = 'true'\n{settings}\n");
        launches(&text).unwrap().remove(0).spec
    };
    let check = of("health = { check = { unix = { path = 'x.sock' } } }").health.unwrap().check;
    assert_eq!(check, HealthCheck::Unix { path: "/d/x.sock".into() });
    let nowhere = Some(PathBuf::from(NOWHERE));
    let log = of("log = { stdout = 'none', stderr = '/dev/null' }").log;
    assert_eq!((&log.stdout, &log.stderr, log.named().count()), (&nowhere, &nowhere, 0));
    assert_eq!(of("log = { stdout = './none' }").log.stdout, Some("/d/./none".into()));
}

#[test]
fn an_invalid_back_off_is_reported_with_the_valid_forms() {
    for backoff in ["1", "{ cubic = {} }", "{ fixed = { delay = 1 } }"] {
        let table = format!("[[process]]\nname = 'a'\ncommand = 'true'\nrestart = {{ backoff = {backoff} }}\n");
        let error = launches(&table).unwrap_err();
        assert!(error.starts_with("line 4: ") && error.contains("linear:1s+500ms..1m"), "{error}");
    }
}

#[test]
fn there_are_as_many_instances_as_there_may_be() {
    for instances in [0, 1025] {
        let table = format!("[[process]]\nname = 'a'\ncommand = 'true'\ninstances = {instances}\n");
        assert!(launches(&table).is_err_and(|error| error.contains("1 to 1024")));
    }
}

#[test]
fn the_example_of_agents_is_accepted() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/example/agents.toml");
    let launches = launches(&std::fs::read_to_string(example).unwrap()).unwrap();
    let kinds: Vec<_> = launches.iter().map(|launch| launch.spec.agent.as_ref().unwrap().kind.to_string()).collect();
    assert_eq!(kinds, ["claude-code", "codex", "gemini"]);
    for LaunchSpec { spec, .. } in &launches {
        let agent = spec.agent.as_ref().unwrap();
        assert_eq!(spec.args.iter().filter(|arg| *arg == SESSION_ARGS).count(), 1, "{}", spec.name);
        assert!(agent.resume_args.iter().any(|arg| arg == SESSION), "{}", spec.name);
        assert!(!spec.args.iter().any(|arg| arg == "-p") || spec.name == "claude", "prompts are not arguments");
    }
}
