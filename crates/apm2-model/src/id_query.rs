//! Resolves the text that names a process on a command line to a process or an instance. All commands use this rule. Pure.
//!
//! In this order:
//! 1. a name, or `name-instance`. Only one of the two can be supervised at a time, so where the history has
//!    both, the one with the later last event is selected;
//! 2. a process id or the beginning of one, 4 hexadecimal digits or more, in either case, with or without its dashes.
//!
//! A beginning of several ids is an error that lists them.

use std::collections::BTreeMap;

use crate::{event::stream_id::StreamId, spec::id::ProcessId, state::stream::Stream};

/// The least number of digits of a shortened id. With fewer digits, collisions are likely in a small ledger.
pub const PREFIX_DIGITS_MIN: usize = 4;

/// The greatest number of candidates that an error lists.
const LISTED_MAX: usize = 8;

/// An instance that a text can refer to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// The instance.
    pub id: StreamId,
    /// The name of its process.
    pub name: &'a str,
    /// The number of instances of its process.
    pub instances: u32,
    /// The seq of its last event.
    pub last_seq: u64,
}

impl<'a> From<&'a Stream> for Candidate<'a> {
    fn from(stream: &'a Stream) -> Self {
        let spec = &stream.handle.spec;
        Self { id: stream.id, name: &spec.name, instances: spec.instances, last_seq: stream.last_seq }
    }
}

/// What a text refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meant {
    /// A process, with all its instances.
    Process(ProcessId),
    /// One instance.
    Instance(StreamId),
}

impl Meant {
    /// The process, or that of the instance.
    #[must_use]
    pub const fn process_id(self) -> ProcessId {
        match self {
            Self::Process(id) => id,
            Self::Instance(stream) => stream.process_id,
        }
    }

    /// Whether this instance is the one referred to, or one of the process referred to.
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
    /// The ids of several processes begin with the text.
    #[error("{text:?} fits several processes")]
    Ambiguous {
        /// The text that was given.
        text: String,
        /// The ids with their names, at most 8, and the number of the others.
        candidates: Vec<String>,
    },
    /// The text names one instance where the command needs a whole process.
    #[error("{text:?} is one instance of {name:?}")]
    OneInstance {
        /// The text that was given.
        text: String,
        /// The name of the process.
        name: String,
    },
}

/// Resolves `text` among `candidates`.
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

/// The digits of the beginning of an id, if `text` can be one: in lower case, without dashes.
#[must_use]
pub fn prefix_digits(text: &str) -> Option<String> {
    let digits: String = text.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect();
    let is_hex = digits.chars().all(|c| c.is_ascii_hexdigit());
    (is_hex && digits.len() >= PREFIX_DIGITS_MIN).then_some(digits)
}

/// The name and the number that `text` consists of, if it can be `name-instance`.
#[must_use]
pub fn split_instance(text: &str) -> Option<(&str, u32)> {
    let (name, number) = text.rsplit_once('-')?;
    // As it is written: `web-01` and `web-+1` are no instances.
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
        // A process of one instance is not called by its number, so it can be supervised beside one of that name.
        (Some(named), Some(instance)) if instance.instances > 1 && instance.last_seq > named.last_seq => {
            Some(Meant::Instance(instance.id))
        }
        (Some(named), _) => Some(Meant::Process(named.id.process_id)),
        (None, Some(instance)) => Some(Meant::Instance(instance.id)),
        (None, None) => None,
    }
}

/// The id without dashes.
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
