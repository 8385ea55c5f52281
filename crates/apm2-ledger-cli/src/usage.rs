//! Error messages for a command line that cannot be parsed. They quote what was typed, which may contain control characters.

use std::{
    env,
    ffi::OsString,
    io::{self, Write as _},
    os::unix::ffi::OsStrExt as _,
};

use clap::{
    Parser as _,
    error::{Error, ErrorKind},
};

use crate::{
    args::Args,
    render::escape::{escape, escape_bytes},
};

/// Prints the usage error and exits. `--help` and `--version` are printed on standard output and exit with 0.
pub(crate) fn refuse(error: &Error) -> ! {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        error.exit()
    }
    // Parse the same arguments with control characters escaped, so that clap quotes them safely.
    let escaped: Vec<OsString> = env::args_os().map(|word| escape_bytes(word.as_bytes()).into()).collect();
    match Args::try_parse_from(escaped) {
        Err(same) if same.kind() == error.kind() => same.exit(),
        // The escaped arguments cause another error or none. Print the first one, without colours: they would be escaped too.
        _ => {
            let text = error.render().to_string();
            for line in text.lines() {
                let _ = writeln!(io::stderr(), "{}", escape(line));
            }
            std::process::exit(error.exit_code())
        }
    }
}
