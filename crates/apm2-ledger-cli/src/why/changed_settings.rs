//! The settings in which two specifications of a process differ, by their names in an ecosystem file.

use apm2_model::spec::ProcessSpec;

/// The names of the settings that differ. Values of variables and secrets are not recorded, so a change of them alone is not
/// found.
pub(crate) fn changed_settings(before: &ProcessSpec, after: &ProcessSpec) -> Vec<&'static str> {
    // Without `..`, so that a new setting is compared, too.
    let ProcessSpec {
        id: _,
        name,
        command,
        args,
        cwd,
        env,
        instances,
        restart,
        health,
        log,
        shutdown,
        credentials,
        stdin,
        agent,
    } = before;
    let settings = [
        ("name", *name != after.name),
        ("command", *command != after.command),
        ("args", *args != after.args),
        ("cwd", *cwd != after.cwd),
        ("env", *env != after.env),
        ("instances", *instances != after.instances),
        ("restart", *restart != after.restart),
        ("health", *health != after.health),
        ("log", *log != after.log),
        ("shutdown", *shutdown != after.shutdown),
        ("credentials", *credentials != after.credentials),
        ("stdin", *stdin != after.stdin),
        ("agent", *agent != after.agent),
    ];
    settings.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}
