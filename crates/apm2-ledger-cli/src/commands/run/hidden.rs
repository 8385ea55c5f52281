//! Removes values of `--env` from our command line, which all users of the machine can read while `run` lives (proc(5)).
//!
//! A process cannot change its command line safely, but it can execute itself again with another one. The values are passed
//! in a memfd_create(2) file, which the new program reads and truncates.

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

/// Option with the descriptor of the file.
const OPTION: &str = "--env-fd";

/// Name of the file, as shown in `/proc/PID/fd`.
const FILE_NAME: &CStr = c"apm2-env";

/// Target of the link to such a file in `/proc/self/fd`.
const LINK: &str = "/memfd:apm2-env";

/// Maximum size of the file in bytes: more than a command line can hold.
const BYTES_MAX: u64 = 8 << 20;

/// Executes this program again without the values of `variables` in its command line. Returns only when there are no values
/// to hide, or with an error.
///
/// # Errors
/// When execve(2) fails. The values are then still in the command line.
pub(crate) fn hide(variables: &[EnvArg]) -> io::Result<()> {
    if !variables.iter().any(EnvArg::has_value) {
        return Ok(());
    }
    let mut file = File::from(memfd_create(FILE_NAME, MFdFlags::empty()).map_err(io::Error::from)?);
    for variable in variables {
        file.write_all(variable.text().as_bytes())?;
        file.write_all(&[0])?;
    }
    // Check before execve(2): the new program cannot read the file without `/proc`.
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

/// The arguments with each `--env` before `--` replaced by one `--env-fd`.
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

/// The variables from the file with descriptor `fd`.
///
/// # Errors
/// When it is not such a file.
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
