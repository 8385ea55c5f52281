//! The conversion of the tables of an `ecosystem.toml` to launch specifications.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
};

use apm2_core::{
    log::LogsDir,
    process::{allowed_variables, current_umask},
};
use apm2_model::spec::{ProcessSpec, launch::LaunchSpec, name::check_name, validate::INSTANCES_MAX};

use crate::ecosystem::{
    file::{EcosystemFile, ProcessTable, Profile},
    invalid_setting::InvalidSetting,
    paths::{place_program, placed_health, placed_log, program},
};

impl EcosystemFile {
    pub(crate) fn into_launches(self, dir: &Path) -> Result<Vec<LaunchSpec>, InvalidSetting> {
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
    fn into_launch(self, dir: &Path, profiles: &BTreeMap<String, Profile>) -> Result<LaunchSpec, InvalidSetting> {
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
        if let Some(agent) = self.agent {
            builder = builder.agent(agent);
        }
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
