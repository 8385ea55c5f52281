//! Whether two processes can be supervised at the same time: what they must not share is the name of an instance and a log file.

use std::{
    borrow::Borrow,
    collections::BTreeMap,
    ops::Bound::{Included, Unbounded},
};

use apm2_model::spec::ProcessSpec;

use crate::error::ProcessError;

/// The values of `by_name` whose specifications may conflict with `spec`; one may be there twice. If `spec` names a log file, all
/// values are there, else those with such names: their number does not depend on that of all values.
pub(crate) fn possible_conflicts<'a, K: Borrow<str> + Ord, V>(
    spec: &ProcessSpec,
    by_name: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = &'a V> {
    let of_any_name = spec.log.named().next().map(|_| by_name.values());
    let base = spec.name.rsplit_once('-').and_then(|(base, _)| by_name.get(base));
    let prefix = (spec.instances > 1).then(|| format!("{}-", spec.name));
    let like_instances = prefix.into_iter().flat_map(|prefix| {
        let after = by_name.range::<str, _>((Included(prefix.as_str()), Unbounded));
        after.take_while(move |(name, _)| (*name).borrow().starts_with(&prefix)).map(|(_, value)| value)
    });
    of_any_name.into_iter().flatten().chain(base).chain(like_instances)
}

/// Refuses two specifications that share an instance name or a log file.
pub(crate) fn refuse_conflict(spec: &ProcessSpec, other: &ProcessSpec) -> Result<(), ProcessError> {
    if spec.name == other.name {
        return Ok(());
    }
    let refuse = |what: String| Err(ProcessError::InvalidState(format!("{:?}: {what}", spec.name)));
    if is_instance_name(&spec.name, other) || is_instance_name(&other.name, spec) {
        return refuse(format!("an instance of the one would have the name of the other: {}", other.name));
    }
    match spec.log.named().find(|path| other.log.named().any(|named| named == *path)) {
        Some(path) => refuse(format!("{} keeps its output in {}", other.name, path.display())),
        None => Ok(()),
    }
}

/// Whether `name` is the display name of an instance of `spec`.
fn is_instance_name(name: &str, spec: &ProcessSpec) -> bool {
    let number = name.strip_prefix(&spec.name).and_then(|rest| rest.strip_prefix('-')?.parse::<u32>().ok());
    spec.instances > 1 && number.is_some_and(|number| number < spec.instances)
}

#[cfg(test)]
mod tests {
    use apm2_model::spec::config::log::LogConfig;
    use proptest::prelude::*;

    use super::*;

    fn spec(name: &str, instances: u32, log: Option<&str>) -> ProcessSpec {
        let log = LogConfig { stdout: log.map(Into::into), ..LogConfig::default() };
        ProcessSpec::builder().name(name).command("true").instances(instances).log(log).build()
    }

    fn any_spec() -> impl Strategy<Value = ProcessSpec> {
        let name = prop::collection::vec(prop::sample::select(vec!["a", "-", "-1", "-2", "-02", "b"]), 1..5);
        let log = prop::option::of(prop::sample::select(vec!["/tmp/one.log", "/tmp/two.log"]));
        (name, 1_u32..4, log).prop_map(|(name, instances, log)| spec(&name.concat(), instances, log))
    }

    proptest! {
        /// A specification that is not among them has no conflict.
        #[test]
        fn all_that_conflict_are_possible_conflicts(one in any_spec(), others in prop::collection::vec(any_spec(), 0..12)) {
            let by_name: BTreeMap<&str, &ProcessSpec> = others.iter().map(|other| (other.name.as_str(), other)).collect();
            let refused = |other: &&ProcessSpec| refuse_conflict(&one, other).is_err();
            let mut of_all: Vec<&str> = by_name.values().copied().filter(refused).map(|other| other.name.as_str()).collect();
            let mut found: Vec<&str> =
                possible_conflicts(&one, &by_name).copied().filter(refused).map(|other| other.name.as_str()).collect();
            found.sort_unstable();
            found.dedup();
            of_all.sort_unstable();
            prop_assert_eq!(found, of_all);
        }
    }

    #[test]
    fn without_log_files_few_are_compared() {
        let others: Vec<ProcessSpec> = (0..1000).map(|number| spec(&format!("p{number}"), 1, None)).collect();
        let by_name: BTreeMap<&str, &ProcessSpec> = others.iter().map(|other| (other.name.as_str(), other)).collect();
        assert_eq!(possible_conflicts(&spec("p7-1", 1, None), &by_name).count(), 1);
        assert_eq!(possible_conflicts(&spec("p7", 3, None), &by_name).count(), 0);
    }
}
