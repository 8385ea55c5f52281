//! A terminal in which a person would type: a shell in tmux(1).

use std::{
    cell::Cell,
    process::{Command, Output},
};

use super::{Place, is_so_in_time, wait_until};

/// The prompt of the shell.
const PROMPT: &str = "ready> ";

/// A shell in a terminal of its own. It is ended when this is dropped.
pub(crate) struct Tmux<'a> {
    place: &'a Place,
    /// Number of questions to the shell.
    asked: Cell<u32>,
}

impl<'a> Tmux<'a> {
    /// Whether tmux(1) and bash(1) are installed.
    pub(crate) fn is_installed() -> bool {
        let runs =
            |program: &str, option| Command::new(program).arg(option).output().is_ok_and(|run| run.status.success());
        runs("tmux", "-V") && runs("bash", "--version")
    }

    /// Starts a shell with the environment of `place` in a terminal of this size.
    pub(crate) fn start(place: &'a Place, columns: u16, rows: u16) -> Self {
        let tmux = Self { place, asked: Cell::new(0) };
        let environment: Vec<String> = place
            .command::<&str>(&[])
            .get_envs()
            .map(|(name, value)| format!("{}={}", name.to_string_lossy(), value.unwrap().to_string_lossy()))
            .collect();
        let (columns, rows, prompt) = (columns.to_string(), rows.to_string(), format!("PS1={PROMPT}"));
        let mut args = vec!["-f", "/dev/null", "new-session", "-d", "-x", &columns, "-y", &rows, "env", "-i"];
        args.extend(environment.iter().map(String::as_str));
        args.extend(["TERM=screen-256color", &prompt, "bash", "--norc", "--noprofile", "-i"]);
        tmux.run(&args);
        tmux.wait_for(PROMPT.trim());
        tmux
    }

    fn run(&self, args: &[&str]) -> Output {
        let socket = self.place.path("tmux");
        let output =
            Command::new("tmux").arg("-S").arg(socket).args(args).current_dir(self.place.path("")).output().unwrap();
        assert!(output.status.success(), "tmux {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }

    /// Types keys, in the words of tmux(1): `Enter`, `C-z`, or text.
    pub(crate) fn keys(&self, keys: &[&str]) {
        self.run(&[&["send-keys"], keys].concat());
    }

    /// Types a line of the shell.
    pub(crate) fn line(&self, text: &str) {
        self.run(&["send-keys", "-l", text]);
        self.keys(&["Enter"]);
    }

    /// What the terminal shows.
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.run(&["capture-pane", "-p"]).stdout).unwrap()
    }

    /// A fact about the terminal, such as `alternate_on` or `cursor_flag`.
    pub(crate) fn fact(&self, name: &str) -> String {
        let form = format!("#{{{name}}}");
        String::from_utf8(self.run(&["display-message", "-p", &form]).stdout).unwrap().trim().to_owned()
    }

    /// Waits until the terminal shows a text. Returns all that it shows.
    pub(crate) fn wait_for(&self, wanted: &str) -> String {
        let is_shown = is_so_in_time(|| self.text().contains(wanted));
        let text = self.text();
        assert!(is_shown, "{wanted:?} is not shown:\n{text}");
        text
    }

    /// What a command of the shell prints, on one line.
    pub(crate) fn asks(&self, command: &str) -> String {
        let number = self.asked.get() + 1;
        self.asked.set(number);
        self.line(&format!("clear; echo \"{number}<$({command})>\""));
        let begin = format!("{number}<");
        let is_answer = |line: &str| Some(line.strip_prefix(&begin)?.strip_suffix('>')?.to_owned());
        wait_until(command, || self.text().lines().find_map(is_answer))
    }
}

impl Drop for Tmux<'_> {
    fn drop(&mut self) {
        self.run(&["kill-server"]);
    }
}
