//! Judges the directory of the ledger and its journal.

use crate::{
    doctor::{
        check::Check,
        facts::ledger::{DirFacts, FormatFacts, JournalFacts, LedgerFacts},
    },
    render::words::{bytes, counted, typed_path},
};

/// The permission bits of the group and of others (inode(7)).
const OTHERS: u32 = 0o077;

/// The permission bits of the owner (inode(7)).
const OWNER: u32 = 0o700;

pub(crate) fn judge(facts: &LedgerFacts) -> Vec<Check> {
    let mut checks = vec![directory(facts)];
    match &facts.journal {
        None => {}
        Some(Err(why)) => {
            checks.push(Check::problem(
                "ledger_journal",
                format!("the journal cannot be read: {why}"),
                "apm2-ledger verify",
            ));
        }
        Some(Ok(journal)) => checks.extend([sound(journal), missing(journal), format(journal)]),
    }
    let (stores, size) = facts.set_aside;
    checks.push(match stores {
        0 => Check::ok("ledger_set_aside_stores", "no store was set aside"),
        _ => Check::note(
            "ledger_set_aside_stores",
            format!("{} set aside, {}; the journal has all their events", counted(stores, "store"), bytes(size)),
        )
        .with_remedy(format!("rm -r {}/sled.set-aside.*", typed_path(&facts.dir))),
    });
    checks
}

fn directory(facts: &LedgerFacts) -> Check {
    const NAME: &str = "ledger_directory";
    let (dir, typed) = (facts.dir.display(), typed_path(&facts.dir));
    match &facts.found {
        DirFacts::Missing { is_creatable: false } => Check::problem(
            NAME,
            format!("{dir} does not exist, and this user may not create it"),
            "name another directory with --ledger DIR or APM2_LEDGER_DIR",
        ),
        DirFacts::Missing { is_creatable: true } => Check::note(NAME, format!("{dir} does not exist yet"))
            .with_remedy("`apm2-ledger run` or `apm2-ledger up` creates it"),
        DirFacts::Unreadable(why) => {
            Check::problem(NAME, format!("{dir} cannot be examined: {why}"), "name another directory with --ledger DIR")
        }
        DirFacts::Symlink => Check::problem(
            NAME,
            format!("{dir} is a symbolic link"),
            "name the directory that it leads to with --ledger DIR or APM2_LEDGER_DIR",
        ),
        DirFacts::NotADirectory => {
            Check::problem(NAME, format!("{dir} is not a directory"), "name another directory with --ledger DIR")
        }
        DirFacts::Directory { uid, .. } if *uid != facts.uid => Check::problem(
            NAME,
            format!("{dir} belongs to user {uid}, and this is user {}", facts.uid),
            format!("run as user {uid}, or: chown -R {} {typed}", facts.uid),
        ),
        DirFacts::Directory { mode, .. } if mode & OTHERS != 0 || mode & OWNER != OWNER => Check::problem(
            NAME,
            format!("{dir} has mode {mode:04o}; a ledger needs 0700"),
            format!("chmod 0700 {typed}"),
        ),
        DirFacts::Directory { .. } => Check::ok(NAME, format!("{dir} is private to this user")),
    }
}

fn sound(journal: &JournalFacts) -> Check {
    const NAME: &str = "ledger_journal";
    match &journal.damage {
        Some(damage) => Check::problem(
            NAME,
            format!("the journal is damaged: {damage}"),
            "apm2-ledger verify, then: apm2-ledger rebuild --dry-run",
        ),
        None => {
            let events = counted(journal.events, "event");
            Check::ok(NAME, format!("the first and the last of {events} can be read"))
        }
    }
}

fn missing(journal: &JournalFacts) -> Check {
    const NAME: &str = "ledger_missing_events";
    match journal.missing {
        Some((first, last)) => Check::problem(
            NAME,
            format!("events {first} to {last} are missing: the journal is shorter than it was"),
            "keep a copy of the directory, then: apm2-ledger verify",
        ),
        None => Check::ok(NAME, "no events are known to be missing"),
    }
}

fn format(journal: &JournalFacts) -> Check {
    const NAME: &str = "ledger_format";
    match &journal.format {
        Err(why) => Check::note(NAME, format!("the format of the segments cannot be read: {why}"))
            .with_remedy("apm2-ledger verify"),
        Ok(FormatFacts { oldest, is_migration_needed: true, bytes_before, bytes_after }) => Check::note(
            NAME,
            format!(
                "segments of format {oldest} take {}, and {} after a migration",
                bytes(*bytes_before),
                bytes(*bytes_after)
            ),
        )
        .with_remedy("apm2-ledger migrate"),
        Ok(FormatFacts { oldest, .. }) => Check::ok(NAME, format!("all segments have format {oldest} or newer")),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::doctor::check::CheckStatus;

    /// A sound ledger.
    pub(in crate::doctor) fn sound_ledger() -> LedgerFacts {
        LedgerFacts {
            dir: "/l".into(),
            uid: 7,
            found: DirFacts::Directory { uid: 7, mode: 0o700 },
            file_system: None,
            journal: Some(Ok(journal())),
            set_aside: (0, 0),
        }
    }

    fn journal() -> JournalFacts {
        let format = Ok(FormatFacts { oldest: 2, is_migration_needed: false, bytes_before: 1, bytes_after: 1 });
        JournalFacts { events: 9, damage: None, missing: None, last: None, format }
    }

    fn status(facts: &LedgerFacts, name: &str) -> CheckStatus {
        judge(facts).into_iter().find(|check| check.name == name).unwrap().status
    }

    #[test]
    fn a_sound_ledger_has_no_findings() {
        assert!(judge(&sound_ledger()).iter().all(|check| check.status == CheckStatus::Ok));
    }

    #[test]
    fn the_directory_must_be_a_private_directory_of_this_user() {
        for (found, expected) in [
            (DirFacts::Missing { is_creatable: true }, CheckStatus::Note),
            (DirFacts::Missing { is_creatable: false }, CheckStatus::Problem),
            (DirFacts::Unreadable("EACCES".to_owned()), CheckStatus::Problem),
            (DirFacts::Symlink, CheckStatus::Problem),
            (DirFacts::NotADirectory, CheckStatus::Problem),
            (DirFacts::Directory { uid: 8, mode: 0o700 }, CheckStatus::Problem),
            (DirFacts::Directory { uid: 7, mode: 0o750 }, CheckStatus::Problem),
            (DirFacts::Directory { uid: 7, mode: 0o500 }, CheckStatus::Problem),
        ] {
            let facts = LedgerFacts { found, ..sound_ledger() };
            assert_eq!(status(&facts, "ledger_directory"), expected, "{facts:?}");
        }
    }

    #[test]
    fn each_finding_about_the_journal_has_a_check_of_its_own() {
        let of = |journal| LedgerFacts { journal: Some(journal), ..sound_ledger() };
        let unreadable = of(Err("newer".to_owned()));
        let damaged = of(Ok(JournalFacts { damage: Some("CRC".to_owned()), ..journal() }));
        let short = of(Ok(JournalFacts { missing: Some((10, 12)), ..journal() }));
        let old = Ok(FormatFacts { oldest: 1, is_migration_needed: true, bytes_before: 9, bytes_after: 2 });
        let old = of(Ok(JournalFacts { format: old, ..journal() }));
        assert_eq!(status(&unreadable, "ledger_journal"), CheckStatus::Problem);
        assert_eq!(status(&damaged, "ledger_journal"), CheckStatus::Problem);
        assert_eq!(status(&short, "ledger_missing_events"), CheckStatus::Problem);
        assert_eq!(status(&old, "ledger_format"), CheckStatus::Note);
        let aside = LedgerFacts { set_aside: (2, 4096), ..sound_ledger() };
        assert_eq!(status(&aside, "ledger_set_aside_stores"), CheckStatus::Note);
    }
}
