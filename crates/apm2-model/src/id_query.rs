//! Resolves the text that names a process on a command line to a process or an instance. All commands use this rule.
//! This module does no I/O.
//!
//! The text is compared in this order:
//! 1. with names: `name` of a process, or `name-instance` of an instance. A process and an instance with the same name
//!    cannot be supervised at the same time. If the history contains both, the one with the later last event is selected;
//! 2. with process ids: a whole id or its beginning, 4 hexadecimal digits or more, in upper or lower case, with or
//!    without dashes.
//!
//! If several ids begin with the text, the result is an error that lists these ids.

use std::collections::BTreeMap;

use crate::{event::stream_id::StreamId, spec::id::ProcessId, state::stream::Stream};

/// The least number of digits of a shortened process id. With fewer digits, several ids of even a small ledger are
/// likely to begin alike.
pub const PREFIX_DIGITS_MIN: usize = 4;

/// The greatest number of matching process ids that an error lists.
const LISTED_MAX: usize = 8;

/// An instance that a text on the command line can refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The id of the instance.
    pub id: StreamId,
    /// The name of the process of this instance.
    pub name: &'a str,
    /// The number of instances of the process.
    pub instances: u32,
    /// The seq of the last event of the instance.
    pub last_seq: u64,
}

impl<'a> From<&'a Stream> for Candidate<'a> {
    fn from(stream: &'a Stream) -> Self {
        let spec = &stream.handle.spec;
        Self { id: stream.id, name: &spec.name, instances: spec.instances, last_seq: stream.last_seq }
    }
}

/// The process or the instance that a text refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meant {
    /// A process, with all its instances.
    Process(ProcessId),
    /// One instance.
    Instance(StreamId),
}

impl Meant {
    /// The id of the process: the process referred to, or that of the instance referred to.
    #[must_use]
    pub const fn process_id(self) -> ProcessId {
        match self {
            Self::Process(id) => id,
            Self::Instance(stream) => stream.process_id,
        }
    }

    /// Whether the text refers to this instance or to its whole process.
    #[must_use]
    pub fn includes(self, stream: StreamId) -> bool {
        match self {
            Self::Process(id) => stream.process_id == id,
            Self::Instance(instance) => stream == instance,
        }
    }
}

/// Why a text refers to no single process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnclearId {
    /// No process has this name or id.
    #[error("no process {0:?}")]
    Unknown(String),
    /// Several process ids begin with the text.
    #[error("{text:?} fits several processes")]
    Ambiguous {
        /// The text on the command line.
        text: String,
        /// The ids with the names of their processes, at most 8, and the number of further ids.
        candidates: Vec<String>,
    },
    /// The text names one instance where the command needs a whole process.
    #[error("{text:?} is one instance of {name:?}")]
    OneInstance {
        /// The text on the command line.
        text: String,
        /// The name of the process.
        name: String,
    },
}

/// Finds the process or the instance in `candidates` that `text` refers to.
///
/// # Errors
/// `text` refers to no process or to several.
pub fn resolve(text: &str, candidates: &[Candidate<'_>]) -> Result<Meant, UnclearId> {
    if let Some(meant) = by_name(text, candidates) {
        return Ok(meant);
    }
    let unknown = || UnclearId::Unknown(text.to_owned());
    let digits = prefix_digits(text).ok_or_else(unknown)?;
    let fits = |candidate: &&Candidate<'_>| simple(candidate.id.process_id).starts_with(&digits);
    let fitting: BTreeMap<ProcessId, &str> =
        candidates.iter().filter(fits).map(|candidate| (candidate.id.process_id, candidate.name)).collect();
    let mut ids = fitting.keys();
    match (ids.next(), ids.next()) {
        (None, _) => Err(unknown()),
        (Some(id), None) => Ok(Meant::Process(*id)),
        (Some(_), Some(_)) => {
            let listed = fitting.iter().take(LISTED_MAX).map(|(id, name)| format!("{id} ({name})"));
            let more = fitting.len().saturating_sub(LISTED_MAX);
            let more = (more > 0).then(|| format!("{more} more"));
            Err(UnclearId::Ambiguous { text: text.to_owned(), candidates: listed.chain(more).collect() })
        }
    }
}

/// The hexadecimal digits of `text` in lower case without dashes; `None` if `text` cannot be the beginning of a process
/// id.
#[must_use]
pub fn prefix_digits(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    let is_hex = digits.chars().all(|c| c.is_ascii_hexdigit());
    (is_hex && digits.len() >= PREFIX_DIGITS_MIN).then_some(digits)
}

/// Splits `text` into a process name and an instance number; `None` if `text` does not have the form `name-instance`.
#[must_use]
pub fn split_instance(text: &str) -> Option<(&str, u32)> {
    let (name, number) = text.rsplit_once('-')?;
    // The number must be in its canonical form: `web-01` and `web-+1` name no instance.
    let instance = number.parse().ok().filter(|instance: &u32| instance.to_string() == number)?;
    (!name.is_empty()).then_some((name, instance))
}

fn by_name(text: &str, candidates: &[Candidate<'_>]) -> Option<Meant> {
    let named = candidates.iter().filter(|candidate| candidate.name == text).max_by_key(|found| found.last_seq);
    let instance = split_instance(text).and_then(|(name, instance)| {
        let fits = |candidate: &&Candidate<'_>| candidate.name == name && candidate.id.instance == instance;
        candidates.iter().filter(fits).max_by_key(|found| found.last_seq)
    });
    match (named, instance) {
        // The only instance of a process has no `name-instance` name, so another process with such a name can be
        // supervised beside it.
        (Some(named), Some(instance)) if instance.instances > 1 && instance.last_seq > named.last_seq => {
            Some(Meant::Instance(instance.id))
        }
        (Some(named), _) => Some(Meant::Process(named.id.process_id)),
        (None, Some(instance)) => Some(Meant::Instance(instance.id)),
        (None, None) => None,
    }
}

/// The process id as hexadecimal digits without dashes.
fn simple(id: ProcessId) -> String {
    id.to_string().replace('-', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(first: u8, rest: u8) -> ProcessId {
        let mut bytes = [rest; 16];
        bytes[0] = first;
        bytes[1] = first;
        ProcessId::from_bytes(bytes)
    }

    fn candidate(process_id: ProcessId, instance: u32, name: &str, instances: u32, last_seq: u64) -> Candidate<'_> {
        Candidate { id: StreamId { process_id, instance }, name, instances, last_seq }
    }

    #[test]
    fn a_process_includes_its_instances_and_an_instance_itself_alone() {
        let [one, other] = [0, 1].map(|instance| StreamId { process_id: id(1, 1), instance });
        let foreign = StreamId { process_id: id(2, 2), instance: 0 };
        let (process, instance) = (Meant::Process(one.process_id), Meant::Instance(one));
        assert_eq!([one, other, foreign].map(|stream| process.includes(stream)), [true, true, false]);
        assert_eq!([one, other, foreign].map(|stream| instance.includes(stream)), [true, false, false]);
        assert_eq!([process, instance].map(Meant::process_id), [id(1, 1); 2]);
    }

    #[test]
    fn a_name_goes_before_an_id_and_its_latest_holder_before_earlier_ones() {
        let candidates = [
            candidate(id(0xab, 1), 0, "web", 1, 5),
            candidate(id(0xab, 2), 0, "web", 1, 9),
            candidate(id(0xcd, 3), 0, "abab", 1, 1),
        ];
        assert_eq!(resolve("web", &candidates), Ok(Meant::Process(id(0xab, 2))));
        assert_eq!(resolve("abab", &candidates), Ok(Meant::Process(id(0xcd, 3))));
        assert_eq!(resolve("Web", &candidates), Err(UnclearId::Unknown("Web".to_owned())), "names have their case");
    }

    #[test]
    fn an_id_may_be_cut_short_and_written_in_any_way() {
        let candidates = [candidate(id(0xab, 1), 0, "a", 1, 5), candidate(id(0xab, 2), 0, "b", 1, 9)];
        let whole = id(0xab, 1).to_string();
        for text in [&whole, &whole.to_uppercase(), &whole.replace('-', ""), "ABAB01", "abab0101-01", "ab-ab01"] {
            assert_eq!(resolve(text, &candidates), Ok(Meant::Process(id(0xab, 1))), "{text}");
        }
        for text in ["aba", "---", "", "abac", "xyz1", "ababx"] {
            assert_eq!(resolve(text, &candidates), Err(UnclearId::Unknown(text.to_owned())), "{text}");
        }
        let Err(UnclearId::Ambiguous { candidates, .. }) = resolve("abab", &candidates) else { panic!("it is clear") };
        assert_eq!(candidates, [format!("{} (a)", id(0xab, 1)), format!("{} (b)", id(0xab, 2))]);
    }

    #[test]
    fn an_error_lists_a_limited_number_of_candidates() {
        let names: Vec<_> = (0..20).map(|number| format!("p{number}")).collect();
        let candidates: Vec<_> =
            (0..20).zip(&names).map(|(number, name)| candidate(id(0xab, number), 0, name, 1, 1)).collect();
        let Err(UnclearId::Ambiguous { candidates, .. }) = resolve("abab", &candidates) else { panic!("it is clear") };
        assert_eq!((candidates.len(), candidates.last().unwrap().as_str()), (LISTED_MAX + 1, "12 more"));
    }

    #[test]
    fn of_an_instance_and_a_process_of_the_same_name_the_later_is_meant() {
        let (web, old) = (id(1, 1), id(2, 2));
        for (web_seq, old_seq, meant) in [
            (9, 5, Meant::Instance(StreamId { process_id: web, instance: 1 })),
            (5, 9, Meant::Process(old)),
            (5, 5, Meant::Process(old)),
        ] {
            let candidates = [
                candidate(web, 0, "web", 2, web_seq),
                candidate(web, 1, "web", 2, web_seq),
                candidate(old, 0, "web-1", 1, old_seq),
            ];
            assert_eq!(resolve("web-1", &candidates), Ok(meant));
        }
    }

    #[test]
    fn the_only_instance_can_be_named_and_yields_to_a_process_of_that_name() {
        let (one, other) = (candidate(id(1, 1), 0, "web", 1, 9), candidate(id(2, 2), 0, "web-0", 1, 5));
        assert_eq!(resolve("web-0", &[one]), Ok(Meant::Instance(one.id)));
        assert_eq!(resolve("web-0", &[one, other]), Ok(Meant::Process(other.id.process_id)));
        for text in ["web-00", "web-1", "web-", "-0"] {
            assert_eq!(resolve(text, &[one]), Err(UnclearId::Unknown(text.to_owned())), "{text}");
        }
    }
}
