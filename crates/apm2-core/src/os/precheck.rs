//! Checks before a restart whether the start can succeed, so that a running process is not stopped for a start that would fail.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs, io,
};

use apm2_model::spec::launch::LaunchSpec;
use rustix::{
    fs::{Access, access},
    param::page_size,
    process::{Resource, getrlimit},
};

use crate::os::{exec_failure, marker::RUN_VARIABLE, spawner};

/// The longest argument or environment variable, including its terminating NUL byte, in pages (`MAX_ARG_STRLEN`,
/// execve(2)).
const STRING_PAGES_MAX: usize = 32;

/// Lower bound of the limit on all strings together (`ARG_MAX`, execve(2)), in bytes.
const TOTAL_BYTES_MIN: u64 = 128 * 1024;

/// Upper bound of the limit on all strings together, for any stack size: three quarters of the kernel's default stack,
/// in bytes.
const TOTAL_BYTES_MAX: u64 = 6 * 1024 * 1024;

/// The limit on all strings together is the limit on the stack size divided by this number.
const STACK_PART: u64 = 4;

/// Largest size of the marker of a run, in bytes.
const MARKER_BYTES_MAX: usize = 128;

/// A planned start with its environment, which is checked.
struct Planned<'a> {
    launch: &'a LaunchSpec,
    env: BTreeMap<OsString, OsString>,
}

/// Checks whether `launch` could be started now, without its credentials. Blocks, because it reads the file system.
///
/// # Errors
/// A message about the first setting that prevents the start. The message contains no environment values.
pub fn check_launch(launch: &LaunchSpec) -> Result<(), String> {
    check(launch, &[])
}

/// Checks whether `launch` could be started now with these credentials. Blocks, because it reads the file system.
///
/// # Errors
/// A message about the first setting that prevents the start. The message contains no environment values.
pub(crate) fn check(launch: &LaunchSpec, credentials: &[(String, OsString)]) -> Result<(), String> {
    let planned = Planned { launch, env: spawner::environment(launch.base_env.as_ref(), &launch.spec, credentials) };
    planned.check_cwd()?;
    planned.check_program()?;
    planned.check_stdin()?;
    planned.check_strings()
}

impl Planned<'_> {
    fn check_cwd(&self) -> Result<(), String> {
        let Some(cwd) = &self.launch.spec.cwd else { return Ok(()) };
        spawner::check_cwd(cwd).map_err(|failure| format!("cwd: {}", failure.message))
    }

    fn check_program(&self) -> Result<(), String> {
        let (spec, search) = (&self.launch.spec, self.env.get(OsStr::new("PATH")).map(OsString::as_os_str));
        exec_failure::check_program(&spec.command, spec.cwd.as_deref(), search)
            .map_err(|why| format!("command: {}: {why}", spec.command))
    }

    fn check_stdin(&self) -> Result<(), String> {
        let Some(path) = &self.launch.spec.stdin else { return Ok(()) };
        // The file is not opened, because it may be a named pipe (fifo(7)). Opening the pipe would let a process continue that waits to open it for writing.
        let readable = || {
            if fs::metadata(path)?.is_dir() {
                return Err(io::Error::from(io::ErrorKind::IsADirectory));
            }
            access(path, Access::READ_OK).map_err(io::Error::from)
        };
        readable().map_err(|error: io::Error| format!("stdin: {}: {error}", path.display()))
    }

    /// The limits of execve(2) on each string and on all of them.
    fn check_strings(&self) -> Result<(), String> {
        let one_max = STRING_PAGES_MAX.saturating_mul(page_size());
        let is_too_long = |bytes: usize| bytes >= one_max;
        let (args, mut total) = (&self.launch.spec.args, self.launch.spec.command.len().saturating_mul(2));
        let mut strings: usize = 2;
        let limit = one_max.saturating_sub(1);
        for (number, arg) in (1..).zip(args) {
            if is_too_long(arg.len()) {
                return Err(format!("args: argument {number} has {} bytes; the kernel takes {limit}", arg.len()));
            }
            (strings, total) = (strings.saturating_add(1), total.saturating_add(arg.len()));
        }
        for (name, value) in &self.env {
            let bytes = name.len().saturating_add(value.len()).saturating_add(1);
            if is_too_long(bytes) {
                let name = name.display();
                return Err(format!("env: {name} has {bytes} bytes with its name; the kernel takes {limit}"));
            }
            (strings, total) = (strings.saturating_add(1), total.saturating_add(bytes));
        }
        // Each string counts with its terminating NUL byte and a pointer to it.
        let each = size_of::<usize>().saturating_add(1);
        let total = total.saturating_add(strings.saturating_mul(each)).saturating_add(RUN_VARIABLE.len());
        let total = u64::try_from(total.saturating_add(MARKER_BYTES_MAX)).unwrap_or(u64::MAX);
        let max = total_bytes_max();
        if total > max {
            return Err(format!("args and env: together they have {total} bytes; the kernel takes {max}"));
        }
        Ok(())
    }
}

/// The limit on all strings and the pointers to them together (execve(2)), in bytes.
fn total_bytes_max() -> u64 {
    let stack = getrlimit(Resource::Stack).current.unwrap_or(u64::MAX);
    (stack / STACK_PART).clamp(TOTAL_BYTES_MIN, TOTAL_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use apm2_model::spec::ProcessSpec;

    use super::*;
    use crate::os::{child::ChildSetup, spawner::tests::run_to_end};

    fn launch(args: Vec<String>, env: &[(&str, String)]) -> LaunchSpec {
        let mut spec = ProcessSpec::builder().name("n").command("true").args(args).build();
        spec.env = env.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        let path = std::env::var("PATH").unwrap();
        LaunchSpec { base_env: Some(BTreeMap::from([("PATH".to_owned(), path)])), ..LaunchSpec::new(spec) }
    }

    /// Whether execve(2) succeeds with these arguments.
    fn starts(launch: &LaunchSpec) -> bool {
        run_to_end(&launch.spec, launch.base_env.clone(), ChildSetup::default()).is_ok()
    }

    #[test]
    fn a_string_is_refused_where_the_kernel_refuses_it() {
        let max = STRING_PAGES_MAX * page_size();
        for bytes in [max - 1, max] {
            let (arg, env) = ("x".repeat(bytes), "x".repeat(bytes - "A=".len()));
            for launch in [launch(vec![arg.clone()], &[]), launch(Vec::new(), &[("A", env.clone())])] {
                assert_eq!(check(&launch, &[]).is_ok(), starts(&launch), "{bytes}");
            }
        }
        let said = check(&launch(vec![String::new(), "x".repeat(max)], &[]), &[]).unwrap_err();
        assert!(said.starts_with("args: argument 2 has"), "{said}");
    }

    #[test]
    fn strings_that_are_too_long_together_are_refused() {
        let each = 100_000;
        let max = usize::try_from(total_bytes_max()).unwrap();
        for (number, fits) in [(max / each - 1, true), (max / each + 1, false)] {
            let launch = launch(vec!["x".repeat(each); number], &[]);
            assert_eq!((check(&launch, &[]).is_ok(), starts(&launch)), (fits, fits), "{number}");
        }
    }

    #[test]
    fn a_program_is_searched_as_execvp_does() {
        let dir = tempfile::tempdir().unwrap();
        let of = |command: &str, path: Option<&str>| {
            let spec = ProcessSpec::builder().name("n").command(command).cwd(dir.path()).build();
            let base_env = path.map(|path| ("PATH".to_owned(), path.to_owned())).into_iter().collect();
            check(&LaunchSpec { base_env: Some(base_env), ..LaunchSpec::new(spec) }, &[])
        };
        assert_eq!(of("sh", Some("/no/such:/usr/bin:/bin")), Ok(()));
        assert_eq!(of("sh", None), Ok(()), "there is a default");
        for (command, path) in [("sh", "/no/such"), ("./sh", "/bin"), ("no-such-program", "/bin")] {
            let said = of(command, Some(path)).unwrap_err();
            assert!(said.starts_with("command: "), "{said}");
        }
        let script = dir.path().join("script");
        std::fs::write(&script, "#!/no/such\n").unwrap();
        assert!(of("./script", None).unwrap_err().contains("Permission denied"));
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        assert!(of("script", Some("")).unwrap_err().contains("interpreter"), "an empty part is the working directory");
        std::fs::write(&script, "#!/bin/sh\n").unwrap();
        assert_eq!(of("script", Some("/no/such:")), Ok(()));
    }
}
