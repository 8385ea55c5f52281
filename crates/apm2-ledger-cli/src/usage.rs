//! Prints the error for a command line that cannot be parsed. The error quotes the command line, which may contain
//! control characters.

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

/// Prints the usage error and exits. The texts of `--help` and `--version` are printed on standard output, with exit
/// code 0.
pub(crate) fn refuse(error: &Error) -> ! {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        error.exit()
    }
    // The same arguments are parsed again with control characters escaped, so that the error of clap contains only
    // escaped text.
    let escaped: Vec<OsString> = env::args_os().map(|word| escape_bytes(word.as_bytes()).into()).collect();
    match Args::try_parse_from(escaped) {
        Err(same) if same.kind() == error.kind() => same.exit(),
        // The escaped arguments lead to another error or to no error. The first error is printed without colours,
        // because its escape sequences would be escaped, too.
        _ => {
            let text = error.render().to_string();
            for line in text.lines() {
                let _ = writeln!(io::stderr(), "{}", escape(line));
            }
            std::process::exit(error.exit_code())
        }
    }
}
