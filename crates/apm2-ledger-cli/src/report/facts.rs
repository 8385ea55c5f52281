//! The summary of a document: what a person asks after a bad night.

use std::{cmp::Reverse, time::Duration};

use apm2_lanes::{
    actions::UnobservedEnd,
    lanes::Lane,
    outage::{Outage, OutageEnd},
    requests::Request,
    summary::Summary,
    watch::{Gap, GapCause},
};
use apm2_model::event::stream_id::StreamId;
use apm2_page::document::{Fact, FactPart, ProcessName, limits::NAMED_MAX, tone::Tone};

use crate::{
    agents::Spent,
    period_lanes::Timeline,
    render::{
        agent::cost,
        ends::{end_with_cause, last_line, no_last_line, supervision_ended, why_down},
        escape::escape,
        event::rule_words,
        requests::{asked_by, done},
        timeline::figures::counts,
        words::{count, counted, duration},
    },
    report::{millis, process_name},
};

/// The summary. It has an answer to each question, also if the answer is that there was nothing. `requests` are those of persons, the
/// latest first, and `requests_count` is the number of all.
pub(crate) fn facts(timeline: &Timeline, requests: &[Request<'_>], requests_count: u64) -> Vec<Fact> {
    let summary = Summary::new(&timeline.lanes);
    let facts = Facts { timeline, summary: &summary };
    vec![
        fact("What was there?", counts(&summary, timeline), Tone::Calm),
        facts.down(),
        facts.first_death(),
        facts.most_restarts(),
        facts.unwatched(),
        facts.outage("What was the longest outage?", summary.longest_outage),
        facts.outage("What recovered most slowly?", summary.slowest_recovery),
        facts.refusals(),
        facts.most_spent(),
        facts.requests(requests, requests_count),
    ]
}

fn fact(question: &'static str, answer: impl Into<String>, tone: Tone) -> Fact {
    Fact { question, answer: escape(&answer.into()).into_owned(), parts: Vec::new(), more: 0, more_in: "", tone }
}

/// A fact of which `parts` are the first ones of `all`, which the section `more_in` of the page has.
fn of_parts(fact: Fact, parts: impl IntoIterator<Item = FactPart>, (all, more_in): (u64, &'static str)) -> Fact {
    let parts: Vec<_> = parts.into_iter().take(NAMED_MAX).collect();
    let more = all.saturating_sub(parts.len() as u64);
    Fact { more, more_in: if more > 0 { more_in } else { "" }, parts, ..fact }
}

fn length(nanos: u64) -> String {
    duration(Duration::from_nanos(nanos))
}

struct Facts<'a> {
    timeline: &'a Timeline,
    summary: &'a Summary<'a>,
}

impl Facts<'_> {
    fn process(&self, id: StreamId) -> Option<ProcessName> {
        Some(process_name(&self.timeline.lanes, id)).filter(|process| !process.name.is_empty())
    }

    /// The part of an outage, without what is to be said of its end.
    fn begun(&self, lane: &Lane, outage: &Outage) -> FactPart {
        FactPart {
            process: self.process(lane.id),
            answer: length(outage.nanos()),
            at_ms: Some(millis(outage.from.wall_ns)),
            details: outage.mark.map(|mark| end_with_cause(&mark, &self.timeline.details)).unwrap_or_default(),
            ..FactPart::default()
        }
    }

    fn down(&self) -> Fact {
        let (question, down) = ("What is down now?", &self.summary.down);
        if down.is_empty() {
            return fact(question, "nothing that should run", Tone::Good);
        }
        let is_watched = !self.timeline.is_last_known();
        let parts = down.iter().map(|(lane, outage)| {
            let part = self.begun(lane, outage);
            let no_line = outage.mark.and_then(|mark| no_last_line(lane, &mark, &self.timeline.details));
            let details = [part.details, why_down(lane, is_watched), no_line.unwrap_or_default()];
            let details: Vec<String> = details.into_iter().filter(|one| !one.is_empty()).collect();
            FactPart {
                answer: format!("for {}", part.answer),
                details: details.join("; "),
                last_line: outage.mark.and_then(|mark| last_line(&mark, &self.timeline.details)),
                ..part
            }
        });
        of_parts(fact(question, "", Tone::Bad), parts, (down.len() as u64, "processes"))
    }

    fn first_death(&self) -> Fact {
        let question = "What failed first?";
        let Some((lane, mark)) = self.summary.first_death else { return fact(question, "nothing", Tone::Good) };
        let part = FactPart {
            process: self.process(lane.id),
            answer: end_with_cause(&mark, &self.timeline.details),
            at_ms: Some(millis(mark.at_ns)),
            last_line: last_line(&mark, &self.timeline.details),
            ..FactPart::default()
        };
        of_parts(fact(question, "", Tone::Bad), [part], (1, ""))
    }

    fn most_restarts(&self) -> Fact {
        let (question, most) = ("What restarted most?", &self.summary.most_restarts);
        let Some(first) = most.first() else { return fact(question, "nothing", Tone::Good) };
        let restarts = format!("{} of {}", count(first.runs.restarts), counted(self.summary.restarts, "restart"));
        let parts = most.iter().map(|lane| FactPart {
            process: self.process(lane.id),
            answer: restarts.clone(),
            ..FactPart::default()
        });
        of_parts(fact(question, "", Tone::Warn), parts, (most.len() as u64, "restarts"))
    }

    /// When no daemon ran, and which runs ended then.
    fn unwatched(&self) -> Fact {
        let (question, watch) = ("When did no daemon run?", &self.timeline.watch);
        if watch.gaps.is_empty() {
            return fact(question, "no such time is on record", Tone::Good);
        }
        let answer = match watch.count {
            1 => String::new(),
            several => format!("{}, {} together", counted(several, "time"), length(watch.total_ns)),
        };
        // The longest ones are named, in the order of time.
        let mut gaps = watch.with_ends(&self.timeline.lanes.unobserved.first);
        gaps.sort_by_key(|(gap, _)| Reverse(gap.nanos()));
        gaps.truncate(NAMED_MAX);
        gaps.sort_by_key(|(gap, _)| gap.from.wall_ns);
        let parts = gaps.iter().map(|(gap, ends)| {
            let unseen = ends.iter().take(NAMED_MAX).map(|end| self.unseen(end));
            FactPart {
                answer: length(gap.nanos()),
                at_ms: Some(millis(gap.from.wall_ns)),
                until_ms: (!gap.is_open).then_some(millis(gap.to.wall_ns)),
                details: format!(
                    "{}{}",
                    supervision_ended(&gap.cause),
                    if gap.is_open { ", and none runs" } else { "" }
                ),
                parts: unseen.collect(),
                more: ends.len().saturating_sub(NAMED_MAX) as u64,
                ..FactPart::default()
            }
        });
        let died = watch.gaps.iter().any(|gap: &Gap| gap.cause == GapCause::Died);
        let tone = if died { Tone::Bad } else { Tone::Warn };
        of_parts(fact(question, answer, tone), parts, (watch.count, "watch"))
    }

    fn unseen(&self, end: &UnobservedEnd) -> FactPart {
        let how = end.mark.map(|mark| end_with_cause(&mark, &self.timeline.details));
        let how = how.map_or_else(String::new, |how| format!(": {how}"));
        FactPart { process: self.process(end.stream), answer: format!("ended unseen{how}"), ..FactPart::default() }
    }

    fn outage(&self, question: &'static str, found: Option<(&Lane, Outage)>) -> Fact {
        let Some((lane, outage)) = found else { return fact(question, "nothing", Tone::Good) };
        let begun = self.begun(lane, &outage);
        let end = match outage.end {
            OutageEnd::Recovered => "",
            OutageEnd::Withdrawn => ", then stopped on request",
            OutageEnd::Open if lane.is_down() => ", still down",
            OutageEnd::Open => ", it is being started",
        };
        let until_ms = (outage.end != OutageEnd::Open).then_some(millis(outage.to.wall_ns));
        let part = FactPart { answer: format!("{}{end}", begun.answer), until_ms, ..begun };
        of_parts(fact(question, "", Tone::Warn), [part], (1, ""))
    }

    fn refusals(&self) -> Fact {
        let (question, refusals) = ("Which restarts were refused?", &self.timeline.lanes.refusals);
        if refusals.count == 0 {
            return fact(question, "none", Tone::Good);
        }
        let parts = refusals.first.iter().map(|refusal| FactPart {
            process: self.process(refusal.stream),
            at_ms: Some(millis(refusal.at_ns)),
            details: escape(&rule_words(&refusal.rule)).into_owned(),
            ..FactPart::default()
        });
        of_parts(fact(question, "", Tone::Bad), parts, (refusals.count, "restarts"))
    }

    fn most_spent(&self) -> Fact {
        let question = "Which agent spent most?";
        let spenders = self.timeline.spenders();
        if spenders.is_empty() {
            return fact(question, "no agent reported anything", Tone::Calm);
        }
        let mut total = Spent::default();
        self.timeline.spent.values().for_each(|one| total.add(*one));
        let tokens = |spent: &Spent| spent.totals.usage.input.saturating_add(spent.totals.usage.output);
        let parts = spenders.iter().map(|one| {
            let answer = match (one.spent.cost_micros(), total.cost_micros()) {
                (Some(of_one), Some(of_all)) => format!("{} of {}", cost(of_one), cost(of_all)),
                _ => format!("{} of {} tokens", count(tokens(&one.spent)), count(tokens(&total))),
            };
            let (at_ms, details) = match &one.stopped {
                Some((at_ns, text)) => (Some(millis(*at_ns)), escape(text).into_owned()),
                None => (None, String::new()),
            };
            FactPart { process: self.process(one.id), answer, at_ms, details, ..FactPart::default() }
        });
        let tone = if spenders.iter().any(|one| one.stopped.is_some()) { Tone::Warn } else { Tone::Calm };
        of_parts(fact(question, "", tone), parts, (spenders.len() as u64, "agents"))
    }

    fn requests(&self, requests: &[Request<'_>], requests_count: u64) -> Fact {
        let question = "What did a person do?";
        if requests.is_empty() {
            return fact(question, "nothing", Tone::Calm);
        }
        let parts = requests.iter().map(|request| {
            let (who, reason) = asked_by(request);
            let others = match request.streams.len().saturating_sub(1) {
                0 => String::new(),
                others => format!("and {} more, ", count(others as u64)),
            };
            FactPart {
                process: self.process(request.first.stream),
                answer: format!("{others}{} by {who}", done(request.kind)),
                at_ms: Some(millis(request.first.at_ns)),
                details: reason.map(|reason| escape(&reason).into_owned()).unwrap_or_default(),
                ..FactPart::default()
            }
        });
        let has_unnamed = requests.iter().take(NAMED_MAX).any(|request| request.streams.len() > 1);
        let found = of_parts(fact(question, "", Tone::Calm), parts, (requests_count, "watch"));
        if has_unnamed { Fact { more_in: "watch", ..found } } else { found }
    }
}
