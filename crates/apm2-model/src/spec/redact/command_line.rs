//! Finds secrets in the options and positional arguments of a command: `--token x`, `-u user:x`, `mysql -px`, `set
//! api_key x`.

use crate::spec::redact::{
    classify,
    name::{self, Strength},
    span::Spans,
    text::{Text, is_space},
    word::{Word, arguments, shell_words},
};

/// The number of words at the beginning of a command among which its program is searched, as in `sudo env program`.
const PROGRAMS_MAX: usize = 3;

/// Options that are followed by a login in the form `user:password`.
const LOGIN_OPTIONS: [&str; 8] =
    ["-u", "-U", "--user", "--proxy-user", "--login", "--userpass", "--http-user", "--username"];

/// Programs to which `-p PASSWORD` passes a password.
const P_IS_PASSWORD: [&str; 14] = [
    "sshpass",
    "az",
    "mongo",
    "mongosh",
    "mongodump",
    "mongorestore",
    "mongoexport",
    "mongoimport",
    "rabbitmqadmin",
    "mysqlsh",
    "docker-login",
    "podman-login",
    "helm-login",
    "oc",
];

const P_IS_ATTACHED: [&str; 17] = [
    "mysql",
    "mysqldump",
    "mysqladmin",
    "mysqlimport",
    "mysqlcheck",
    "mysqlshow",
    "mysqlslap",
    "mysqlbinlog",
    "mariadb",
    "mariadb-dump",
    "mariadb-admin",
    "sshpass",
    "7z",
    "7za",
    "7zr",
    "rar",
    "unrar",
];

/// Programs for which `-p` does not mean a password.
const P_IS_OTHER: [&str; 59] = [
    "bash",
    "cargo",
    "chmod",
    "codex",
    "cp",
    "dash",
    "date",
    "docker",
    "env",
    "eslint",
    "gdb",
    "git",
    "go",
    "grep",
    "helm",
    "install",
    "java",
    "journalctl",
    "killall",
    "kubectl",
    "less",
    "ls",
    "lsof",
    "make",
    "mkdir",
    "mv",
    "nc",
    "netstat",
    "nice",
    "node",
    "npm",
    "npx",
    "patch",
    "perl",
    "pgrep",
    "podman",
    "ps",
    "psql",
    "pytest",
    "python",
    "python3",
    "read",
    "redis-cli",
    "rm",
    "rsync",
    "ruby",
    "sed",
    "sh",
    "ss",
    "ssh",
    "strace",
    "sudo",
    "systemctl",
    "tar",
    "taskset",
    "tmux",
    "top",
    "touch",
    "tsc",
];

/// Options of a program whose value is a secret.
const SECRET_OPTIONS: [(&str, &str); 21] = [
    ("ssh-keygen", "-N"),
    ("ssh-keygen", "-P"),
    ("sqlcmd", "-P"),
    ("bcp", "-P"),
    ("redis-cli", "-a"),
    ("valkey-cli", "-a"),
    ("redis-cli", "--pass"),
    ("zip", "-P"),
    ("unzip", "-P"),
    ("openssl", "-k"),
    ("openssl", "-K"),
    ("ldapsearch", "-w"),
    ("ldapmodify", "-w"),
    ("ldapadd", "-w"),
    ("gh", "--body"),
    ("gh", "-b"),
    ("plink", "-pw"),
    ("pscp", "-pw"),
    ("psftp", "-pw"),
    ("smbclient", "--password"),
    ("restic", "--password"),
];

/// Subcommands that are followed by a name and its value.
const SETTERS: [&str; 17] = [
    "set", "setenv", "setx", "put", "config", "--global", "--system", "--local", "add", "ENV", "ARG", "-x", "-gx",
    "-Ux", "-U", "-g", "--add",
];

/// Words that follow the name of an option in a sentence about the option. Such a word is not the value of the option.
const ABOUT_OPTIONS: [&str; 24] = [
    "and",
    "argument",
    "arguments",
    "as",
    "cannot",
    "conflicts",
    "flag",
    "flags",
    "found",
    "given",
    "instead",
    "is",
    "may",
    "must",
    "name",
    "option",
    "options",
    "parameter",
    "requires",
    "to",
    "unless",
    "was",
    "when",
    "with",
];

/// Finds the secrets in a list of arguments, and in the scripts that these arguments or a text contain.
pub(crate) fn find(text: Text<'_>, spans: &mut Spans) {
    let whole = if text.is_args { arguments(text) } else { shell_words(text, 0, text.text.len()) };
    commands(&whole, text.is_args, spans);
    if text.is_args {
        for argument in whole.iter().filter(|argument| argument.text.bytes().any(is_space)) {
            commands(&shell_words(text, argument.start, argument.end()), false, spans);
        }
    }
}

/// Searches each command of a command line separately.
fn commands(words: &[Word<'_>], is_exact: bool, spans: &mut Spans) {
    let mut rest = words;
    while !rest.is_empty() {
        let length = rest.iter().position(|word| word.ends_command).map_or(rest.len(), |at| at + 1);
        let (command, after) = rest.split_at(length);
        Command { words: command, is_exact }.find(spans);
        if after.iter().take_while(|word| !word.ends_command).any(|word| reads_secret(word.text)) {
            echoed(command, spans);
        }
        rest = after;
    }
}

/// Whether this option makes a command read a secret from its standard input.
fn reads_secret(word: &str) -> bool {
    matches!(word, "--password-stdin" | "--with-token" | "--passphrase-fd" | "--token-stdin")
}

fn echoed(command: &[Word<'_>], spans: &mut Spans) {
    let mut words = command.iter().skip_while(|word| !matches!(program_of(word.text), "echo" | "printf"));
    if words.next().is_some() {
        for word in words.filter(|word| !word.text.starts_with('-') && !classify::is_placeholder(word.text)) {
            spans.add(word.start..word.end());
        }
    }
}

fn program_of(word: &str) -> &str {
    word.rsplit('/').next().unwrap_or(word)
}

/// One command of a command line.
struct Command<'a> {
    words: &'a [Word<'a>],
    /// Whether the words are the exact arguments of a command. Otherwise the words were obtained by splitting a text.
    is_exact: bool,
}

impl Command<'_> {
    fn find(&self, spans: &mut Spans) {
        let mut programs: Vec<&str> = Vec::new();
        for (at, word) in self.words.iter().enumerate() {
            let next = self.words.get(at + 1);
            if !word.text.starts_with('-') {
                if programs.len() < PROGRAMS_MAX {
                    programs.push(program_of(word.text));
                }
                self.positional(at, word, &programs, spans);
                continue;
            }
            self.login(word, next, &programs, spans);
            self.p(word, next, &programs, spans);
            if let Some(next) = next {
                self.option(word, next, &programs, spans);
            }
        }
    }

    /// Masks the value of an option: `--token x`.
    fn option(&self, word: &Word<'_>, next: &Word<'_>, programs: &[&str], spans: &mut Spans) {
        let is_of_program =
            SECRET_OPTIONS.iter().any(|(program, option)| *option == word.text && programs.contains(program));
        let is_cookie = matches!(word.text, "--cookie") || (word.text == "-b" && programs.contains(&"curl"));
        if is_cookie {
            if next.text.contains('=') && !classify::is_placeholder(next.text) {
                spans.add(next.start..next.end());
            }
            return;
        }
        let name = word.text.trim_start_matches('-');
        // A text that begins with `-` and contains blanks, such as a key block, is not an option.
        let is_name = !word.text.contains(['=', ':', ' ', '\n']);
        let verdict = if is_name { name::judge(name, None) } else { None };
        if verdict.is_none() && !is_of_program {
            return;
        }
        let is_certain = match verdict {
            None => is_of_program,
            Some(verdict) if verdict.strength == Strength::Strong => true,
            Some(_) => is_of_program || matches!(name, "token" | "pass" | "bearer" | "jwt" | "pat"),
        };
        let may_be_number = is_of_program || verdict.is_some_and(|verdict| verdict.may_be_number);
        let is_open = classify::is_path(next.text)
            || classify::is_placeholder(next.text)
            || (!may_be_number && classify::is_number(next.text))
            || (!self.is_exact && (next.text.starts_with('-') || is_about(next.text)));
        if !is_open && (is_certain || (verdict.is_some() && classify::looks_random(next.text))) {
            spans.add(secret_part(next));
        }
    }

    /// Masks the password of a login: `-u user:password`, `-uuser:password`, `--user=user:password`.
    fn login(&self, word: &Word<'_>, next: Option<&Word<'_>>, programs: &[&str], spans: &mut Spans) {
        if programs.iter().any(|program| matches!(*program, "docker" | "podman" | "chroot" | "kubectl" | "sudo")) {
            return;
        }
        let (start, login) = if LOGIN_OPTIONS.contains(&word.text) {
            let Some(next) = next else { return };
            (next.start, next.text)
        } else if let Some((option, login)) =
            word.text.split_once('=').filter(|(option, _)| LOGIN_OPTIONS.contains(option))
        {
            (word.start + option.len() + 1, login)
        } else if let Some(login) = word.text.strip_prefix("-u") {
            (word.start + 2, login)
        } else {
            return;
        };
        let quoted = login.trim_start_matches(['"', '\'']);
        let (start, login) = (start + login.len() - quoted.len(), quoted);
        let Some((user, password)) = login.split_once(':') else { return };
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        let is_other = user.starts_with('<')
            || password.starts_with("//")
            || user.contains('/')
            || (is_number(user) && is_number(password));
        if !is_other && !classify::is_placeholder(password) {
            spans.add(start + user.len() + 1..start + login.len());
        }
    }

    /// Masks the value of `-p x` or `-px`. For some programs, the value is a password; for other programs, it is not.
    fn p(&self, word: &Word<'_>, next: Option<&Word<'_>>, programs: &[&str], spans: &mut Spans) {
        let is_of = |list: &[&str]| programs.iter().any(|program| list.contains(program));
        if let Some(password) = word.text.strip_prefix("-p").filter(|password| !password.is_empty()) {
            if is_of(&P_IS_ATTACHED) && !classify::is_placeholder(password) && !password.starts_with("ort=") {
                spans.add(word.start + 2..word.end());
            }
            return;
        }
        let Some(next) = next.filter(|next| word.text == "-p" && !next.text.is_empty()) else { return };
        let logs_in = programs.contains(&"login");
        let is_password = is_of(&P_IS_PASSWORD) || logs_in;
        let is_other = classify::is_path(next.text)
            || classify::is_placeholder(next.text)
            || next.text.starts_with('-')
            || (!is_password && (is_mapping(next.text) || is_of(&P_IS_OTHER) || is_of(&P_IS_ATTACHED)));
        if !is_other && (is_password || self.is_exact || classify::looks_random(next.text)) {
            spans.add(next.start..next.end());
        }
    }

    /// Masks positional arguments: `set api_key x`, `htpasswd -b file user x`, `pass:x`.
    fn positional(&self, at: usize, word: &Word<'_>, programs: &[&str], spans: &mut Spans) {
        let before = at.checked_sub(1).and_then(|at| self.words.get(at)).map_or("", |word| word.text);
        if let Some(password) = word.text.strip_prefix("pass:")
            && (before.starts_with("-pass") || programs.contains(&"openssl"))
            && !classify::is_placeholder(password)
        {
            spans.add(word.start + "pass:".len()..word.end());
        }
        let is_last = at + 1 == self.words.len();
        let is_batch = || {
            self.words
                .iter()
                .any(|word| word.text.starts_with('-') && !word.text.starts_with("--") && word.text.contains('b'))
        };
        if programs.first() == Some(&"htpasswd") && is_last && at >= 4 && is_batch() {
            spans.add(word.start..word.end());
        }
        let Some(next) = self.words.get(at + 1) else { return };
        let is_name = word.text.contains(['_', '.', '-']) || word.text.bytes().any(|byte| byte.is_ascii_uppercase());
        if SETTERS.contains(&before)
            && is_name
            && !word.text.contains('=')
            && !next.text.starts_with(['-', '='])
            && name::judge(word.text, None).is_some_and(|verdict| verdict.strength == Strength::Strong)
            && !classify::is_placeholder(next.text)
            && !is_about(next.text)
            && !classify::is_path(next.text)
        {
            spans.add(next.start..next.end());
        }
    }
}

/// Whether the word consists of ports, such as a port mapping `8080:80`.
fn is_mapping(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_digit() || b":.-/udtcp".contains(&byte))
}

/// Whether the word after an option belongs to a message about the option, and is not its value.
fn is_about(word: &str) -> bool {
    ABOUT_OPTIONS.contains(&word) || classify::is_prose(&format!("{word} ."))
}

/// The range of the word without a prefix that states the kind of the secret, such as `pass:`.
fn secret_part(word: &Word<'_>) -> std::ops::Range<usize> {
    let kind = ["pass:", "Bearer "].iter().find(|kind| word.text.starts_with(**kind)).map_or(0, |kind| kind.len());
    word.start + kind..word.end()
}

#[cfg(test)]
mod tests;
