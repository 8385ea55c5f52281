//! The login session of the daemon, and whether systemd ends it (logind.conf(5)).

use std::{fs, path::Path};

use nix::unistd::{User, geteuid};

/// The facts about the session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SessionFacts {
    /// Whether systemd is the init of this machine (sd_booted(3)).
    pub(crate) is_systemd: bool,
    pub(crate) user: String,
    /// The control group of the daemon, or of this process, in which a daemon would start (cgroups(7)).
    pub(crate) cgroup: String,
    /// Whether the user manager runs without a session (`loginctl enable-linger`).
    pub(crate) is_lingering: bool,
    /// Whether the processes of a session are killed at its end.
    pub(crate) kills_user_processes: bool,
}

impl SessionFacts {
    pub(crate) fn look(daemon: Option<u32>) -> Self {
        let user = User::from_uid(geteuid()).ok().flatten().map(|user| user.name).unwrap_or_default();
        let process = daemon.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
        let cgroups = fs::read_to_string(format!("/proc/{process}/cgroup")).unwrap_or_default();
        Self {
            is_systemd: Path::new("/run/systemd/system").is_dir(),
            is_lingering: !user.is_empty() && Path::new("/var/lib/systemd/linger").join(&user).exists(),
            kills_user_processes: parse_kills(&logind_settings()),
            cgroup: parse_cgroup(&cgroups),
            user,
        }
    }
}

/// The texts of the settings of logind, in the order in which they apply.
fn logind_settings() -> String {
    let mut text = fs::read_to_string("/etc/systemd/logind.conf").unwrap_or_default();
    for dir in ["/usr/lib/systemd/logind.conf.d", "/etc/systemd/logind.conf.d", "/run/systemd/logind.conf.d"] {
        let mut files: Vec<_> = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        files.sort();
        for file in files {
            text.push('\n');
            text.push_str(&fs::read_to_string(file).unwrap_or_default());
        }
    }
    text
}

/// The last value of `KillUserProcesses`; the default is no.
fn parse_kills(settings: &str) -> bool {
    let mut values =
        settings.lines().filter_map(|line| line.trim().strip_prefix("KillUserProcesses")?.trim().strip_prefix('='));
    values.next_back().is_some_and(|value| ["yes", "true", "1", "on"].contains(&value.trim()))
}

/// The control group of the unified hierarchy, or of systemd's in version 1.
fn parse_cgroup(text: &str) -> String {
    let of = |prefix: &str| text.lines().find_map(|line| line.strip_prefix(prefix)).filter(|group| *group != "/");
    let of_systemd = || text.lines().find_map(|line| line.split_once(":name=systemd:").map(|(_, group)| group));
    of("0::").or_else(of_systemd).unwrap_or("/").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_setting_applies_and_comments_do_not() {
        assert!(parse_kills("[Login]\nKillUserProcesses=no\nKillUserProcesses = yes\n"));
        assert!(!parse_kills("[Login]\n#KillUserProcesses=yes\n"));
    }

    #[test]
    fn a_control_group_is_found_in_both_versions() {
        assert_eq!(
            parse_cgroup("0::/user.slice/user-7.slice/session-2.scope\n"),
            "/user.slice/user-7.slice/session-2.scope"
        );
        assert_eq!(parse_cgroup("1:name=systemd:/a\n0::/\n"), "/a");
        assert_eq!(parse_cgroup(""), "/");
    }
}
