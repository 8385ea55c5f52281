//! The verdict about a run of an agent, and the session of its next run.

use super::*;
use crate::{
    event::agent::{event::LimitStatus, outcome::AgentOutcome, usage::TokenUsage},
    spec::agent_kind::AgentKind,
    state::agent::{AgentLimit, AgentSession, AgentTotals, ReportedTurns},
    testing::at,
};

const FRACTION_MAX: u32 = u32::MAX;

fn resuming() -> AgentConfig {
    AgentConfig { resume_args: vec!["--resume".to_owned()], ..AgentConfig::default() }
}

/// An agent with a session, whose latest run ended in this way.
fn ended(class: Option<FailureClass>, is_permanent: bool) -> AgentState {
    let outcome = if class.is_none() { AgentOutcome::Success } else { AgentOutcome::Failure };
    let id = Label::new("3f2b8c1e-0000-4000-8000-000000000001").unwrap();
    let session = AgentSession {
        id,
        model: None,
        agent_version: None,
        is_resumed: false,
        totals: AgentTotals { usage: TokenUsage::default(), ..AgentTotals::default() },
        reported: ReportedTurns::default(),
    };
    AgentState {
        session: Some(session),
        end: Some(AgentEnd { outcome, class, is_permanent }),
        limited_runs: 1,
        ..AgentState::new(AgentKind::Codex, at(0))
    }
}

fn limited(resets_at: Option<i64>, limited_runs: u32) -> AgentState {
    let limit = AgentLimit { status: LimitStatus::Rejected, class: FailureClass::RateLimit, window: None, resets_at };
    AgentState { limit: Some(limit), limited_runs, ..ended(Some(FailureClass::RateLimit), false) }
}

fn wait(agent: &AgentState, random: u32) -> Duration {
    let now = Timestamp { wall_ns: 1_000 * 1_000_000_000, ..at(0) };
    match verdict(&AgentConfig::default(), agent, &now, random) {
        Some(AgentVerdict::Wait(wait)) => wait,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_limit_is_waited_for_until_its_reset_and_a_random_part_of_a_minute() {
    assert_eq!(wait(&limited(Some(4600), 1), 0), Duration::from_secs(3600));
    let longest = wait(&limited(Some(4600), 1), FRACTION_MAX);
    assert!(longest > Duration::from_secs(3659) && longest <= Duration::from_secs(3660), "{longest:?}");
    let short = wait(&limited(Some(1040), 1), FRACTION_MAX);
    assert!(short > Duration::from_secs(49) && short <= Duration::from_secs(50), "{short:?}");
}

#[test]
fn without_a_reset_time_the_wait_doubles_up_to_the_longest_allowed_one() {
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    for (runs, expected) in [(1, 15), (2, 30), (3, 60), (5, 240), (6, 480), (7, 480), (u32::MAX, 480)] {
        assert_eq!(wait(&limited(None, runs), FRACTION_MAX), minutes(expected), "{runs}");
    }
    // One that is too far away is not waited for.
    assert_eq!(wait(&limited(Some(i64::MAX), 1), FRACTION_MAX), minutes(480));
}

#[test]
fn after_a_reset_time_that_has_passed_the_wait_is_short_and_doubles() {
    for (reset, runs, seconds) in
        [(1000, 1, 30), (999, 1, 30), (10, 2, 60), (i64::MIN, 3, 120), (999, u32::MAX, 8 * 3600)]
    {
        assert_eq!(wait(&limited(Some(reset), runs), FRACTION_MAX), Duration::from_secs(seconds), "{reset} {runs}");
    }
}

#[test]
fn an_agent_that_meets_near_resets_again_and_again_is_not_started_each_second() {
    assert_eq!(wait(&limited(Some(1001), 1), 0), Duration::from_secs(1));
    assert_eq!(wait(&limited(Some(1001), 2), 0), PASSED_RESET_WAIT);
    assert_eq!(wait(&limited(Some(1600), 2), 0), Duration::from_secs(600));
}

#[test]
fn the_reset_of_another_limit_is_not_waited_for() {
    let limit = |status, class| {
        let limit = AgentLimit { status, class, window: None, resets_at: Some(99_999) };
        AgentState { limit: Some(limit), ..ended(Some(FailureClass::Overloaded), false) }
    };
    for other in
        [limit(LimitStatus::Warning, FailureClass::Overloaded), limit(LimitStatus::Rejected, FailureClass::RateLimit)]
    {
        assert_eq!(wait(&other, 0), LIMIT_WAIT);
    }
    assert!(wait(&limit(LimitStatus::Rejected, FailureClass::Overloaded), 0) > LIMIT_WAIT);
}

#[test]
fn an_end_that_would_repeat_itself_is_refused() {
    let judge = |config: &AgentConfig, class, is_permanent| {
        verdict(config, &ended(Some(class), is_permanent), &at(0), 0).unwrap()
    };
    let default = AgentConfig::default();
    let stopping = AgentConfig { on_context_full: OnContextFull::Stop, ..AgentConfig::default() };
    assert_eq!(judge(&default, FailureClass::Auth, true), AgentVerdict::Refuse(FailureClass::Auth));
    assert_eq!(judge(&default, FailureClass::Server, false), AgentVerdict::Failed);
    assert_eq!(judge(&default, FailureClass::Context, false), AgentVerdict::Failed);
    assert_eq!(judge(&stopping, FailureClass::Context, false), AgentVerdict::Refuse(FailureClass::Context));
    // With arguments to resume, the next run has a new session.
    assert_eq!(judge(&resuming(), FailureClass::ResumeInvalid, true), AgentVerdict::Failed);
    assert_eq!(judge(&default, FailureClass::ResumeInvalid, true), AgentVerdict::Refuse(FailureClass::ResumeInvalid));
    assert_eq!(verdict(&default, &ended(None, false), &at(0), 0), Some(AgentVerdict::Succeeded));
    assert_eq!(verdict(&default, &AgentState::new(AgentKind::Codex, at(0)), &at(0), 0), None);
}

#[test]
fn a_session_is_gone_on_with_unless_that_cannot_work() {
    let reason = |config: &AgentConfig, agent: Option<&AgentState>| {
        let next = next_session(config, agent, &at(0));
        assert_eq!(next.resumed.is_some(), next.reason == SessionReason::Resume);
        next.reason
    };
    assert_eq!(reason(&resuming(), None), SessionReason::First);
    let aborted = ended(Some(FailureClass::Aborted), false);
    assert_eq!(reason(&AgentConfig::default(), Some(&aborted)), SessionReason::NotConfigured);
    assert_eq!(reason(&resuming(), Some(&aborted)), SessionReason::Resume);
    for (class, expected) in [
        (FailureClass::Context, SessionReason::ContextFull),
        (FailureClass::ResumeInvalid, SessionReason::ResumeInvalid),
        (FailureClass::RateLimit, SessionReason::Resume),
    ] {
        assert_eq!(reason(&resuming(), Some(&ended(Some(class), false))), expected);
    }
    let failing = AgentState { quick_failures: QUICK_FAILURES_MAX, ..aborted.clone() };
    assert_eq!(reason(&resuming(), Some(&failing)), SessionReason::QuickFailures);
    let mut named = aborted;
    named.session.as_mut().unwrap().id = Label::new("my-session").unwrap();
    assert_eq!(reason(&resuming(), Some(&named)), SessionReason::ResumeInvalid, "codex begins a new one for a name");
    named.kind = AgentKind::ClaudeCode;
    assert_eq!(reason(&resuming(), Some(&named)), SessionReason::Resume);
}

#[test]
fn the_arguments_for_the_session_are_in_their_place() {
    let config = AgentConfig {
        first_args: vec!["--session-id".to_owned(), "{session}".to_owned()],
        resume_args: vec!["resume".to_owned(), "{session}".to_owned()],
        ..AgentConfig::default()
    };
    let args = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(config.args_of_run(&args("exec {session-args} -"), "s", true), args("exec resume s -"));
    assert_eq!(config.args_of_run(&args("-p"), "s", false), args("-p --session-id s"));
    assert_eq!(AgentConfig::default().args_of_run(&args("a {session-args}"), "s", false), args("a"));
}

#[test]
fn a_limit_after_which_the_agent_succeeded_is_none_of_its_account() {
    let config = resuming();
    let mut agent = limited(Some(60), 1);
    assert_eq!(reset_for_account(&config, &agent), Some(60));
    agent.end = Some(AgentEnd { outcome: AgentOutcome::Success, class: None, is_permanent: false });
    assert_eq!(reset_for_account(&config, &agent), None);
}
