//! The limits that keep a page small, whatever is recorded. What they leave out is said on the page.

use crate::document::{
    Document, FactPart,
    process::{LastOutput, Process, Story},
};

/// Largest number of processes.
pub const PROCESSES_MAX: usize = 1000;

/// Largest number of spans of all processes together.
pub const SPANS_MAX: u32 = 60_000;

/// Largest number of marks of all processes together.
pub const MARKS_MAX: usize = 12_000;

/// Largest number of processes with a story and last lines.
pub const STORIES_MAX: usize = 200;

/// Bytes of all stories together.
pub const STORIES_BYTES_MAX: usize = 400 * 1024;

/// Bytes of the last lines of one process, of each of both outputs. The last ones are kept.
pub const OUTPUT_BYTES_MAX: usize = 8 * 1024;

/// Bytes of the last lines of all processes together.
pub const OUTPUTS_BYTES_MAX: usize = 400 * 1024;

/// Bytes of a name, a state in words or a command line.
pub const LABEL_BYTES_MAX: usize = 160;

/// Bytes of any other text.
pub const TEXT_BYTES_MAX: usize = 1024;

/// Largest number of elements of each list of events: requests, refusals, intervals, findings.
pub const LISTED_MAX: usize = 300;

/// Largest number of parts of an answer, and of what belongs to one of them.
pub const NAMED_MAX: usize = 6;

/// Largest number of processes that the requests name, all together. Each request names [`NAMED_MAX`] in any case.
pub const REQUESTED_MAX: usize = 3000;

/// Largest number of parts of the chart of processes that were alive.
pub const ALIVE_PARTS_MAX: usize = 480;

/// The number of buckets for so many processes, so that there are no more spans than [`SPANS_MAX`], and at least `min`.
#[must_use]
pub fn buckets(processes: usize, min: u32, max: u32) -> u32 {
    let processes = u32::try_from(processes.clamp(1, PROCESSES_MAX)).unwrap_or(u32::MAX);
    (SPANS_MAX / processes).clamp(min.min(max), max)
}

impl Document {
    /// The document within all limits.
    #[must_use]
    pub fn within_limits(mut self) -> Self {
        if self.processes.len() > PROCESSES_MAX {
            let surplus = self.processes.len() - PROCESSES_MAX;
            self.processes.truncate(PROCESSES_MAX);
            self.processes_left_out = self.processes_left_out.saturating_add(surplus as u64);
        }
        if self.processes_left_out > 0 {
            let shown = self.processes.len();
            self.notices.push(format!(
                "{} more processes had events in the period; the {shown} with most trouble are shown.",
                self.processes_left_out
            ));
        }
        let mut left = Left { stories: STORIES_MAX, story_bytes: STORIES_BYTES_MAX, output_bytes: OUTPUTS_BYTES_MAX };
        let marks_max = MARKS_MAX / self.processes.len().max(1);
        for process in &mut self.processes {
            left.keep(process);
            keep_marks(process, marks_max);
        }
        self.unseen.truncate(LISTED_MAX);
        self.requests.truncate(LISTED_MAX);
        self.refusals.truncate(LISTED_MAX);
        self.gaps.truncate(LISTED_MAX);
        if let Some(evidence) = &mut self.evidence {
            evidence.findings.truncate(LISTED_MAX);
        }
        let mut requested = REQUESTED_MAX;
        for request in &mut self.requests {
            let named = request.processes.len().min(requested.max(NAMED_MAX));
            requested = requested.saturating_sub(named);
            let more = request.processes.len().saturating_sub(named);
            request.processes.truncate(named);
            request.more = request.more.saturating_add(more as u64);
            request.processes.iter_mut().map(|process| &mut process.name).for_each(cut);
        }
        for fact in &mut self.facts {
            let more = fact.parts.len().saturating_sub(NAMED_MAX);
            fact.parts.truncate(NAMED_MAX);
            fact.more = fact.more.saturating_add(more as u64);
            cut(&mut fact.answer);
            fact.parts.iter_mut().for_each(cut_part);
        }
        let gaps = self.gaps.iter_mut().map(|gap| &mut gap.cause);
        let requests = self.requests.iter_mut().flat_map(|request| request.reason.iter_mut().chain([&mut request.who]));
        let unseen = self.unseen.iter_mut().flat_map(|end| [&mut end.text, &mut end.process.name]);
        let refusals = self.refusals.iter_mut().flat_map(|refusal| [&mut refusal.text, &mut refusal.process.name]);
        let texts = gaps.chain(requests).chain(unseen).chain(refusals);
        texts.chain([&mut self.ledger.path]).for_each(cut);
        self
    }
}

/// What may still be used.
struct Left {
    stories: usize,
    story_bytes: usize,
    output_bytes: usize,
}

impl Left {
    /// Takes what the process uses, or leaves it out.
    fn keep(&mut self, process: &mut Process) {
        for label in [&mut process.name, &mut process.command, &mut process.status] {
            cut_to(label, LABEL_BYTES_MAX);
        }
        process.ends.truncate(LISTED_MAX);
        if let Some(agent) = &mut process.agent {
            agent.model.iter_mut().chain(&mut agent.session).chain([&mut agent.activity]).for_each(cut);
        }
        if let Some(story) = &mut process.story {
            story.causes.iter_mut().map(|cause| &mut cause.text).chain([&mut story.headline]).for_each(cut);
        }
        let bytes = process.story.as_ref().map_or(0, story_bytes);
        if self.stories == 0 || bytes > self.story_bytes {
            process.story = None;
        } else {
            (self.stories, self.story_bytes) = (self.stories - 1, self.story_bytes - bytes);
        }
        if let Some(output) = &mut process.last_output {
            let max = if process.story.is_some() { (self.output_bytes / 2).min(OUTPUT_BYTES_MAX) } else { 0 };
            keep_last(output, max);
            self.output_bytes = self.output_bytes.saturating_sub(output.stdout.len() + output.stderr.len());
        }
    }
}

fn story_bytes(story: &Story) -> usize {
    story.headline.len() + story.causes.iter().map(|cause| cause.text.len()).sum::<usize>()
}

/// Keeps the last bytes of each output.
fn keep_last(output: &mut LastOutput, max: usize) {
    for text in [&mut output.stdout, &mut output.stderr] {
        let mut first = text.len().saturating_sub(max);
        while !text.is_char_boundary(first) {
            first += 1;
        }
        text.drain(..first);
        output.left_out_bytes = output.left_out_bytes.saturating_add(first as u64);
    }
}

/// Keeps the most important marks: those of the highest classes, and of each class the last ones.
fn keep_marks(process: &mut Process, max: usize) {
    if process.marks.len() <= max {
        return;
    }
    let mut order: Vec<usize> = (0..process.marks.len()).collect();
    order.sort_by_key(|place| std::cmp::Reverse((process.marks.get(*place).map_or(0, |mark| mark.1), *place)));
    order.truncate(max);
    order.sort_unstable();
    process.marks = order.into_iter().filter_map(|place| process.marks.get(place).cloned()).collect();
}

/// Cuts a part of an answer, and what belongs to it.
fn cut_part(part: &mut FactPart) {
    let more = part.parts.len().saturating_sub(NAMED_MAX);
    part.parts.truncate(NAMED_MAX);
    part.more = part.more.saturating_add(more as u64);
    part.process.iter_mut().for_each(|process| cut(&mut process.name));
    part.last_line.iter_mut().chain([&mut part.answer, &mut part.details]).for_each(cut);
    part.parts.iter_mut().for_each(cut_part);
}

/// Cuts a text that is too long.
fn cut(text: &mut String) {
    cut_to(text, TEXT_BYTES_MAX);
}

/// Cuts a text with more than `max` bytes.
fn cut_to(text: &mut String, max: usize) {
    if text.len() <= max {
        return;
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let left_out = text.len() - end;
    text.truncate(end);
    text.push_str(&format!(" … ({left_out} bytes more)"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        document::{
            ProcessName, Refusal, Request,
            process::{Cause, MarkPoint},
        },
        html,
    };

    /// A process with as much of everything as a hostile one can have.
    fn large() -> Process {
        let long = "\u{202e}<é>\n".repeat(2_000);
        Process {
            name: long.clone(),
            command: long.clone(),
            status: long.clone(),
            marks: (0..500)
                .map(|at| MarkPoint(at, u8::try_from(at % 10).unwrap(), 1, 1, Some("exit 7".into()), 1))
                .collect(),
            story: Some(Story {
                headline: long.clone(),
                causes: vec![Cause { text: long.clone(), seq: 1 }; 16],
                is_cut: true,
            }),
            last_output: Some(LastOutput { run: 1, stdout: long.clone(), stderr: long, left_out_bytes: 0 }),
            ..Process::default()
        }
    }

    #[test]
    fn a_page_of_much_hostile_data_is_small_and_says_what_it_left_out() {
        let one = large();
        let document = Document { processes: vec![one; PROCESSES_MAX + 5], ..Document::default() }.within_limits();
        assert_eq!((document.processes.len(), document.processes_left_out), (PROCESSES_MAX, 5));
        assert!(document.notices[0].starts_with("5 more processes"));
        let first = &document.processes[0];
        let output = first.last_output.as_ref().unwrap();
        assert!(output.stdout.len() <= OUTPUT_BYTES_MAX && output.left_out_bytes > 4_000);
        assert!(first.status.ends_with("bytes more)") && first.status.len() < LABEL_BYTES_MAX + 64);
        let marks: usize = document.processes.iter().map(|process| process.marks.len()).sum();
        assert!(marks <= MARKS_MAX);
        assert!(first.marks.iter().all(|mark| mark.1 == 9), "the most important are kept");
        assert!(first.marks.is_sorted_by_key(|mark| mark.0));
        let told = document.processes.iter().filter(|process| process.story.is_some()).count();
        assert!((1..=STORIES_MAX).contains(&told), "{told}");
        // Each of the names, commands and states is as long as it may be, which no real ledger has.
        let size = html::file(&document).unwrap().len();
        assert!(size < 5 << 20, "{size}");
    }

    #[test]
    fn lists_are_cut() {
        let process = ProcessName { key: String::new(), name: "n".repeat(5000) };
        let request = Request {
            at_ms: 0,
            who: String::new(),
            what: "start",
            processes: vec![process.clone(); 20],
            more: 3,
            reason: Some("x".repeat(5000)),
        };
        let refusal = Refusal { at_ms: 0, process, text: "é".repeat(5000) };
        let document = Document { requests: vec![request; 999], refusals: vec![refusal; 999], ..Document::default() };
        let document = document.within_limits();
        assert_eq!((document.requests.len(), document.refusals.len()), (LISTED_MAX, LISTED_MAX));
        let first = &document.requests[0];
        assert_eq!((first.processes.len(), first.more), (20, 3));
        let last = &document.requests[LISTED_MAX - 1];
        assert_eq!((last.processes.len(), last.more), (NAMED_MAX, 17), "there are no more than REQUESTED_MAX names");
        assert!(first.reason.as_ref().unwrap().len() < 1100 && first.processes[0].name.len() < 1100);
    }

    #[test]
    fn many_processes_have_fewer_buckets() {
        assert_eq!((buckets(0, 60, 4096), buckets(10, 60, 4096), buckets(100, 60, 4096)), (4096, 4096, 600));
        assert_eq!((buckets(1_000_000, 60, 4096), buckets(100, 600, 300)), (60, 300));
    }
}
