//! The option `--env-file`: environment variables from a file that only its owner can read. Error messages do not quote
//! the content of the file.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use apm2_model::spec::name::is_shell_variable_name;
use nix::{libc, unistd::geteuid};

use crate::error::CliError;

/// Maximum size of the file in bytes. Arguments and environment of a program are limited to about this size (execve(2)).
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Permission bits that the file must not have: access for the group and for other users.
const OTHERS: u32 = 0o077;

/// Reads the variables in the order of the file. If a name occurs several times, the last value applies.
///
/// # Errors
/// The file is not a regular file that belongs to the user and that only the user can read, or it has a line that is
/// not `NAME=VALUE`.
pub(crate) fn read(path: &Path) -> Result<Vec<(String, String)>, CliError> {
    let text = read_text(path)?;
    parse(&text).map_err(|InvalidLine { line, what }| {
        CliError::usage(format!("--env-file {}: line {line}: {what}", path.display())).with_hint(
            "a line is NAME=VALUE, the value in quotes where it has blanks at its ends, or `#` and a comment",
        )
    })
}

fn read_text(path: &Path) -> Result<String, CliError> {
    let refused = |why: &str| CliError::usage(format!("--env-file {}: {why}", path.display()));
    let failed = |error: io::Error| match error.raw_os_error() {
        Some(libc::ELOOP) => refused("it is a symbolic link, and may lead anywhere").with_hint("name the file itself"),
        _ => refused(&format!("it cannot be read: {error}")),
    };
    // The file is opened with O_NONBLOCK, since opening a FIFO without a writer would block.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC;
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(refused("it is not a regular file"));
    }
    if metadata.uid() != geteuid().as_raw() {
        return Err(refused("it belongs to another user").with_hint("copy it, so that it is yours"));
    }
    if metadata.mode() & OTHERS != 0 {
        let hint = format!("chmod 600 {}", path.display());
        return Err(refused("others than its owner may read or change it").with_hint(hint));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > FILE_BYTES_MAX {
        return Err(refused("it is larger than 1 MiB"));
    }
    String::from_utf8(bytes).map_err(|_| refused("it is not UTF-8"))
}

/// Why a line is refused, without the text of the line.
#[derive(Debug, PartialEq, Eq)]
struct InvalidLine {
    line: usize,
    what: &'static str,
}

fn parse(text: &str) -> Result<Vec<(String, String)>, InvalidLine> {
    let mut variables: Vec<(String, String)> = Vec::new();
    let mut rest = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut line = 1;
    while !rest.is_empty() {
        let (variable, read) = entry(rest).map_err(|what| InvalidLine { line, what })?;
        let (done, left) = rest.split_at(read);
        if let Some((name, value)) = variable {
            variables.retain(|(known, _)| *known != name);
            variables.push((name, value));
        }
        line += done.matches('\n').count();
        rest = left;
    }
    Ok(variables)
}

/// A variable, or `None` for a blank line or a comment, together with the number of parsed bytes.
type Entry = (Option<(String, String)>, usize);

/// Parses the variable at the beginning of `text`. Returns the variable, or `None` for a blank line or a comment,
/// together with the number of parsed bytes.
fn entry(text: &str) -> Result<Entry, &'static str> {
    let line_bytes = text.find('\n').map_or(text.len(), |end| end + 1);
    let line = text.get(..line_bytes).unwrap_or_default();
    let bare = line.trim();
    if bare.is_empty() || bare.starts_with('#') {
        return Ok((None, line_bytes));
    }
    let (before, after) = line.split_once('=').ok_or("there is no `=`")?;
    let name = before.trim();
    let name = name.strip_prefix("export").filter(|rest| rest.starts_with([' ', '\t'])).map_or(name, str::trim);
    if !is_shell_variable_name(name) {
        return Err("what is before `=` is no name of a variable: letters, digits and `_`, no digit first");
    }
    let value_at = before.len() + 1 + (after.len() - after.trim_start_matches([' ', '\t']).len());
    let value = text.get(value_at..).unwrap_or_default();
    match value.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            let (value, read) = quoted(value, quote)?;
            let end = value_at + read;
            let tail = text.get(end..).unwrap_or_default();
            let tail_bytes = tail.find('\n').map_or(tail.len(), |end| end + 1);
            let tail = tail.get(..tail_bytes).unwrap_or_default().trim();
            if !(tail.is_empty() || tail.starts_with('#')) {
                return Err("something follows the closing quote");
            }
            valid(name, value, end + tail_bytes)
        }
        _ => {
            let value = line.get(value_at..).unwrap_or_default();
            let comment = value.find(" #").or_else(|| value.find("\t#")).unwrap_or(value.len());
            valid(name, value.get(..comment).unwrap_or_default().trim().to_owned(), line_bytes)
        }
    }
}

fn valid(name: &str, value: String, read: usize) -> Result<Entry, &'static str> {
    if value.contains('\0') {
        return Err("a value must not contain a NUL byte");
    }
    Ok((Some((name.to_owned(), value)), read))
}

/// Parses the quoted string at the beginning of `text`, which may span several lines. Returns the string and the number
/// of parsed bytes. A backslash is an escape character only in double quotes.
fn quoted(text: &str, quote: char) -> Result<(String, usize), &'static str> {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        if c == quote {
            return Ok((value, at + 1));
        }
        if c != '\\' || quote == '\'' {
            value.push(c);
            continue;
        }
        value.push(match characters.next() {
            Some((_, 'n')) => '\n',
            Some((_, 'r')) => '\r',
            Some((_, 't')) => '\t',
            Some((_, other @ ('"' | '\\' | '$' | '`'))) => other,
            _ => return Err("a backslash between double quotes begins none of \\n \\r \\t \\\" \\\\ \\$"),
        });
    }
    Err("a quote is not closed")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap()
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_usual_forms_of_a_line_are_read() {
        let text = "# a comment\n\nA=1\n export B = two words # a comment\nC='it is $A # \\n'\nD=\"a \\\"b\\\"\\n\\$x\"  # c\nE=\nF=x#y\n";
        let expected =
            [("A", "1"), ("B", "two words"), ("C", "it is $A # \\n"), ("D", "a \"b\"\n$x"), ("E", ""), ("F", "x#y")];
        assert_eq!(parsed(text), pairs(&expected));
        assert_eq!(
            parsed("KEY=\"-----BEGIN\nb\n-----END\"\nA=1"),
            pairs(&[("KEY", "-----BEGIN\nb\n-----END"), ("A", "1")])
        );
        assert_eq!(parsed("A=1\r\nA=2\r\n"), pairs(&[("A", "2")]), "the last one counts");
        assert_eq!(parsed("exported=1"), pairs(&[("exported", "1")]));
    }

    #[test]
    fn a_mistake_names_its_line_and_quotes_nothing() {
        for (text, line) in [
            ("A=1\nhunter2\n", 2),
            ("A='hunter2\n", 1),
            ("A=\"a\nb\"\nB=\"hunter2\" x\n", 3),
            ("2A=hunter2", 1),
            ("=hunter2", 1),
            ("\n\nA=\"\\hunter2\"", 3),
            ("A=hunter2\0", 1),
        ] {
            let mistake = parse(text).unwrap_err();
            assert!(mistake.line == line && !mistake.what.contains("hunter2"), "{text:?}: {mistake:?}");
        }
    }
}
