//! Values of `--env` out of the command line, which everybody on the machine can read for as long as `run` lives.
//!
//! A process cannot change its command line safely, but it can execute itself anew with another one. The values are handed
//! over in a file without a name (memfd_create(2)), which the new program empties once it has read it.

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

/// The option that names the descriptor of the file with the values.
const OPTION: &str = "--env-fd";

/// What the file is called, where its owner looks at the descriptors.
const FILE_NAME: &CStr = c"apm2-env";

/// What a link to such a file says.
const LINK: &str = "/memfd:apm2-env";

/// What is handed over at most, in bytes: more than a command line can have been.
const BYTES_MAX: u64 = 8 << 20;

/// Executes this program anew without the values of `variables` in its command line, if there are any. Returns only where
/// there is nothing to hide, or with what went wrong.
///
/// # Errors
/// When it could not be executed anew. The values still stand where they stood.
pub(crate) fn hide(variables: &[EnvArg]) -> io::Result<()> {
    if !variables.iter().any(EnvArg::has_value) {
        return Ok(());
    }
    let mut file = File::from(memfd_create(FILE_NAME, MFdFlags::empty()).map_err(io::Error::from)?);
    for variable in variables {
        file.write_all(variable.text().as_bytes())?;
        file.write_all(&[0])?;
    }
    // Found before anything is given up: without it the new program could not read the file.
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

/// The arguments with one `--env-fd` in the place of every `--env`, which come before `--`.
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

/// The variables that were handed over with the descriptor `fd`.
///
/// # Errors
/// When nothing was.
pub(crate) fn handed_over(fd: u32) -> Result<Vec<EnvArg>, CliError> {
    let failed = |error: io::Error| CliError::usage(format!("{OPTION}: nothing was handed over: {error}"));
    let path = format!("/proc/self/fd/{fd}");
    let link = fs::read_link(&path).map_err(failed)?;
    if !OsStr::as_bytes(link.as_os_str()).starts_with(LINK.as_bytes()) {
        return Err(failed(io::Error::other("another file")));
    }
    let mut file = File::options().read(true).write(true).open(&path).map_err(failed)?;
    let mut text = String::new();
    (&mut file).take(BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
    // What this process starts may inherit the descriptor.
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
