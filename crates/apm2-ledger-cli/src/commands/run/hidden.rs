//! Removes the values of `--env` from the command line of `run`, which all users of the machine can read while `run` is
//! running (proc(5)).
//!
//! A process cannot change its command line safely, but it can execute itself again with another command line. The
//! values are passed in a memfd_create(2) file, which the new program reads and truncates.

use std::{
    env,
    ffi::{CStr, OsStr, OsString},
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::{
        fd::AsRawFd as _,
        unix::{ffi::OsStrExt as _, process::CommandExt as _},
    },
    process::Command,
};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::{commands::run::env::EnvArg, error::CliError};

/// The option that passes the descriptor of the file with the values.
const OPTION: &str = "--env-fd";

/// The name of the file with the values, as shown in `/proc/<pid>/fd`.
const FILE_NAME: &CStr = c"apm2-env";

/// The target of the link in `/proc/self/fd` to a file with values.
const LINK: &str = "/memfd:apm2-env";

/// Maximum size of the file with the values, in bytes. A command line cannot contain more.
const BYTES_MAX: u64 = 8 << 20;

/// Executes this program again (execve(2)) without the values of `variables` in its command line. Returns only if there
/// are no values to hide, or with an error.
///
/// # Errors
/// execve(2) fails. The values are then still in the command line.
pub(crate) fn hide(variables: &[EnvArg]) -> io::Result<()> {
    if !variables.iter().any(EnvArg::has_value) {
        return Ok(());
    }
    let mut file = File::from(memfd_create(FILE_NAME, MFdFlags::empty()).map_err(io::Error::from)?);
    for variable in variables {
        file.write_all(variable.text().as_bytes())?;
        file.write_all(&[0])?;
    }
    // `/proc` is checked before execve(2), because the new program cannot read the file without it.
    let link = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    if !link.as_os_str().as_bytes().starts_with(LINK.as_bytes()) {
        return Err(io::Error::other("/proc does not show this process"));
    }
    let mut words = env::args_os();
    let program = words.next().unwrap_or_default();
    let mut command = Command::new(env::current_exe()?);
    command.arg0(program).args(without_values(words, file.as_raw_fd()));
    Err(command.exec())
}

/// The arguments, with all `--env` options before `--` replaced by one option `--env-fd`.
fn without_values(words: impl Iterator<Item = OsString>, fd: i32) -> Vec<OsString> {
    let mut kept = Vec::new();
    let mut words = words.peekable();
    while let Some(word) = words.next_if(|word| word != "--") {
        if word == "--env" {
            words.next();
        } else if !word.as_bytes().starts_with(b"--env=") {
            kept.push(word);
        }
    }
    kept.push(format!("{OPTION}={fd}").into());
    kept.extend(words);
    kept
}

/// Reads the variables from the file with the descriptor `fd`.
///
/// # Errors
/// `fd` does not refer to a file with values.
pub(crate) fn handed_over(fd: u32) -> Result<Vec<EnvArg>, CliError> {
    let failed = |error: io::Error| CliError::usage(format!("{OPTION}: no variables were passed: {error}"));
    let path = format!("/proc/self/fd/{fd}");
    let link = fs::read_link(&path).map_err(failed)?;
    if !OsStr::as_bytes(link.as_os_str()).starts_with(LINK.as_bytes()) {
        return Err(failed(io::Error::other("another file")));
    }
    let mut file = File::options().read(true).write(true).open(&path).map_err(failed)?;
    let mut text = String::new();
    (&mut file).take(BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    // The file is emptied, since child processes may inherit the descriptor.
    file.set_len(0).map_err(failed)?;
    Ok(text.split_terminator('\0').map(EnvArg::new).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_values_go() {
        let words = [
            "--ledger",
            "d",
            "run",
            "--env",
            "A=hunter2",
            "--env=B=hunter2",
            "--cwd",
            "x",
            "--",
            "env",
            "--env",
            "C=1",
        ];
        let kept = without_values(words.into_iter().map(OsString::from), 5);
        assert_eq!(kept, ["--ledger", "d", "run", "--cwd", "x", "--env-fd=5", "--", "env", "--env", "C=1"]);
    }
}
