//! Whether anything of a run is left once its main process has ended, and the end of what is.

use std::{cmp::min, io, mem, time::Duration};

use apm2_model::{event::origin::EventOrigin, signal::Signal, state::ProcessState};

use crate::{
    os::group::Member,
    run::{run_task::RunTask, stop_phase::StopPhase},
    time::instant_in,
};

/// What members of the group that outlive a natural exit get to end by themselves, at most.
const LEFTOVER_GRACE_MAX: Duration = Duration::from_secs(2);

/// Looks for processes that left the group, after an end that nobody asked for, that may fail before it goes on.
const UNCLEAR_LOOKS_MAX: u32 = 50;

impl RunTask {
    /// Looks whether the group is gone, and begins to clear it if a natural exit left members behind.
    pub(super) fn sweep(&mut self) {
        if self.end.is_none() || self.over {
            return;
        }
        self.strays.clear();
        self.over = self.members().is_ok_and(|members| members.is_empty());
        if self.over {
            self.over = !self.ask_strays();
        } else if matches!(self.phase, StopPhase::None) {
            self.clear_leftovers();
        }
    }

    /// Looks for processes of the run that left its group and session, and asks them to go, once; whether there are any. After
    /// an end that nobody asked for, only where the specification does not leave them alone.
    pub(super) fn ask_strays(&mut self) -> bool {
        let (is_stop, shutdown) = {
            let facts = self.shared.facts();
            (facts.state() == ProcessState::Stopping, facts.spec.shutdown.clone())
        };
        let is_wanted = is_stop || shutdown.end_orphans;
        if !is_wanted || matches!(self.phase, StopPhase::Spent) || !self.main_process.is_of_this_boot() {
            return false;
        }
        // Those of an earlier run, too: the next one is to be alone with what it works on.
        match self.marker.carriers_of_any_run() {
            Ok(strays) => self.strays = strays,
            // Whether there are any is not known: it is looked again, until the time is over.
            Err(error) => return self.look_again(&error),
        }
        self.unclear_looks = 0;
        if self.strays.is_empty() {
            return false;
        }
        self.orphans.extend(self.strays.iter().map(Member::id));
        let signal = if is_stop { shutdown.signal } else { Signal::TERM };
        if matches!(self.phase, StopPhase::None) {
            let until = instant_in(min(shutdown.timeout, LEFTOVER_GRACE_MAX));
            self.phase = StopPhase::Asked { until, force_kill: true };
        }
        if mem::replace(&mut self.strays_asked, true) {
            self.signal_again(signal);
        } else if let Err(error) = self.signal(EventOrigin::default().caused_by(self.cause), None, signal) {
            tracing::warn!(%error, "the processes that left the group could not be asked to end");
        }
        self.asked.clone_from(&self.strays);
        true
    }

    /// Whether it is to be looked again for processes that left the group. Without a time to stop, only so often.
    pub(super) fn look_again(&mut self, error: &io::Error) -> bool {
        self.unclear_looks = self.unclear_looks.saturating_add(1);
        let is_last = matches!(self.phase, StopPhase::None) && self.unclear_looks >= UNCLEAR_LOOKS_MAX;
        if is_last {
            tracing::warn!(%error, "whether any process left the group cannot be told; if so, it is left");
        }
        !is_last
    }

    /// Sends what is on record already to those who came after it was sent: SIGKILL to all that are left, what asked for the
    /// stop to those that were not asked yet.
    pub(super) fn signal_again(&mut self, signal: Signal) {
        let is_killing = matches!(self.phase, StopPhase::Killed { .. });
        let signal = if is_killing { Signal::KILL } else { signal };
        for stray in self.strays.iter().filter(|stray| is_killing || !self.asked.contains(stray)) {
            if let Err(error) = stray.signal(signal) {
                tracing::debug!(%error, pid = stray.pid, "a process that left the group could not be signalled");
            }
        }
    }

    pub(super) fn clear_leftovers(&mut self) {
        let timeout = self.shared.facts().spec.shutdown.timeout;
        // What is left behind is not stopped but cleared away: `force_kill` is about stops, and this has to end.
        self.phase = StopPhase::Asked { until: instant_in(min(timeout, LEFTOVER_GRACE_MAX)), force_kill: true };
        if let Err(error) = self.signal(EventOrigin::default(), None, Signal::TERM) {
            tracing::warn!(%error, "the processes that a run left behind could not be asked to end");
        }
    }

    pub(super) fn members(&self) -> io::Result<Vec<Member>> {
        let mut members = self
            .main_process
            .members(&self.marker)
            .inspect_err(|error| tracing::warn!(%error, "the members of a process group cannot be read"))?;
        members.extend(self.strays.iter().copied());
        Ok(members)
    }
}
