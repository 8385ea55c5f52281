//! The data of a page. Its JSON form is read by the script of the page only; [`DOCUMENT_VERSION`] changes with it.
//!
//! Times are milliseconds since 1970. All texts are shown as they are.

pub mod limits;
pub mod process;
pub mod tone;

use serde::Serialize;

use crate::document::{process::Process, tone::Tone};

/// The version of the JSON form. `assets/main.js` has the same number.
pub const DOCUMENT_VERSION: u32 = 3;

/// The data of a page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    /// [`DOCUMENT_VERSION`].
    pub version: u32,
    /// The version of the program that made it.
    pub program: String,
    /// When it was made.
    pub made_at_ms: i64,
    /// How long it took to make it, in milliseconds.
    pub made_in_ms: u64,
    /// Whether the page may ask for starts and stops.
    pub can_control: bool,
    /// The ledger.
    pub ledger: LedgerFacts,
    /// The period.
    pub period: Period,
    /// What the reader has to know first, such as missing events.
    pub notices: Vec<String>,
    /// The summary: the questions of a bad night with their answers.
    pub facts: Vec<Fact>,
    /// The processes.
    pub processes: Vec<Process>,
    /// The number of processes of the period that are left out.
    pub processes_left_out: u64,
    /// The greatest number of processes that were alive at the same time, in equal parts of the period.
    pub alive: Vec<u32>,
    /// When no daemon ran.
    pub gaps: Vec<Gap>,
    /// The number of all such intervals.
    pub gaps_count: u64,
    /// The runs that ended while no daemon ran.
    pub unseen: Vec<UnseenEnd>,
    /// The number of all such runs.
    pub unseen_count: u64,
    /// What persons asked for, the latest first.
    pub requests: Vec<Request>,
    /// The number of all such requests.
    pub requests_count: u64,
    /// The restarts that were refused.
    pub refusals: Vec<Refusal>,
    /// What agents used.
    pub spending: Spending,
    /// What a verification of the ledger found; `None` where none was made.
    pub evidence: Option<Evidence>,
}

/// The ledger that a document is of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LedgerFacts {
    /// Its directory.
    pub path: String,
    /// The number of its events.
    pub events: u64,
}

/// The period that a document is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Period {
    /// Its beginning.
    pub from_ms: i64,
    /// Its end, which is later.
    pub to_ms: i64,
    /// The number of equal parts in which the states of the processes are given; at least 1.
    pub buckets: u32,
}

/// An answer of the summary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// The question.
    pub question: &'static str,
    /// The answer as a whole; empty if the parts say everything.
    pub answer: String,
    /// The parts of the answer, such as the processes that are down.
    pub parts: Vec<FactPart>,
    /// The number of parts that are left out.
    pub more: u64,
    /// The section of the page, by its id in `assets/page.html`, that has what is left out; empty if nothing is.
    pub more_in: &'static str,
    /// How good the answer is.
    pub tone: Tone,
}

/// A part of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct FactPart {
    /// The process of which it is.
    pub process: Option<ProcessName>,
    /// The answer.
    pub answer: String,
    /// The time of which it is.
    pub at_ms: Option<i64>,
    /// The end of that time.
    pub until_ms: Option<i64>,
    /// The cause, or what follows; may be empty.
    pub details: String,
    /// The last line that the process wrote.
    pub last_line: Option<String>,
    /// What belongs to it, such as the runs that ended in a time without a daemon. These have no such parts.
    pub parts: Vec<Self>,
    /// The number of those that are left out.
    pub more: u64,
}

/// A process by its key and its displayed name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ProcessName {
    /// The key of the process.
    pub key: String,
    /// Its name.
    pub name: String,
}

/// An interval in which no daemon ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Its beginning.
    pub from_ms: i64,
    /// Its end.
    pub to_ms: i64,
    /// Its length by the boot clock.
    pub length_ms: u64,
    /// How the daemon before it ended.
    pub cause: String,
    /// Whether it had not ended at the end of the period.
    pub is_open: bool,
}

/// A run that ended while no daemon ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnseenEnd {
    /// The process.
    pub process: ProcessName,
    /// The last time at which it was seen.
    pub from_ms: i64,
    /// When its end was found.
    pub to_ms: i64,
    /// How it ended.
    pub text: String,
}

/// What a person asked for at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Request {
    /// When.
    pub at_ms: i64,
    /// The person.
    pub who: String,
    /// The request.
    pub what: &'static str,
    /// The processes, the first ones if there are many.
    pub processes: Vec<ProcessName>,
    /// The number of further processes.
    pub more: u64,
    /// The recorded reason.
    pub reason: Option<String>,
}

/// A restart that was refused, so that the process stayed down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// When.
    pub at_ms: i64,
    /// The process.
    pub process: ProcessName,
    /// Why.
    pub text: String,
}

/// What agents used in the period.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Spending {
    /// By model.
    pub by_model: Vec<Spent>,
    /// By calendar day in UTC.
    pub by_day: Vec<Spent>,
}

/// What was used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Spent {
    /// The model or the day.
    pub name: String,
    /// Turns of the model.
    pub turns: u32,
    /// Tool calls.
    pub tool_calls: u32,
    /// Input tokens with those of the caches.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// The cost in millionths of a US dollar; `None` where no agent reported one.
    pub cost_micros: Option<u64>,
}

/// What a verification of the ledger found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The result in one sentence.
    pub verdict: String,
    /// How good it is.
    pub tone: Tone,
    /// The figures.
    pub facts: Vec<NamedValue>,
    /// What is wrong.
    pub findings: Vec<Finding>,
}

/// A value with its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NamedValue {
    /// Its name.
    pub name: &'static str,
    /// The value.
    pub value: String,
}

/// A finding of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The sequence numbers of the events.
    pub events: String,
    /// The kind.
    pub kind: &'static str,
    /// What is wrong.
    pub message: String,
}

impl Default for Document {
    /// The document of an empty ledger.
    fn default() -> Self {
        Self {
            version: DOCUMENT_VERSION,
            program: String::new(),
            made_at_ms: 0,
            made_in_ms: 0,
            can_control: false,
            ledger: LedgerFacts::default(),
            period: Period { from_ms: 0, to_ms: 1, buckets: 1 },
            notices: Vec::new(),
            facts: Vec::new(),
            processes: Vec::new(),
            processes_left_out: 0,
            alive: Vec::new(),
            gaps: Vec::new(),
            gaps_count: 0,
            unseen: Vec::new(),
            unseen_count: 0,
            requests: Vec::new(),
            requests_count: 0,
            refusals: Vec::new(),
            spending: Spending::default(),
            evidence: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assets::SCRIPT;

    #[test]
    fn the_script_reads_this_version() {
        assert!(SCRIPT.contains(&format!("const DOCUMENT_VERSION = {DOCUMENT_VERSION};")));
    }
}
