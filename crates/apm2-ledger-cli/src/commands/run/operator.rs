//! Who we act for: the person at the terminal, or their script.

use std::{fs, io::IsTerminal as _};

use apm2_core::process::Actor;
use nix::unistd::{Uid, User};

/// The operator, as far as the system knows them.
pub(super) fn operator() -> Actor {
    let uid = Uid::current();
    let user = User::from_uid(uid).ok().flatten().map(|user| user.name);
    Actor::Operator { uid: uid.as_raw(), user, terminal: terminal() }
}

/// The terminal that our standard input is, without `/dev/`: `pts/0`.
fn terminal() -> Option<String> {
    if !std::io::stdin().is_terminal() {
        return None;
    }
    let path = fs::read_link("/proc/self/fd/0").ok()?;
    Some(path.strip_prefix("/dev").unwrap_or(&path).to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_is_whoever_runs_this() {
        let Actor::Operator { uid, .. } = operator() else { panic!("not an operator") };
        assert_eq!(uid, Uid::current().as_raw());
    }
}
