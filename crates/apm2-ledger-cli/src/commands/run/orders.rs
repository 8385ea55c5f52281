//! What `run` asks the daemon for besides the run itself: to stop the command, and to pass signals on to it.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use apm2_daemon::protocol::{Answer, Request};
use apm2_model::{signal::Signal, spec::id::ProcessId};

use crate::{
    commands::run::call::{News, tell},
    daemon::{Unanswered, answered, connect},
};

/// How long a daemon is asked for something that is not there, or ends before it answers. `run` itself starts the next one.
const ASK_MAX: Duration = Duration::from_secs(60);

/// How often.
const ASK_POLL: Duration = Duration::from_millis(50);

/// Signals that wait to be passed on. The kernel merges those of one kind that are not taken, too.
const WAITING_MAX: usize = 64;

/// Has the process stopped. On a thread of its own: the answer comes when it is gone.
pub(crate) fn stop(dir: &Path, process: ProcessId, signal: Signal, timeout: Option<Duration>, news: &Sender<News>) {
    let (dir, news) = (dir.to_owned(), news.clone());
    thread::spawn(move || {
        let request = Request::Stop { targets: vec![process.to_string()], timeout };
        if let Err(why) = ask(&dir, &request, signal, &news) {
            tell(&news, News::Refused(format!("cannot be stopped: {why}")));
        }
    });
}

/// Passes signals on, in the order in which they came.
pub(crate) struct Passing(SyncSender<Word>);

struct Word {
    process: ProcessId,
    /// The signal that was received.
    received: Signal,
    /// The signal that is sent.
    sent: Signal,
    /// Told when it was sent, or cannot be.
    done: Option<Sender<()>>,
}

impl Passing {
    /// Starts the thread that does it.
    pub(crate) fn start(dir: PathBuf, news: Sender<News>) -> Self {
        let (words, received) = sync_channel(WAITING_MAX);
        thread::spawn(move || pass_all(&dir, &received, &news));
        Self(words)
    }

    /// Passes a signal on. One that finds too many waiting is dropped.
    pub(crate) fn pass(&self, process: ProcessId, signal: Signal) {
        drop(self.0.try_send(Word { process, received: signal, sent: signal, done: None }));
    }

    /// Suspends the process; `done` is told when it is, or cannot be.
    pub(crate) fn suspend(&self, process: ProcessId, received: Signal, sent: Signal, done: Sender<()>) {
        drop(self.0.try_send(Word { process, received, sent, done: Some(done) }));
    }
}

fn pass_all(dir: &Path, words: &Receiver<Word>, news: &Sender<News>) {
    for Word { process, received, sent, done } in words {
        let request = Request::Signal { targets: vec![process.to_string()], signal: sent };
        if let Err(why) = ask(dir, &request, received, news) {
            tell(news, News::Refused(format!("{sent} is not passed on: {why}")));
        }
        // Dropping it tells as well.
        drop(done);
    }
}

/// Asks the daemon; the next one where there is none at the moment, or where one ends before it answers. What cannot be asked
/// for again without doing it twice is asked for once. A stop is asked for as long as no daemon answers.
fn ask(dir: &Path, request: &Request, signal: Signal, news: &Sender<News>) -> Result<(), String> {
    let (mut began, mut is_said) = (Instant::now(), false);
    loop {
        let unanswered = match ask_once(dir, request, signal) {
            Ok(Answer::Outcomes(outcomes)) => {
                return outcomes.into_iter().find_map(|outcome| outcome.error).map_or(Ok(()), Err);
            }
            Ok(Answer::Hello { .. } | Answer::Started { .. } | Answer::Ended | Answer::Done) => return Ok(()),
            Err(unanswered) => unanswered,
        };
        match unanswered {
            Failed::Asking(unanswered) if unanswered.is_unknown(request) => {
                return Err(format!("it is not known whether that was done: {}", unanswered.error));
            }
            Failed::Asking(unanswered) if unanswered.is_silent() && matches!(request, Request::Stop { .. }) => {
                // It is there, and takes up what it is asked for when it goes on.
                began = Instant::now();
                if !std::mem::replace(&mut is_said, true) {
                    tell(news, News::Remark("the daemon does not answer; it is asked again to stop it".to_owned()));
                }
            }
            Failed::Asking(unanswered) if !unanswered.is_lost() => return Err(unanswered.error.to_string()),
            Failed::Asking(unanswered) if began.elapsed() > ASK_MAX => return Err(unanswered.error.to_string()),
            Failed::Connecting(why) if began.elapsed() > ASK_MAX => return Err(why),
            Failed::Asking(_) | Failed::Connecting(_) => {}
        }
        thread::sleep(ASK_POLL);
    }
}

/// Why a daemon was not asked, or has not answered.
enum Failed {
    Connecting(String),
    Asking(Unanswered),
}

fn ask_once(dir: &Path, request: &Request, signal: Signal) -> Result<Answer, Failed> {
    match connect(dir) {
        Ok(Some(client)) => {
            answered(client, request, Some(format!("received {signal}")), |_| ()).map_err(Failed::Asking)
        }
        Ok(None) => Err(Failed::Connecting("no daemon is there".to_owned())),
        Err(error) => Err(Failed::Connecting(error.message().to_owned())),
    }
}
