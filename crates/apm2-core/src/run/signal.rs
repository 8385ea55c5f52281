//! Signals to a run. Each signal is recorded before it is sent.

use std::io;

use apm2_model::{
    event::{
        kind::{EventKind, SignalTarget},
        origin::EventOrigin,
    },
    signal::Signal,
};

use crate::{
    error::ProcessError,
    run::{
        command::{RotateCommand, SignalCommand, answer},
        run_task::RunTask,
    },
};

impl RunTask {
    pub(super) fn rotate(&mut self, command: RotateCommand) {
        let RotateCommand { request, profile, variables, signal, reply } = command;
        let kinds = vec![
            EventKind::CredentialRotated { profile, variables },
            EventKind::SignalSent { signal, target: SignalTarget::Process },
        ];
        let recorded = self.shared.lock().record(&EventOrigin::of(request), kinds);
        let sent = recorded.and_then(|seq| match self.main_process.signal(signal) {
            Ok(()) => Ok(()),
            Err(error) => self.refused(signal, &error, Some(seq)),
        });
        answer(reply, sent);
    }

    /// Passes a signal on to the process group and the session. Does not send SIGCONT, so the signal stays pending for
    /// a stopped process.
    pub(super) fn pass_on(&mut self, command: SignalCommand) {
        let SignalCommand { request, signal, reply } = command;
        if self.end.is_some() {
            return answer(reply, Err(ProcessError::InvalidState("it has just ended".to_owned())));
        }
        let sent = EventKind::SignalSent { signal, target: SignalTarget::Group };
        let recorded = self.shared.lock().record(&EventOrigin::of(request), vec![sent]);
        answer(reply, recorded.and_then(|seq| self.deliver(signal, Some(seq))));
    }

    /// Records that the kernel refused a signal.
    pub(super) fn refused(&self, signal: Signal, error: &io::Error, cause: Option<u64>) -> Result<(), ProcessError> {
        let errno = error.raw_os_error().unwrap_or(0);
        let origin = EventOrigin::default().caused_by(cause);
        self.shared.lock().record(&origin, vec![EventKind::SignalFailed { signal, errno }])?;
        Err(ProcessError::SignalFailed(format!("{signal}: {error}")))
    }

    /// Records that `signal` is about to be sent to the process group, and sends it. The event `first` is recorded
    /// before it in the same commit.
    pub(super) fn signal(
        &mut self,
        origin: EventOrigin,
        first: Option<EventKind>,
        signal: Signal,
    ) -> Result<(), ProcessError> {
        let mut signals = vec![signal];
        // SIGCONT follows, because a stopped process acts on no other signal than SIGKILL until it is continued.
        if signal != Signal::KILL && self.members().unwrap_or_default().iter().any(|member| member.stopped) {
            signals.push(Signal::CONT);
        }
        let sent = signals.iter().map(|signal| EventKind::SignalSent { signal: *signal, target: SignalTarget::Group });
        let kinds = first.into_iter().chain(sent).collect();
        let seq = self.shared.lock().record(&origin, kinds)?;
        self.cause.get_or_insert(seq);
        signals.into_iter().try_for_each(|signal| self.deliver(signal, self.cause))
    }

    pub(super) fn deliver(&mut self, signal: Signal, cause: Option<u64>) -> Result<(), ProcessError> {
        // What was found before the signal was recorded may be outdated.
        self.look.members = None;
        let members = self.members().unwrap_or_default();
        // The other process groups of the session get the signal first. A main process that waits for them may end as
        // soon as its own group has the signal.
        let mut apart = members.iter().filter(|member| !member.in_group);
        let sent = apart.try_for_each(|member| member.signal(signal));
        let Err(error) = self.main_process.signal_group(signal, &members).and(sent) else { return Ok(()) };
        if error.raw_os_error() == Some(nix::libc::ESRCH) {
            return Ok(()); // All members have ended already.
        }
        self.refused(signal, &error, cause)
    }
}
