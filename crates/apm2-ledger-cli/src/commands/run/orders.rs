//! What `run` asks the daemon for besides the run itself: to stop the command, and to pass signals on to it.

use std::{
    path::{Path, PathBuf},
    sync::mpsc::{Receiver, Sender, SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use apm2_daemon::{
    client::{ClientError, Received},
    protocol::{Answer, Request},
};
use apm2_model::{signal::Signal, spec::id::ProcessId};

use crate::{
    commands::run::call::{News, tell},
    daemon::{connect, terminal},
};

/// How long a daemon is looked for that takes the place of another one.
const CONNECT_MAX: Duration = Duration::from_secs(15);

/// How often it is looked for.
const CONNECT_POLL: Duration = Duration::from_millis(50);

/// Signals that wait to be passed on. The kernel merges those of one kind that are not taken, too.
const WAITING_MAX: usize = 64;

/// Has the process stopped. On a thread of its own: the answer comes when it is gone.
pub(crate) fn stop(dir: &Path, process: ProcessId, signal: Signal, timeout: Option<Duration>, news: &Sender<News>) {
    let (dir, news) = (dir.to_owned(), news.clone());
    thread::spawn(move || {
        let request = Request::Stop { targets: vec![process.to_string()], timeout };
        if let Err(why) = ask(&dir, request, signal) {
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
        if let Err(why) = ask(dir, request, received) {
            tell(news, News::Refused(format!("{sent} is not passed on: {why}")));
        }
        // Dropping it tells as well.
        drop(done);
    }
}

/// Asks the daemon, and waits for one where there is none at the moment.
fn ask(dir: &Path, request: Request, signal: Signal) -> Result<(), String> {
    let began = Instant::now();
    let mut client = loop {
        match connect(dir) {
            Ok(Some(client)) => break client,
            Ok(None) if began.elapsed() < CONNECT_MAX => thread::sleep(CONNECT_POLL),
            Ok(None) => return Err("no daemon is there".to_owned()),
            Err(error) => return Err(error.message().to_owned()),
        }
    };
    let answered = client.ask(request, Some(format!("received {signal}")), terminal()).and_then(|()| {
        loop {
            if let Received::Done(answer) = client.receive()? {
                return Ok::<_, ClientError>(answer);
            }
        }
    });
    match answered.map_err(|error| error.to_string())? {
        Answer::Outcomes(outcomes) => outcomes.into_iter().find_map(|outcome| outcome.error).map_or(Ok(()), Err),
        Answer::Hello { .. } | Answer::Started { .. } | Answer::Ended | Answer::Done => Ok(()),
    }
}
