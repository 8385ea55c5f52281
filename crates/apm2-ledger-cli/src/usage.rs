//! What is said about a command line that cannot be understood. It quotes what was typed, which may be anything.

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

/// Says what is wrong, and ends the program. Help and the version are no mistakes, and are printed.
pub(crate) fn refuse(error: &Error) -> ! {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        error.exit()
    }
    // The same mistake, made in writing that does nothing to a terminal.
    let escaped: Vec<OsString> = env::args_os().map(|word| escape_bytes(word.as_bytes()).into()).collect();
    match Args::try_parse_from(escaped) {
        Err(same) if same.kind() == error.kind() => same.exit(),
        // It was a mistake only because of what is escaped. Colours are left out: they would be escaped, too.
        _ => {
            let text = error.render().to_string();
            for line in text.lines() {
                let _ = writeln!(io::stderr(), "{}", escape(line));
            }
            std::process::exit(error.exit_code())
        }
    }
}
