//! `ecosystem.toml`: processes that belong together, as a person writes them down.
//!
//! The types here are those of the file. They are made into launches in one direction, and nothing else ever has them.

mod file;

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use apm2_core::{
    process::{ProcessSpec, allowed_variables},
    supervisor::{Launch, is_name},
};

use self::file::{EcosystemFile, ProcessTable};
use crate::error::CliError;

/// What the file is called where none is named.
pub(crate) const DEFAULT_FILE: &str = "ecosystem.toml";

/// The size of the file.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Processes that belong together.
pub(crate) struct Ecosystem {
    /// By what they belong together: the file's path, whole.
    pub(crate) group: String,
    pub(crate) launches: Vec<Launch>,
}

/// The group of the file at `path`, which need not be readable any more.
pub(crate) fn group(path: &Path) -> Result<String, CliError> {
    let whole = fs::canonicalize(path).or_else(|_| std::path::absolute(path));
    let whole = whole.map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?;
    Ok(whole.to_string_lossy().into_owned())
}

impl Ecosystem {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it cannot be read, or does not say what to run.
    pub(crate) fn read(path: &Path) -> Result<Self, CliError> {
        let failed = |what: String| CliError::usage(format!("{}: {what}", path.display()));
        let length = fs::metadata(path).map_err(|error| missing(path, &error))?.len();
        if length > FILE_BYTES_MAX {
            return Err(failed(format!("it is larger than {FILE_BYTES_MAX} bytes")));
        }
        let text = fs::read_to_string(path).map_err(|error| missing(path, &error))?;
        let group = group(path)?;
        let dir = Path::new(&group).parent().unwrap_or(Path::new("/")).to_owned();
        // The message without the text: the line may hold the value of a variable.
        let file: EcosystemFile = toml::from_str(&text).map_err(|error| failed(located(&text, &error)))?;
        let launches = file.into_launches(&dir).map_err(failed)?;
        Ok(Self { group, launches })
    }
}

fn missing(path: &Path, error: &std::io::Error) -> CliError {
    CliError::usage(format!("{}: {error}", path.display()))
        .with_hint("name the file: `apm2-ledger up FILE`; `apm2-ledger up --help` shows one")
}

/// A mistake with its line.
fn located(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| text.get(..span.start).unwrap_or_default().matches('\n').count() + 1);
    let message = error.message();
    line.map_or_else(|| message.to_owned(), |line| format!("line {line}: {message}"))
}

impl EcosystemFile {
    fn into_launches(self, dir: &Path) -> Result<Vec<Launch>, String> {
        if self.process.is_empty() {
            return Err("it names no [[process]]".to_owned());
        }
        let mut names: HashMap<String, ()> = HashMap::new();
        let mut launches = Vec::new();
        for table in self.process {
            if names.insert(table.name.clone(), ()).is_some() {
                return Err(format!("there are two processes with the name {:?}", table.name));
            }
            let name = table.name.clone();
            let launch = table.into_launch(dir, &self.profile).map_err(|why| format!("process {name:?}: {why}"))?;
            launches.push(launch);
        }
        Ok(launches)
    }
}

impl ProcessTable {
    fn into_launch(self, dir: &Path, profiles: &BTreeMap<String, file::Profile>) -> Result<Launch, String> {
        if !is_name(&self.name) {
            return Err(
                "a name has 1 to 64 letters, digits, '.', '_' and '-', and begins with a letter or digit".to_owned()
            );
        }
        let in_dir = |path: PathBuf| dir.join(path);
        let mut builder = ProcessSpec::builder()
            .name(self.name)
            .command(program(dir, &self.command))
            .args(self.args)
            .cwd(self.cwd.map_or_else(|| dir.to_owned(), in_dir))
            .instances(self.instances)
            .restart(self.restart.into_config()?)
            .shutdown(self.shutdown);
        for (key, value) in self.env {
            builder = builder.env(key, value);
        }
        let mut log = self.log;
        log.stdout = log.stdout.map(in_dir);
        log.stderr = log.stderr.map(in_dir);
        builder = builder.log(log);
        if let Some(health) = self.health {
            builder = builder.health(health);
        }
        let mut credential_source = None;
        if let Some(credentials) = self.credentials {
            let profile = profiles.get(&credentials.profile);
            let profile = profile.ok_or_else(|| format!("there is no [profile.{}]", credentials.profile))?;
            credential_source = Some(profile.source(dir)?);
            builder = builder.credentials(credentials);
        }
        let spec = builder.try_build().map_err(|error| error.to_string())?;
        let mut launch = Launch::new(spec);
        launch.base_env = Some(allowed_variables());
        launch.credential_source = credential_source;
        launch.silence_limit = self.silence_limit;
        Ok(launch)
    }
}

/// A program named by a relative path is in the file's directory, as everything else in it.
fn program(dir: &Path, command: &str) -> String {
    if command.contains('/') && !command.starts_with('/') {
        dir.join(command).to_string_lossy().into_owned()
    } else {
        command.to_owned()
    }
}
