//! JSON view of what changed between two moments.

use apm2_model::{spec::ProcessSpec, state::stream::FollowUp};
use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::{
    comparison::{Change, InstanceChange},
    moment::Moment,
    status::{Restart, StatusContext},
    view::{handle::HandleView, notice::Notice, spec::SpecView},
};

/// What changed between two moments: output of `diff`.
#[derive(Debug, Serialize)]
pub(crate) struct DiffView<'a> {
    from: MomentView,
    to: MomentView,
    changes: Vec<ChangeView<'a>>,
    /// The notice about the ledger; null when it is intact.
    notice: Option<&'a Notice>,
}

#[derive(Debug, Serialize)]
struct MomentView {
    /// The last event at this moment.
    seq: u64,
    #[serde(serialize_with = "crate::view::time")]
    at: DateTime<Utc>,
}

/// An instance that changed.
#[derive(Debug, Serialize)]
pub(crate) struct ChangeView<'a> {
    /// `added`, `removed` or `changed`.
    change: &'static str,
    /// The number of runs that began in between.
    runs: u64,
    /// The number of restarts by the policy in between.
    restarts: u32,
    /// The settings of the specification that differ.
    settings: Vec<SettingView>,
    /// What remains to be done after the last run, where that differs; null where it is the same.
    follow_up: Option<FollowUpChange>,
    /// The instance at the first moment; null if it was registered later.
    before: Option<HandleView<'a>>,
    /// The instance at the second moment.
    after: HandleView<'a>,
}

/// The follow-up of the last run at the two moments.
#[derive(Debug, Serialize)]
struct FollowUpChange {
    before: FollowUpView,
    after: FollowUpView,
}

/// What remains to be done after a run.
#[derive(Debug, Serialize)]
struct FollowUpView {
    /// `nothing`, `undecided` (the decision of the restart policy is not recorded yet) or `restart`.
    kind: &'static str,
    /// The number of the scheduled restart since the last sustained run.
    attempt: Option<u32>,
    /// The time at which the restart is due.
    #[serde(serialize_with = "crate::view::time_or_null")]
    at: Option<DateTime<Utc>>,
}

impl FollowUpView {
    fn new(follow_up: FollowUp, moment: &Moment) -> Self {
        let (kind, attempt) = match follow_up {
            FollowUp::Nothing => ("nothing", None),
            FollowUp::Undecided { .. } => ("undecided", None),
            FollowUp::Restart { attempt, .. } => ("restart", Some(attempt)),
        };
        Self { kind, attempt, at: Restart::of(follow_up, moment).map(|restart| restart.at) }
    }
}

/// A setting with two different values. A setting that one of the specifications does not have is null there.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct SettingView {
    /// The path of the setting in the JSON of a specification, such as `restart.max_restarts` or `args[2]`.
    pub(crate) setting: String,
    pub(crate) before: Value,
    pub(crate) after: Value,
}

impl<'a> DiffView<'a> {
    pub(crate) fn new(
        changes: &[InstanceChange<'a>],
        (from, to): (&StatusContext, &StatusContext),
        seqs: (u64, u64),
        notice: Option<&'a Notice>,
    ) -> Self {
        let moment = |moment: &Moment, seq| MomentView { seq, at: moment.now };
        Self {
            from: moment(&from.moment, seqs.0),
            to: moment(&to.moment, seqs.1),
            changes: changes.iter().map(|change| ChangeView::new(change, from, to)).collect(),
            notice,
        }
    }
}

impl<'a> ChangeView<'a> {
    pub(crate) fn new(change: &InstanceChange<'a>, from: &StatusContext, to: &StatusContext) -> Self {
        Self {
            change: change.change.name(),
            runs: change.runs(),
            restarts: change.restarts(),
            settings: changed_settings(change),
            follow_up: change.follow_ups().map(|(before, after)| FollowUpChange {
                before: FollowUpView::new(before, &from.moment),
                after: FollowUpView::new(after, &to.moment),
            }),
            before: change.before.map(|stream| HandleView::new(&from.status(stream))),
            after: HandleView::new(&to.status(change.after)),
        }
    }
}

impl Change {
    /// The name of the change in the JSON contract.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }
}

/// The settings in which the specifications differ.
pub(crate) fn changed_settings(change: &InstanceChange<'_>) -> Vec<SettingView> {
    let mut found = Vec::new();
    if let Some(before) = change.before {
        add_differences(String::new(), &value(&before.handle.spec), &value(&change.after.handle.spec), &mut found);
    }
    found
}

fn value(spec: &ProcessSpec) -> Value {
    serde_json::to_value(SpecView::new(spec)).unwrap_or_default()
}

/// Adds the paths below `path` at which the values differ.
fn add_differences(path: String, before: &Value, after: &Value, found: &mut Vec<SettingView>) {
    match (before, after) {
        _ if before == after => {}
        (Value::Object(one), Value::Object(other)) => {
            let added = other.keys().filter(|key| !one.contains_key(*key));
            for key in one.keys().chain(added) {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let side = |fields: &serde_json::Map<String, Value>| fields.get(key).cloned().unwrap_or_default();
                add_differences(path, &side(one), &side(other), found);
            }
        }
        (Value::Array(one), Value::Array(other)) => {
            for index in 0..one.len().max(other.len()) {
                let side = |elements: &[Value]| elements.get(index).cloned().unwrap_or_default();
                add_differences(format!("{path}[{index}]"), &side(one), &side(other), found);
            }
        }
        _ => found.push(SettingView { setting: path, before: before.clone(), after: after.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_are_found_at_every_depth() {
        let mut found = Vec::new();
        let before = json!({"a": 1, "b": {"c": [1, 2], "d": null}, "e": "x", "g": [1]});
        let after = json!({"a": 1, "b": {"c": [1, 3, 4], "d": {"f": 5}}, "e": "y", "g": [1]});
        add_differences(String::new(), &before, &after, &mut found);
        let paths: Vec<_> =
            found.iter().map(|found| format!("{} {} {}", found.setting, found.before, found.after)).collect();
        assert_eq!(paths, ["b.c[1] 2 3", "b.c[2] null 4", "b.d null {\"f\":5}", "e \"x\" \"y\""]);
    }
}
