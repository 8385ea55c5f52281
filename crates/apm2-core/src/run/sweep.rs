//! Finds and ends the processes of a run that outlive its main process.

use std::{cmp::min, io, mem, time::Duration};

use apm2_model::{event::origin::EventOrigin, signal::Signal, state::ProcessState};

use crate::{
    os::group::Member,
    run::{run_task::RunTask, stop_phase::StopPhase},
    time::instant_in,
};

/// Longest time between SIGTERM and SIGKILL for members of the process group that outlive a main process that ended by
/// itself.
const LEFTOVER_GRACE_MAX: Duration = Duration::from_secs(2);

/// Largest number of consecutive failed searches for processes that left the group, after the main process ended by
/// itself. The run is then closed without them.
const UNCLEAR_LOOKS_MAX: u32 = 50;

impl RunTask {
    /// Checks whether the process group is gone. If the main process ended by itself, begins to end the remaining
    /// processes.
    pub(super) fn sweep(&mut self) {
        if self.end.is_none() || self.is_over {
            return;
        }
        self.strays.clear();
        self.is_over = self.members().is_ok_and(|members| members.is_empty());
        if self.is_over {
            self.is_over = !self.ask_strays();
        } else if matches!(self.phase, StopPhase::None) {
            self.clear_leftovers();
        }
    }

    /// Searches for strays (processes of the run that left its group and session) and sends each of them a signal once.
    /// Returns whether the run has to wait for them. If the main process ended by itself, only if
    /// `shutdown.end_orphans` is set.
    pub(super) fn ask_strays(&mut self) -> bool {
        let (is_stop, shutdown) = {
            let facts = self.shared.facts();
            (facts.state() == ProcessState::Stopping, facts.spec.shutdown.clone())
        };
        if !self.searches_strays() {
            return false;
        }
        // The search also finds strays of earlier runs, so that none of them uses the same files as the next run.
        match self.look.strays.take().unwrap_or_else(|| self.marker.carriers_of_any_run()) {
            Ok(strays) => self.strays = strays,
            // The search failed, so it is repeated until the deadline.
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
            self.phase = StopPhase::Asked { until, force_kill: true, stop_at: None };
        }
        if mem::replace(&mut self.strays_asked, true) {
            self.signal_again(signal);
        } else if let Err(error) = self.signal(EventOrigin::default().caused_by(self.cause), None, signal) {
            tracing::warn!(%error, "the processes that left the group could not be signalled");
        }
        self.asked.clone_from(&self.strays);
        true
    }

    /// Whether to repeat a failed search for strays. Without a deadline, the search is made at most
    /// [`UNCLEAR_LOOKS_MAX`] times.
    pub(super) fn look_again(&mut self, error: &io::Error) -> bool {
        self.unclear_looks = self.unclear_looks.saturating_add(1);
        let is_last = matches!(self.phase, StopPhase::None) && self.unclear_looks >= UNCLEAR_LOOKS_MAX;
        if is_last {
            tracing::warn!(%error, "could not look for processes that left the group; if there are any, they are left running");
        }
        !is_last
    }

    /// Sends a signal that is already recorded to strays that were found later. SIGKILL goes to all remaining strays;
    /// the stop signal goes to the strays that have not received it.
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
        // The setting `force_kill` applies to requested stops only. Processes that remain after a run that ended by
        // itself are always killed in the end.
        let until = instant_in(min(timeout, LEFTOVER_GRACE_MAX));
        self.phase = StopPhase::Asked { until, force_kill: true, stop_at: None };
        if let Err(error) = self.signal(EventOrigin::default(), None, Signal::TERM) {
            tracing::warn!(%error, "the processes that a run left behind could not be signalled");
        }
    }

    /// The running processes of the run: those found before this step, the first time in it.
    pub(super) fn members(&mut self) -> io::Result<Vec<Member>> {
        let found = match self.look.members.take() {
            Some(found) => found.map(|members| self.main_process.own_members(members, &self.marker)),
            None => self.main_process.members(&self.marker),
        };
        let mut members =
            found.inspect_err(|error| tracing::warn!(%error, "the members of a process group cannot be read"))?;
        members.extend(self.strays.iter().copied());
        Ok(members)
    }
}
