//! One process of a document.

use serde::Serialize;

use crate::document::tone::Tone;

/// What one process did in the period.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Process {
    /// Tells it from the others.
    pub key: String,
    /// Its displayed name.
    pub name: String,
    /// Its command line, without secrets.
    pub command: String,
    /// Its state in words.
    pub status: String,
    /// How good the state is.
    pub tone: Tone,
    /// Whether it is down although it should run.
    pub is_down: bool,
    /// Its states: triples of first bucket, last bucket and number of the state in `STATES` of `assets/timeline.js`.
    pub spans: Vec<u32>,
    /// The moments that a person looks for, in the order of time.
    pub marks: Vec<MarkPoint>,
    /// Restarts by the policy.
    pub restarts: u64,
    /// Crashes, and starts that failed.
    pub crashes: u64,
    /// Restarts that were refused.
    pub refusals: u64,
    /// How its runs ended.
    pub ends: Vec<End>,
    /// The part of the period in which it was alive, from 0 to 1.
    pub up_share: Option<f64>,
    /// Milliseconds in which it was down although it had not been stopped on request.
    pub outage_ms: u64,
    /// The longest of these intervals.
    pub longest_outage_ms: u64,
    /// Its processor use in hundredths of a percent of one core; `None` without samples.
    pub cpu: Option<Series>,
    /// Mean of all samples.
    pub cpu_mean: Option<u64>,
    /// Greatest of all samples.
    pub cpu_max: Option<u64>,
    /// Its resident memory in bytes; `None` without samples.
    pub memory: Option<Series>,
    /// Mean of all samples.
    pub memory_mean: Option<u64>,
    /// Greatest of all samples.
    pub memory_max: Option<u64>,
    /// What it did as an agent.
    pub agent: Option<Agent>,
    /// Why it is in its state; `None` where it is left out.
    pub story: Option<Story>,
    /// The last lines of its latest failed run.
    pub last_output: Option<LastOutput>,
}

/// A mark: time, number of the class in `CLASSES` of `assets/timeline.js`, event, run, details, and the number of marks that it
/// stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MarkPoint(pub i64, pub u8, pub u64, pub u64, pub Option<String>, pub u32);

/// How runs ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct End {
    /// The end in words.
    pub text: String,
    /// The number of runs.
    pub count: u64,
}

/// Measurements in equal parts of the period; `None` for a part without any.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Series {
    /// The means.
    pub mean: Vec<Option<u64>>,
    /// The greatest ones.
    pub max: Vec<Option<u64>>,
}

/// What an agent did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Agent {
    /// The program.
    pub kind: String,
    /// The model of its latest session.
    pub model: Option<String>,
    /// Its latest session.
    pub session: Option<String>,
    /// What it does or how it ended, in words.
    pub activity: String,
    /// Turns in the period.
    pub turns: u32,
    /// Tool calls in the period.
    pub tool_calls: u32,
    /// Input tokens in the period, with those of the caches.
    pub input_tokens: u64,
    /// Output tokens in the period.
    pub output_tokens: u64,
    /// The cost in the period in millionths of a US dollar; `None` if it reports none.
    pub cost_micros: Option<u64>,
}

/// Why a process is in its state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Story {
    /// The state in one sentence.
    pub headline: String,
    /// The causes, the newest first.
    pub causes: Vec<Cause>,
    /// Whether older causes were left out.
    pub is_cut: bool,
}

/// A cause in one sentence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cause {
    /// The sentence.
    pub text: String,
    /// The sequence number of its main event.
    pub seq: u64,
}

/// The last lines of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LastOutput {
    /// The run.
    pub run: u64,
    /// Those of standard output.
    pub stdout: String,
    /// Those of standard error.
    pub stderr: String,
    /// Bytes before these that are left out.
    pub left_out_bytes: u64,
}
