//! Reads the recorded state of runs that have ended from the ledger.

use std::io;

use apm2_core::{blocking, process::ProcessError};
use apm2_ledger::{Ledger, ReadError, Reader};
use apm2_model::{
    event::stream_id::StreamId,
    state::{series::Series, stream::Stream},
};

/// The state at the end of the series of runs that began with run number `run`. `None` while no later start has ended
/// the series.
pub(crate) async fn past_end(ledger: &Ledger, id: StreamId, run: u64) -> Result<Option<Stream>, ProcessError> {
    let past = move |reader: Reader| {
        let (mut series, mut fold): (Series, Option<Stream>) = (Series::from(run), None);
        for event in reader.stream_events(id) {
            let event = event?;
            series.takes(&event);
            if series.is_over() {
                return Ok(fold);
            }
            let folded = match &mut fold {
                Some(stream) => stream.apply(&event),
                None => Stream::begin(&event).map(|stream| fold = Some(stream)),
            };
            folded.map_err(|source| ReadError::Illegal { seq: event.seq, source })?;
        }
        Ok(None)
    };
    read(ledger, past).await
}

/// Reads the ledger on a blocking thread.
pub(crate) async fn read<T: Send + 'static>(
    ledger: &Ledger,
    work: impl FnOnce(Reader) -> Result<T, ReadError> + Send + 'static,
) -> Result<T, ProcessError> {
    let ledger = ledger.clone();
    let read = blocking::spawn(move || work(ledger.reader())).await;
    read.map_err(io::Error::other)?.map_err(|error| ProcessError::Io(io::Error::other(error)))
}
