//! The program, the arguments and the environment for execve(2), prepared before the child is created: a child that
//! shares the memory of this process must not allocate.

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString, OsStr, OsString, c_char},
    io,
    os::unix::ffi::OsStrExt as _,
    path::Path,
};

/// The shell that executes a script without an interpreter line (execvp(3)).
pub(crate) const SHELL: &CStr = c"/bin/sh";

/// The search path if the environment has no `PATH` (execvp(3), `_CS_PATH` of confstr(3)).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The parameters of execve(2). All strings and arrays are terminated as that call requires.
pub(crate) struct ExecImage {
    /// The files that are tried in turn, each with the arguments with which [`SHELL`] executes it as a script.
    candidates: Vec<(CString, StringArray)>,
    args: StringArray,
    env: StringArray,
    /// The working directory of the child; `None` for that of this process.
    cwd: Option<CString>,
    /// The strings to which the arrays point.
    _strings: Vec<CString>,
}

/// A null-terminated array of pointers to strings.
type StringArray = Vec<*const c_char>;

impl ExecImage {
    /// The execution of `command` with `args` and `env` in the directory `cwd`. A command without a slash is searched in
    /// the `PATH` of `env`, as execvp(3) does.
    ///
    /// # Errors
    /// A string contains a NUL byte.
    pub(crate) fn new(
        command: &str,
        args: &[String],
        env: &BTreeMap<OsString, OsString>,
        cwd: Option<&Path>,
    ) -> io::Result<Self> {
        let files = candidates(command, env.get(OsStr::new("PATH")).map(OsString::as_os_str))?;
        let mut strings = vec![c_string(command)?];
        for arg in args {
            strings.push(c_string(arg.as_str())?);
        }
        let of_args = strings.len();
        for (name, value) in env {
            strings.push(c_string([name.as_bytes(), value.as_bytes()].join(&b'='))?);
        }
        let (args, env) = strings.split_at(of_args);
        let as_script = |file: CString| {
            let args = args.iter().skip(1).map(CString::as_c_str);
            let args = array([SHELL, file.as_c_str()].into_iter().chain(args));
            (file, args)
        };
        let (args_array, env_array) =
            (array(args.iter().map(CString::as_c_str)), array(env.iter().map(CString::as_c_str)));
        let candidates = files.into_iter().map(as_script).collect();
        let cwd = cwd.map(|cwd| c_string(cwd.as_os_str().as_bytes())).transpose()?;
        Ok(Self { candidates, args: args_array, env: env_array, cwd, _strings: strings })
    }

    /// The files that are tried in turn, each with the arguments with which [`SHELL`] executes it as a script.
    pub(super) fn candidates(&self) -> impl Iterator<Item = (&CStr, *const *const c_char)> {
        self.candidates.iter().map(|(file, script_args)| (file.as_c_str(), script_args.as_ptr()))
    }

    /// The arguments of the program, beginning with its name.
    pub(super) const fn args(&self) -> *const *const c_char {
        self.args.as_ptr()
    }

    pub(super) const fn env(&self) -> *const *const c_char {
        self.env.as_ptr()
    }

    pub(super) fn cwd(&self) -> Option<&CStr> {
        self.cwd.as_deref()
    }
}

/// The files that execvp(3) tries for `command` with this `PATH`.
fn candidates(command: &str, search: Option<&OsStr>) -> io::Result<Vec<CString>> {
    if command.is_empty() || command.contains('/') {
        return Ok(vec![c_string(command)?]);
    }
    let search = search.unwrap_or(OsStr::new(DEFAULT_PATH));
    let in_dir = |dir: &[u8]| match dir {
        // An empty part is the working directory.
        [] => c_string(command),
        dir => c_string([dir, command.as_bytes()].join(&b'/')),
    };
    search.as_bytes().split(|byte| *byte == b':').map(in_dir).collect()
}

fn c_string(text: impl Into<Vec<u8>>) -> io::Result<CString> {
    let with_nul = |_| io::Error::new(io::ErrorKind::InvalidInput, "nul byte found in provided data");
    CString::new(text).map_err(with_nul)
}

fn array<'a>(strings: impl Iterator<Item = &'a CStr>) -> StringArray {
    strings.map(CStr::as_ptr).chain([std::ptr::null()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_without_a_slash_is_searched_in_the_parts_of_the_path() {
        let of = |command: &str, path: Option<&str>| {
            let found = candidates(command, path.map(OsStr::new)).unwrap();
            found.into_iter().map(|file| file.into_string().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(of("sh", Some("/a::b:")), ["/a/sh", "sh", "b/sh", "sh"]);
        assert_eq!(of("sh", None), ["/bin/sh", "/usr/bin/sh"]);
        assert_eq!(of("./sh", Some("/a")), ["./sh"]);
        assert_eq!(of("", Some("/a")), [""], "execve(2) refuses it with ENOENT");
    }
}
