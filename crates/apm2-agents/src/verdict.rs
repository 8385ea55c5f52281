//! How a run ended that has no result: by its signal, its exit code, and the last error that was seen.
//!
//! A result always decides, whatever the exit code. Without one a run failed, also with exit code 0.

use apm2_model::{
    event::{
        agent::{class::FailureClass, outcome::AgentOutcome},
        exit::{Exit, ExitOutcome},
    },
    signal::Signal,
    spec::agent_kind::AgentKind,
};

use crate::{
    classify::Failure,
    dialect::{codex, gemini},
};

/// The signals that interrupt a run from outside: SIGHUP, SIGINT, SIGQUIT, SIGKILL, SIGTERM.
const INTERRUPTS: [u8; 5] = [1, 2, 3, 9, 15];

/// What a program adds to the number of a signal for its exit code (bash(1)).
const SIGNAL_CODE_BASE: i32 = 128;

const ABORTED: (AgentOutcome, Failure) =
    (AgentOutcome::Aborted, Failure { class: FailureClass::Aborted, http_status: None, is_permanent: false });

/// The outcome of a run without a result. `seen` is the last error that nothing followed.
pub(crate) fn of_exit(
    kind: AgentKind,
    exit: Option<&Exit>,
    was_stopped: bool,
    seen: Option<Failure>,
) -> (AgentOutcome, Failure) {
    let code = match exit.map(|exit| exit.outcome) {
        _ if was_stopped => return ABORTED,
        Some(ExitOutcome::Signal { signal, .. }) if is_interrupt(signal) => return ABORTED,
        Some(ExitOutcome::Code(code)) if is_interrupt_code(code) => return ABORTED,
        Some(ExitOutcome::Code(code)) => Some(code),
        _ => None,
    };
    let of_code = code.and_then(|code| match kind {
        AgentKind::Codex => codex::exit_failure(code),
        AgentKind::Gemini | AgentKind::QwenCode => gemini::exit_failure(code),
        AgentKind::ClaudeCode | AgentKind::OpenCode | AgentKind::Custom => None,
    });
    let failure = match (seen, of_code) {
        // A message of a known class is more exact than the code; a message of an unknown class is not.
        (Some(seen), Some(of_code)) if seen.class == FailureClass::Unknown => of_code,
        (Some(seen), _) => seen,
        (None, of_code) => of_code.unwrap_or(Failure::new(FailureClass::Unknown, None)),
    };
    (AgentOutcome::Failure, failure)
}

fn is_interrupt(signal: Signal) -> bool {
    INTERRUPTS.contains(&signal.number())
}

fn is_interrupt_code(code: i32) -> bool {
    INTERRUPTS.into_iter().any(|number| code == SIGNAL_CODE_BASE + i32::from(number))
}
