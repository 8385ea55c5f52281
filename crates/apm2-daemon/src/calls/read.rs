//! Answers questions about the ledger.
//!
//! The ledger is read on a blocking thread. There is one for each client, so a client that takes its answer slowly holds up
//! no other one; no more than [`FRAMES_AHEAD_MAX`] frames are read ahead of it. The reading ends when the client leaves.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use apm2_core::blocking;
use apm2_ledger::{Cancel, ReadError, ReadLedger, Reader, record::RecordError};
use apm2_model::causes::causes;
use tokio::{sync::mpsc, time};

use crate::{
    connection::Connection,
    failure::{Failure, client_gone},
    frame::SocketFrame,
    protocol::{CallAnswer, DaemonReply, FailureKind},
    question::{FrameBody, Question, SentFound, SentQuestion},
    state::DaemonState,
};

/// Maximum number of frames that are read ahead of the client.
const FRAMES_AHEAD_MAX: usize = 4;

/// Interval at which [`DaemonReply::Alive`] is sent while no event or state is found. It is short, because a client that
/// can read the journal itself does not wait for long.
const READ_ALIVE_INTERVAL: Duration = Duration::from_millis(500);

/// Why a question is not answered.
enum Unanswered {
    Read(ReadError),
    Record(RecordError),
    /// The client has left.
    ClientGone,
}

impl From<ReadError> for Unanswered {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<Unanswered> for Failure {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Read(error) => {
                let kind = if error.is_integrity() { FailureKind::Integrity } else { FailureKind::Unusable };
                Self::new(kind, causes(&error))
            }
            Unanswered::Record(error) => Self::new(FailureKind::Failed, causes(&error)),
            Unanswered::ClientGone => client_gone(),
        }
    }
}

/// Ends the reading when the call is over, or its task is dropped.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.set();
    }
}

/// Sends the events or states that answer `question`, and returns the last answer.
pub(crate) async fn read(
    state: &Arc<DaemonState>,
    connection: &mut Connection,
    question: SentQuestion,
) -> Result<CallAnswer, Failure> {
    let cancel = CancelOnDrop(Cancel::default());
    let reader = state.ledger.reader().cancelled_by(cancel.0.clone()).keeping_last_segment();
    let (sender, mut frames) = mpsc::channel(FRAMES_AHEAD_MAX);
    let reading = blocking::spawn(move || answer(&reader, question.into(), &sender));
    loop {
        tokio::select! {
            frame = frames.recv() => {
                let Some(frame) = frame else { break };
                connection.send(&SocketFrame::Raw(frame)).await.map_err(|_| client_gone())?;
            }
            () = connection.left() => return Err(client_gone()),
            () = time::sleep(READ_ALIVE_INTERVAL) => {
                connection.reply(&DaemonReply::Alive).await.map_err(|_| client_gone())?;
            }
        }
    }
    let answered = reading.await.map_err(|error| Failure::new(FailureKind::Failed, error.to_string()))?;
    Ok(answered?)
}

fn answer(reader: &Reader, question: Question, frames: &mpsc::Sender<Vec<u8>>) -> Result<CallAnswer, Unanswered> {
    let mut sending = Sending { body: FrameBody::default(), frames, failed: None };
    let size = match question {
        Question::Head => Some(reader.head().map_or(0, |head| head.size)),
        Question::Find(id) => {
            let found = ReadLedger::find(reader, &id)?;
            return Ok(CallAnswer::Found { found: SentFound::new(found.streams), size: found.size });
        }
        Question::Events(question) => {
            ReadLedger::events(reader, &question, &mut |event| sending.add(|body| body.add_event(&event)))?
        }
        Question::States(question) => {
            reader.encoded_states(&question, &mut |state| sending.add(|body| Ok(body.add_state(&state))))?
        }
    };
    sending.end()?;
    // `Break` was an error of `sending`.
    size.map(|size| CallAnswer::Read { size }).ok_or(Unanswered::ClientGone)
}

/// Sends frames to the task of the client.
struct Sending<'a> {
    body: FrameBody,
    frames: &'a mpsc::Sender<Vec<u8>>,
    failed: Option<Unanswered>,
}

impl Sending<'_> {
    /// Adds an event or a state, and sends the frame if it is full. `Break` if that fails.
    fn add(&mut self, add: impl FnOnce(&mut FrameBody) -> Result<bool, RecordError>) -> ControlFlow<()> {
        let sent = match add(&mut self.body) {
            Ok(true) => self.flush(),
            Ok(false) => Ok(()),
            Err(error) => Err(Unanswered::Record(error)),
        };
        match sent {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed = Some(error);
                ControlFlow::Break(())
            }
        }
    }

    /// Waits until the frame can be sent.
    fn flush(&mut self) -> Result<(), Unanswered> {
        let Some(frame) = self.body.take() else { return Ok(()) };
        self.frames.blocking_send(frame).map_err(|_| Unanswered::ClientGone)
    }

    fn end(mut self) -> Result<(), Unanswered> {
        match self.failed.take() {
            Some(failed) => Err(failed),
            None => self.flush(),
        }
    }
}
