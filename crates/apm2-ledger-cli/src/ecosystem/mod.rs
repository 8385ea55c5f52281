//! Reads `ecosystem.toml`, the user's list of processes to supervise as a group.
//!
//! The types in `file.rs` have the structure of the file. They are converted to launch specifications; there is no
//! conversion in the other direction.

pub(crate) mod file;

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use apm2_core::{
    log::LogsDir,
    process::{allowed_variables, current_umask},
};
use apm2_model::spec::{
    ProcessSpec,
    config::{
        health::{HealthCheck, HealthCheckConfig},
        log::LogConfig,
    },
    launch::LaunchSpec,
    name::check_name,
    validate::INSTANCES_MAX,
};
use toml::de::DeTable;

use crate::{
    ecosystem::file::{EcosystemFile, ProcessTable},
    error::CliError,
    utf8,
};

/// Default name of an ecosystem file.
pub(crate) const DEFAULT_FILE: &str = "ecosystem.toml";

/// Maximum size of an ecosystem file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The processes of one ecosystem file.
pub(crate) struct Ecosystem {
    /// Identifier of the group: the absolute path of the file.
    pub(crate) group: String,
    pub(crate) launches: Vec<LaunchSpec>,
}

/// The group of the file at `path`. The file need not exist.
pub(crate) fn group(path: &Path) -> Result<String, CliError> {
    let whole = fs::canonicalize(path).or_else(|_| std::path::absolute(path));
    let whole = whole.map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?;
    Ok(utf8::text(&whole, "the ecosystem file")?.to_owned())
}

impl Ecosystem {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// The file cannot be read or is not valid.
    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        let failed = |what: String| CliError::usage(format!("{}: {what}", path.display()));
        let text = bounded(path).map_err(|error| missing(path, &error))?;
        let text = text.ok_or_else(|| failed(format!("it is larger than {FILE_BYTES_MAX} bytes")))?;
        let group = group(path)?;
        let dir = Path::new(&group).parent().unwrap_or(Path::new("/")).to_owned();
        let file: EcosystemFile = toml::from_str(&text).map_err(|error| failed(located(&text, &error)))?;
        let launches = file.into_launches(&dir).map_err(|mistake| failed(mistake.located(&text)))?;
        Ok(Self { group, launches })
    }
}

/// Reads the text of the file; `None` when it is too long. The size is checked while the file is read, since a device
/// or a pipe reports no size.
fn bounded(path: &Path) -> io::Result<Option<String>> {
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    let is_whole = u64::try_from(text.len()).is_ok_and(|length| length <= FILE_BYTES_MAX);
    Ok(is_whole.then_some(text))
}

fn missing(path: &Path, error: &io::Error) -> CliError {
    CliError::usage(format!("{}: {error}", path.display()))
        .with_hint("name the file: `apm2-ledger up FILE`; `apm2-ledger up --help` shows one")
}

/// A parse error with its line number. The text of the line is left out, because it may contain the value of an
/// environment variable.
fn located(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| line_at(text, span.start));
    let message = without_value(error.message());
    line.map_or_else(|| message.clone(), |line| format!("line {line}: {message}"))
}

/// Removes the value from a message such as `invalid type: string "hunter2", expected a map`. The kind of the value and
/// the expected type stay.
fn without_value(message: &str) -> String {
    for what in ["invalid type: ", "invalid value: "] {
        let Some(found) = message.strip_prefix(what) else { continue };
        // The value may contain any text. The part after the last comma contains only the expected type, and no part of
        // the value.
        let (value, expected) = found.rsplit_once(", expected ").unwrap_or((found, "something else"));
        let kind = value.split(['"', '`']).next().unwrap_or_default().trim_end();
        return format!("{what}{kind}, expected {expected}");
    }
    message.to_owned()
}

/// An invalid setting: its position in the file, and the reason.
#[derive(Debug, PartialEq, Eq)]
struct InvalidSetting {
    /// Index of the process in the file.
    process: Option<usize>,
    /// The keys that lead from the process to the setting.
    keys: &'static [&'static str],
    why: String,
}

impl InvalidSetting {
    /// An error in one setting of a process.
    fn at(keys: &'static [&'static str]) -> impl Fn(String) -> Self {
        move |why| Self { process: None, keys, why }
    }

    /// The error message with the line of the setting. If the setting is not in the file, the line is that of its
    /// nearest parent table.
    fn located(self, text: &str) -> String {
        let line = self.process.and_then(|process| line_of(text, process, self.keys));
        line.map_or_else(|| self.why.clone(), |line| format!("line {line}: {}", self.why))
    }
}

impl From<String> for InvalidSetting {
    fn from(why: String) -> Self {
        Self { process: None, keys: &[], why }
    }
}

/// The line of a setting of a process, counted from 1; `None` if the setting is not in the file.
fn line_of(text: &str, process: usize, keys: &[&str]) -> Option<usize> {
    let file = DeTable::parse(text).ok()?;
    let (_, processes) = file.get_ref().iter().find(|(key, _)| key.get_ref() == "process")?;
    let mut value = processes.get_ref().as_array()?.get(process)?;
    let mut start = value.span().start;
    for name in keys {
        let Some(table) = value.get_ref().as_table() else { break };
        let Some((key, below)) = table.iter().find(|(key, _)| key.get_ref() == name) else { break };
        start = key.span().start;
        value = below;
    }
    Some(line_at(text, start))
}

fn line_at(text: &str, offset: usize) -> usize {
    text.get(..offset).unwrap_or_default().matches('\n').count() + 1
}

impl EcosystemFile {
    fn into_launches(self, dir: &Path) -> Result<Vec<LaunchSpec>, InvalidSetting> {
        if self.process.is_empty() {
            return Err("it names no [[process]]".to_owned().into());
        }
        let mut names: HashMap<String, ()> = HashMap::new();
        let mut logs = HashMap::new();
        let mut launches = Vec::new();
        for (process, table) in self.process.into_iter().enumerate() {
            let place = |mistake: InvalidSetting| InvalidSetting { process: Some(process), ..mistake };
            if names.insert(table.name.clone(), ()).is_some() {
                let why = format!("there are two processes with the name {:?}", table.name);
                return Err(place(InvalidSetting::at(&["name"])(why)));
            }
            let name = table.name.clone();
            let launch = table.into_launch(dir, &self.profile).map_err(|mistake| {
                let why = format!("process {name:?}: {}", mistake.why);
                place(InvalidSetting { why, ..mistake })
            })?;
            keep_apart(&launch.spec, &mut logs).map_err(|why| place(InvalidSetting::at(&["log"])(why)))?;
            launches.push(launch);
        }
        Ok(launches)
    }
}

/// Claims the log files of a process. Returns an error when another process has the same log file, since a log file
/// must have only one writer.
fn keep_apart(spec: &ProcessSpec, owners: &mut HashMap<PathBuf, String>) -> Result<(), String> {
    if spec.log.named().next().is_none() {
        return Ok(());
    }
    // Log files without a configured path are in a directory of their own process, so any log directory can be used here.
    let dir = LogsDir::new("");
    for instance in 0..spec.instances {
        for (_, path) in dir.files(&spec.log, &spec.name, instance).all() {
            let owner = owners.entry(path.to_owned()).or_insert_with(|| spec.name.clone());
            if *owner != spec.name {
                return Err(format!("{owner:?} and {:?} both write their log to {}", spec.name, path.display()));
            }
        }
    }
    Ok(())
}

impl ProcessTable {
    fn into_launch(self, dir: &Path, profiles: &BTreeMap<String, file::Profile>) -> Result<LaunchSpec, InvalidSetting> {
        check_name(&self.name).map_err(|error| InvalidSetting::at(&["name"])(error.to_string()))?;
        if self.instances == 0 || self.instances > INSTANCES_MAX {
            let why = format!("{} instances; there may be 1 to {INSTANCES_MAX}", self.instances);
            return Err(InvalidSetting::at(&["instances"])(why));
        }
        let in_dir = |path: PathBuf| dir.join(path);
        let mut shutdown = self.shutdown;
        shutdown.pre_stop.iter_mut().for_each(|words| place_program(dir, words));
        let mut builder = ProcessSpec::builder()
            .name(self.name)
            .command(program(dir, &self.command))
            .args(self.args)
            .cwd(self.cwd.map_or_else(|| dir.to_owned(), in_dir))
            .instances(self.instances)
            .restart(self.restart.into_config().map_err(InvalidSetting::at(&["restart", "backoff"]))?)
            .shutdown(shutdown);
        if let Some(stdin) = self.stdin {
            builder = builder.stdin(in_dir(stdin));
        }
        for (key, value) in self.env {
            builder = builder.env(key, value);
        }
        builder = builder.log(placed_log(self.log, dir)?);
        if let Some(health) = self.health {
            builder = builder.health(placed_health(health, dir)?);
        }
        let mut credential_source = None;
        if let Some(credentials) = self.credentials {
            let profile = profiles.get(&credentials.profile);
            let missing = || format!("there is no [profile.{}]", credentials.profile);
            let at = InvalidSetting::at(&["credentials", "profile"]);
            let profile = profile.ok_or_else(|| at(missing()))?;
            credential_source = Some(profile.source(dir).map_err(at)?);
            builder = builder.credentials(credentials);
        }
        let spec = builder.try_build().map_err(|error| InvalidSetting::from(error.to_string()))?;
        let mut launch = LaunchSpec::new(spec);
        launch.base_env = Some(allowed_variables());
        launch.umask = current_umask();
        launch.credential_source = credential_source;
        launch.silence_limit = self.silence_limit;
        Ok(launch)
    }
}

/// The log settings, with relative paths made absolute (relative to the directory of the file). Checks that the log
/// files can be written.
fn placed_log(log: LogConfig, dir: &Path) -> Result<LogConfig, InvalidSetting> {
    let log = log.placed_in(dir);
    apm2_core::log::check_targets(&log).map_err(|why| {
        let is_stderr = why.starts_with("log.stderr");
        InvalidSetting::at(if is_stderr { &["log", "stderr"] } else { &["log", "stdout"] })(why)
    })?;
    Ok(log)
}

/// The validated health check, with relative paths made absolute (relative to the directory of the file).
fn placed_health(mut health: HealthCheckConfig, dir: &Path) -> Result<HealthCheckConfig, InvalidSetting> {
    let keys: &[&str] = match &health.check {
        HealthCheck::Http { .. } => &["health", "check", "http", "url"],
        HealthCheck::Tcp { .. } => &["health", "check", "tcp", "address"],
        HealthCheck::Unix { .. } => &["health", "check", "unix", "path"],
        HealthCheck::Script { .. } => &["health", "check", "script", "command"],
        HealthCheck::Liveness => &["health", "check"],
    };
    health.check.validate().map_err(InvalidSetting::at(keys))?;
    match &mut health.check {
        HealthCheck::Script { command, .. } => *command = program(dir, command),
        HealthCheck::Unix { path } => *path = dir.join(&path),
        HealthCheck::Http { .. } | HealthCheck::Tcp { .. } | HealthCheck::Liveness => {}
    }
    health.validate().map_err(InvalidSetting::at(&["health"]))?;
    Ok(health)
}

/// Makes a relative path of a program absolute; it is relative to the directory of the file, like all paths in it.
fn program(dir: &Path, command: &str) -> String {
    if command.contains('/') && !command.starts_with('/') {
        dir.join(command).to_string_lossy().into_owned()
    } else {
        command.to_owned()
    }
}

/// Like `program`, for a program with arguments.
fn place_program(dir: &Path, words: &mut [String]) {
    if let Some(first) = words.first_mut() {
        *first = program(dir, first);
    }
}

#[cfg(test)]
mod tests {
    use apm2_model::spec::config::credentials::CredentialSource;

    use super::*;

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
        let nowhere = Some(PathBuf::from(apm2_model::spec::config::log::NOWHERE));
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
}
