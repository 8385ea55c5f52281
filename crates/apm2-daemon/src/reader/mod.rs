//! [`DaemonReader`]: reads a ledger through the daemon that has it open.

#[cfg(test)]
mod tests;

use std::{
    cell::RefCell,
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    time::Duration,
};

use apm2_ledger::{EventsQuestion, Found, LedgerHead, ReadLedger, StatesQuestion};
use apm2_model::{event::Event, state::stream::Stream};

use crate::{
    client::{Client, Received},
    error::ClientError,
    protocol::{CallAnswer, ClientRequest},
    question::{SentQuestion, event, parts, state},
};

/// Reads a ledger through its daemon, with one call for each question. A daemon of an earlier version refuses the calls.
pub struct DaemonReader {
    dir: PathBuf,
    timeout: Duration,
    /// The connection that was made first, until the first question is asked.
    connected: RefCell<Option<Client>>,
}

impl DaemonReader {
    /// Reads the ledger in `dir` through its daemon, to which `client` is connected. Further questions have a connection of
    /// their own. A question fails when the daemon sends nothing for `timeout`; a daemon that reads for longer says that it is
    /// alive meanwhile.
    #[must_use]
    pub fn new(client: Client, dir: &Path, timeout: Duration) -> Self {
        Self { dir: dir.to_owned(), timeout, connected: RefCell::new(Some(client)) }
    }

    /// Asks a question, and calls `take` with the body of each frame of the answer until it returns `Break`. Returns the last
    /// answer; `None` after `Break`.
    fn ask(
        &self,
        question: SentQuestion,
        mut take: impl FnMut(&[u8]) -> Result<ControlFlow<()>, ClientError>,
    ) -> Result<Option<CallAnswer>, ClientError> {
        let connected = self.connected.borrow_mut().take();
        let mut client = match connected {
            Some(client) => client,
            None => Client::connect(&self.dir)?.ok_or_else(gone)?,
        };
        client.set_timeout(self.timeout).map_err(ClientError::Gone)?;
        client.ask(ClientRequest::Read { question }, None, None)?;
        loop {
            match client.receive()? {
                Received::Bytes(bytes) => {
                    if take(&bytes)?.is_break() {
                        return Ok(None);
                    }
                }
                Received::Done(answer) => return Ok(Some(answer)),
                Received::Progress(_) | Received::Answer(_) => {}
            }
        }
    }

    /// Asks a question whose answer is a list, and calls `visit` with each element of it. Returns the last event of the
    /// ledger; `None` after `Break`.
    fn list<T>(
        &self,
        question: SentQuestion,
        decode: fn(&[u8]) -> Result<T, String>,
        visit: &mut dyn FnMut(T) -> ControlFlow<()>,
    ) -> Result<Option<u64>, ClientError> {
        let take = |body: &[u8]| {
            for part in parts(body) {
                if visit(part.and_then(decode).map_err(ClientError::Protocol)?).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        };
        self.ask(question, take)?.map(size).transpose()
    }
}

/// The error when the daemon has ended between two questions.
fn gone() -> ClientError {
    ClientError::Gone(io::ErrorKind::ConnectionRefused.into())
}

/// The last event of the ledger in an answer.
fn size(answer: CallAnswer) -> Result<u64, ClientError> {
    match answer {
        CallAnswer::Read { size } => Ok(size),
        _ => Err(ClientError::Protocol("an answer to another question".to_owned())),
    }
}

const fn no_frame(_: &[u8]) -> Result<ControlFlow<()>, ClientError> {
    Ok(ControlFlow::Continue(()))
}

impl ReadLedger for DaemonReader {
    type Error = ClientError;

    fn head(&self) -> Result<LedgerHead, ClientError> {
        let answer = self.ask(SentQuestion::Head, no_frame)?.ok_or_else(gone)?;
        Ok(LedgerHead { size: size(answer)?, is_whole: true })
    }

    fn find(&self, text: &str) -> Result<Found, ClientError> {
        match self.ask(SentQuestion::Find { id: text.to_owned() }, no_frame)? {
            Some(CallAnswer::Found { found, size }) => Ok(found.found(text, size)),
            _ => Err(ClientError::Protocol("an answer to another question".to_owned())),
        }
    }

    fn events(
        &self,
        question: &EventsQuestion,
        visit: &mut dyn FnMut(Event) -> ControlFlow<()>,
    ) -> Result<Option<u64>, ClientError> {
        self.list(question.into(), event, visit)
    }

    fn states(
        &self,
        question: &StatesQuestion,
        visit: &mut dyn FnMut(Stream) -> ControlFlow<()>,
    ) -> Result<Option<u64>, ClientError> {
        self.list(question.into(), state, visit)
    }
}
