//! The signals that end, suspend and continue the program. They are blocked in all threads, and one thread waits for them.

use std::{
    io, process,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI32, Ordering},
        mpsc::SyncSender,
    },
    thread,
    time::Duration,
};

use nix::{
    sys::signal::{SigSet, Signal, kill},
    unistd::Pid,
};
use ratatui::crossterm::terminal::disable_raw_mode;

use crate::top::{feed::thread::spawn, message::Message};

/// The signals that end the program.
const ENDING: [Signal; 3] = [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT];

/// Time for the screen to close after such a signal. The terminal may not take what is written.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// Added to the number of a signal that ended a program, to get its exit code.
const SIGNAL_CODE_BASE: i32 = 128;

/// The signals that were received.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    /// The number of the signal that ends the program; 0 if there is none.
    ending: AtomicI32,
    suspends: AtomicBool,
    continues: AtomicBool,
}

impl Signals {
    /// Blocks the signals in this thread and those that it starts. Called before any other thread is started.
    ///
    /// # Errors
    /// A system call fails.
    pub(crate) fn listen(screen: &SyncSender<Message>) -> io::Result<Arc<Self>> {
        let mut set = SigSet::from_iter(ENDING);
        set.add(Signal::SIGTSTP);
        set.add(Signal::SIGCONT);
        set.thread_block()?;
        let signals = Arc::new(Self::default());
        let shared = Arc::clone(&signals);
        spawn("signals", screen, move |screen| {
            while let Ok(signal) = set.wait() {
                shared.note(signal);
                // A full queue wakes the screen as well.
                let _ = screen.try_send(Message::Wake);
                if ENDING.contains(&signal) {
                    thread::sleep(CLOSE_MAX);
                    // The screen could not be closed, so at least the modes of the terminal are restored.
                    let _ = disable_raw_mode();
                    process::exit(code_of(signal));
                }
            }
        })?;
        Ok(signals)
    }

    fn note(&self, signal: Signal) {
        match signal {
            Signal::SIGTSTP => self.suspends.store(true, Ordering::Release),
            Signal::SIGCONT => self.continues.store(true, Ordering::Release),
            ending => self.ending.store(code_of(ending), Ordering::Release),
        }
    }

    /// The exit code, if a signal ends the program.
    pub(crate) fn exit_code(&self) -> Option<i32> {
        Some(self.ending.load(Ordering::Acquire)).filter(|code| *code != 0)
    }

    /// Whether the program was asked to suspend itself since the last call.
    pub(crate) fn takes_suspend(&self) -> bool {
        self.suspends.swap(false, Ordering::AcqRel)
    }

    /// Whether the program was continued since the last call, after another program may have used the terminal.
    pub(crate) fn takes_continue(&self) -> bool {
        self.continues.swap(false, Ordering::AcqRel)
    }

    /// Stops the process group of this program, as Ctrl-Z does, until it is continued. The kernel ignores this in an
    /// orphaned process group, which no shell could continue.
    ///
    /// # Errors
    /// A system call fails.
    pub(crate) fn stop_group(&self) -> io::Result<()> {
        let stop = SigSet::from(Signal::SIGTSTP);
        stop.thread_unblock()?;
        // This thread is the only one that does not block the signal, so it has stopped when kill(2) returns.
        let stopped = kill(Pid::from_raw(0), Signal::SIGTSTP);
        stop.thread_block()?;
        self.suspends.store(false, Ordering::Release);
        Ok(stopped?)
    }
}

const fn code_of(signal: Signal) -> i32 {
    SIGNAL_CODE_BASE + signal as i32
}
