//! The tasks that an agent runs in the background.

/// Tasks in the background of which the identifiers are kept.
const TASKS_MAX: usize = 256;

/// A task by hashes of its identifiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Task {
    id: u64,
    call: Option<u64>,
}

/// The tasks in the background, as a number or one by one.
#[derive(Debug, Default)]
pub(crate) struct Background {
    /// The number that the agent itself gives, which then is the only source.
    reported: Option<u32>,
    /// Tasks of before the supervisor took over the run, whose identifiers are not known.
    restored: u32,
    tasks: Vec<Task>,
}

impl Background {
    pub(crate) fn restore(&mut self, tasks: u32) {
        self.restored = tasks;
    }

    /// The number of tasks that run.
    pub(crate) fn count(&self) -> u32 {
        let known = u32::try_from(self.tasks.len()).unwrap_or(u32::MAX);
        self.reported.unwrap_or_else(|| self.restored.saturating_add(known))
    }

    /// The agent gives the number of its tasks.
    pub(crate) fn report(&mut self, tasks: u32) {
        self.reported = Some(tasks);
    }

    /// A task began. `call` is the tool call in which it began, if it may still turn out to run in the foreground.
    pub(crate) fn started(&mut self, id: u64, call: Option<u64>) {
        if self.tasks.len() < TASKS_MAX && !self.tasks.iter().any(|task| task.id == id) {
            self.tasks.push(Task { id, call });
        }
    }

    /// A task ended.
    pub(crate) fn ended(&mut self, id: u64) {
        let before = self.tasks.len();
        self.tasks.retain(|task| task.id != id);
        if self.tasks.len() == before {
            self.restored = self.restored.saturating_sub(1);
        }
    }

    /// Whether a task began in this call and may run in the foreground.
    pub(crate) fn is_of_call(&self, call: u64) -> bool {
        self.tasks.iter().any(|task| task.call == Some(call))
    }

    /// The call ended, and with it its tasks, which were not in the background.
    pub(crate) fn call_ended(&mut self, call: u64) {
        self.tasks.retain(|task| task.call != Some(call));
    }
}
