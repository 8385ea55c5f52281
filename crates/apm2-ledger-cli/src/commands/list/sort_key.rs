//! The order of the instances in a list.

use apm2_model::{spec::id::ProcessId, state::stream::Stream};

/// Instances are sorted by name, then by instance number, then by id.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SortKey {
    name: String,
    instance: u32,
    id: ProcessId,
}

impl SortKey {
    /// The place of an instance in a list.
    pub(crate) fn of(stream: &Stream) -> Self {
        Self { name: stream.handle.spec.name.clone(), instance: stream.id.instance, id: stream.id.process_id }
    }
}
