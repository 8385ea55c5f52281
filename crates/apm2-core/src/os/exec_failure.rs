//! Explains why a program could not be executed if the error of execve(2) alone is misleading.
//!
//! The kernel returns `ENOENT` for an existing script whose interpreter is missing, and `EACCES` for a directory.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    libc::O_NONBLOCK,
    unistd::{AccessFlags, access},
};

/// Bytes of a script that the kernel reads to find its interpreter (`BINPRM_BUF_SIZE`).
const FIRST_LINE_BYTES_MAX: u64 = 256;

const ELF_MAGIC: &[u8] = b"\x7fELF";

/// A message that explains why the program `command` could not be executed in `cwd` with this `PATH`; `None` if the
/// text of `error` is sufficient.
pub(crate) fn reason(command: &str, cwd: Option<&Path>, search: Option<&OsStr>, error: &io::Error) -> Option<String> {
    let errno = Errno::from_raw(error.raw_os_error()?);
    if !matches!(errno, Errno::ENOENT | Errno::EACCES) {
        return None;
    }
    let program = locate(command, cwd, search)?;
    let metadata = fs::metadata(&program).ok()?;
    match errno {
        Errno::EACCES if metadata.is_dir() => Some("it is a directory".to_owned()),
        Errno::EACCES if metadata.permissions().mode() & 0o111 == 0 => {
            Some("Permission denied: it is not executable, see chmod(1)".to_owned())
        }
        _ => of_first_line(&program, cwd, errno),
    }
}

/// The search path if `PATH` is not set (execvp(3)): the union of the defaults of common C libraries.
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";

/// Checks that the program `command` exists and may be executed. Searches as execvp(3) does, relative to `cwd` and with
/// this `PATH`.
///
/// # Errors
/// A message for the user.
pub(crate) fn check_program(command: &str, cwd: Option<&Path>, search: Option<&OsStr>) -> Result<(), String> {
    let in_cwd = |path: &Path| cwd.map_or_else(|| path.to_owned(), |cwd| cwd.join(path));
    let candidates: Vec<PathBuf> = if command.is_empty() {
        Vec::new()
    } else if command.contains('/') {
        vec![in_cwd(Path::new(command))]
    } else {
        let dirs = std::env::split_paths(search.unwrap_or(OsStr::new(DEFAULT_PATH)));
        dirs.map(|dir| in_cwd(&dir).join(command)).collect()
    };
    let mut why = Errno::ENOENT;
    for program in candidates {
        let executable = fs::metadata(&program).map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)));
        let executable = executable.and_then(|metadata| match metadata.is_file() {
            true => access(&program, AccessFlags::X_OK),
            false => Err(Errno::EACCES),
        });
        match executable {
            Ok(()) => return interpreter_problem(&program, cwd).map_or(Ok(()), Err),
            // If a directory has the program but the program may not be executed, this error is reported, and not the
            // `ENOENT` of a later directory.
            Err(Errno::EACCES) => why = Errno::EACCES,
            Err(_) => {}
        }
    }
    let error = io::Error::from(why);
    Err(reason(command, cwd, search, &error).unwrap_or_else(|| description(&error)))
}

/// The description of an error as strerror(3) has it, without the number that [`io::Error`] adds.
pub(super) fn description(error: &io::Error) -> String {
    let text = error.to_string();
    let number = error.raw_os_error().map(|errno| format!(" (os error {errno})"));
    number.and_then(|number| text.strip_suffix(&number)).unwrap_or(&text).to_owned()
}

/// A message that explains why the interpreter of the script `program` cannot be executed; `None` if it can be
/// executed, or if `program` is no script.
fn interpreter_problem(program: &Path, cwd: Option<&Path>) -> Option<String> {
    let is_script = first_bytes(program).is_ok_and(|first| first.starts_with(b"#!"));
    let problem = |errno| of_first_line(program, cwd, errno);
    if is_script { problem(Errno::ENOENT).or_else(|| problem(Errno::EACCES)) } else { None }
}

/// The file that `command` refers to, if it exists.
fn locate(command: &str, cwd: Option<&Path>, search: Option<&OsStr>) -> Option<PathBuf> {
    let in_cwd = |path: &Path| cwd.map_or_else(|| path.to_owned(), |cwd| cwd.join(path));
    if command.contains('/') {
        return Some(in_cwd(Path::new(command)));
    }
    let mut found = std::env::split_paths(search?).map(|dir| in_cwd(&dir).join(command));
    found.find(|path| path.is_file())
}

/// A message that explains why the interpreter in the first line (`#!`) of `program` cannot be executed.
fn of_first_line(program: &Path, cwd: Option<&Path>, errno: Errno) -> Option<String> {
    let first = first_bytes(program).ok()?;
    if errno == Errno::ENOENT && first.starts_with(ELF_MAGIC) {
        return Some(
            "the dynamic linker that it names does not exist: is it of another C library or machine?".to_owned(),
        );
    }
    let is_whole = u64::try_from(first.len()).is_ok_and(|bytes| bytes < FIRST_LINE_BYTES_MAX) || first.contains(&b'\n');
    if !is_whole {
        // An interpreter name that was read incompletely is not reported, because it would be misleading.
        return None;
    }
    let line = first.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line);
    // The line is parsed as in the kernel: blanks and tabs separate words, and a carriage return is part of a word.
    let interpreter = line.split([' ', '\t']).find(|word| !word.is_empty())?;
    let path = cwd.map_or_else(|| PathBuf::from(interpreter), |cwd| cwd.join(interpreter));
    match errno {
        Errno::ENOENT if !path.exists() => Some(format!("its interpreter {interpreter:?} does not exist")),
        Errno::EACCES if access(&path, AccessFlags::X_OK).is_err() => {
            Some(format!("its interpreter {interpreter:?} cannot be executed"))
        }
        _ => None,
    }
}

fn first_bytes(path: &Path) -> io::Result<Vec<u8>> {
    // Only regular files are opened: open(2) of a FIFO would wait for a writer.
    let file: File = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    }
    let mut first = Vec::new();
    file.take(FIRST_LINE_BYTES_MAX).read_to_end(&mut first)?;
    Ok(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_described_in_the_words_of_the_c_library() {
        let of = |errno: Errno| description(&io::Error::from(errno));
        assert_eq!(of(Errno::ENOENT), "No such file or directory");
        assert_eq!(of(Errno::EAGAIN), "Resource temporarily unavailable");
        assert_eq!(description(&io::Error::other("it is over")), "it is over");
    }

    /// The message about a `program` with these bytes and this mode after the error `errno`.
    fn said(bytes: &[u8], mode: u32, errno: Errno) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("program");
        fs::write(&path, bytes).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let error = io::Error::from(errno);
        let by_path = reason("./program", Some(dir.path()), None, &error);
        let by_name = reason("program", None, Some(dir.path().as_os_str()), &error);
        assert_eq!(by_path, by_name);
        by_path
    }

    #[test]
    fn a_script_without_its_interpreter_is_told_from_one_that_is_not_there() {
        let said = |bytes| said(bytes, 0o755, Errno::ENOENT).unwrap_or_default();
        assert_eq!(said(b"#!/no/such -x\necho"), "its interpreter \"/no/such\" does not exist");
        assert_eq!(said(b"#! /bin/sh\r\n"), "its interpreter \"/bin/sh\\r\" does not exist");
        assert!(said(b"\x7fELF\x02").contains("dynamic linker"));
        // An interpreter name that was not read completely is not reported.
        assert_eq!(said(format!("#!/no/{}\n", "x".repeat(300)).as_bytes()), "");
        let missing = reason("./missing", Some(Path::new("/")), None, &io::Error::from(Errno::ENOENT));
        assert_eq!(missing, None);
    }

    #[test]
    fn a_program_that_cannot_be_executed_has_a_reason() {
        assert!(said(b"", 0o644, Errno::EACCES).unwrap().contains("not executable"));
        let dir = reason("./tmp", Some(Path::new("/")), None, &io::Error::from(Errno::EACCES));
        assert_eq!(dir.as_deref(), Some("it is a directory"));
        assert_eq!(said(b"#!/bin/sh\n", 0o755, Errno::E2BIG), None);
    }
}
