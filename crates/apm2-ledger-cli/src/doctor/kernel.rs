//! Judges the features of the kernel and of `/proc`.

use crate::doctor::{check::Check, facts::kernel::KernelFacts};

pub(crate) fn judge(facts: &KernelFacts) -> Vec<Check> {
    vec![pidfd(facts), birth_time(facts), proc_mount(facts), hidepid(facts)]
}

fn pidfd(facts: &KernelFacts) -> Check {
    const NAME: &str = "kernel_pidfd";
    match &facts.pidfd_error {
        None => Check::ok(NAME, format!("pidfd_open(2) works, Linux {}", facts.release)),
        Some(why) => Check::problem(
            NAME,
            format!("pidfd_open(2) fails on Linux {}: {why}", facts.release),
            "Linux 5.3 or newer, and a seccomp profile that allows pidfd_open",
        ),
    }
}

fn birth_time(facts: &KernelFacts) -> Check {
    const NAME: &str = "kernel_birth_time";
    if facts.has_birth_time {
        return Check::ok(NAME, "the file system of the ledger has birth times");
    }
    Check::note(NAME, "the file system has no birth times (statx(2)): events lost by a crash may not be noticed")
        .with_remedy("a ledger on ext4, XFS or btrfs")
}

fn proc_mount(facts: &KernelFacts) -> Check {
    const NAME: &str = "proc_mount";
    if !facts.is_proc_mounted {
        return Check::problem(NAME, "/proc is not mounted", "mount -t proc proc /proc");
    }
    if !facts.is_proc_of_our_namespace {
        let message = "/proc shows another pid namespace than the one of this process";
        return Check::problem(NAME, message, "mount /proc anew in this namespace: unshare --mount-proc");
    }
    Check::ok(NAME, "/proc shows the processes of this pid namespace")
}

fn hidepid(facts: &KernelFacts) -> Check {
    const NAME: &str = "proc_hidepid";
    match &facts.hidepid {
        Some(value) if !facts.is_root => Check::note(
            NAME,
            format!("/proc is mounted with hidepid={value}: the states of processes of other users cannot be seen"),
        )
        .with_remedy("mount -o remount,hidepid=0 /proc"),
        Some(_) | None => Check::ok(NAME, "/proc hides no process from this user"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::check::CheckStatus;

    fn sound() -> KernelFacts {
        KernelFacts {
            release: "6.18.0".to_owned(),
            has_birth_time: true,
            is_proc_mounted: true,
            is_proc_of_our_namespace: true,
            ..KernelFacts::default()
        }
    }

    #[test]
    fn each_feature_has_a_check() {
        use CheckStatus::{Note, Ok, Problem};
        let statuses = |facts: &KernelFacts| judge(facts).into_iter().map(|check| check.status).collect::<Vec<_>>();
        assert_eq!(statuses(&sound()), [Ok, Ok, Ok, Ok]);
        let refused = KernelFacts { pidfd_error: Some("EPERM".to_owned()), ..sound() };
        assert_eq!(statuses(&refused), [Problem, Ok, Ok, Ok]);
        assert_eq!(statuses(&KernelFacts { has_birth_time: false, ..sound() }), [Ok, Note, Ok, Ok]);
        assert_eq!(statuses(&KernelFacts { is_proc_mounted: false, ..sound() }), [Ok, Ok, Problem, Ok]);
        assert_eq!(statuses(&KernelFacts { is_proc_of_our_namespace: false, ..sound() }), [Ok, Ok, Problem, Ok]);
        let hidden = KernelFacts { hidepid: Some("invisible".to_owned()), ..sound() };
        assert_eq!(statuses(&hidden), [Ok, Ok, Ok, Note]);
        assert_eq!(statuses(&KernelFacts { is_root: true, ..hidden }), [Ok, Ok, Ok, Ok]);
    }
}
