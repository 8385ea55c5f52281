//! The document of the live page. It is made once for all clients that ask at the same time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use apm2_page::document::Document;
use tokio::sync::Mutex;

use crate::{
    context::Context,
    error::CliError,
    report::{self, gathered::Range},
};

/// A document that was made less than this ago is sent again.
const FRESH: Duration = Duration::from_millis(900);

/// The document, as it was made last.
pub(crate) struct DocumentCache {
    context: Context,
    range: Range,
    can_control: bool,
    made: Mutex<Option<(Instant, Arc<str>)>>,
}

impl DocumentCache {
    pub(crate) fn new(context: &Context, range: Range, can_control: bool) -> Self {
        Self { context: context.clone(), range, can_control, made: Mutex::new(None) }
    }

    /// The document as JSON. Making one blocks no other request but those for the document.
    pub(crate) async fn json(&self) -> Result<Arc<str>, CliError> {
        let mut made = self.made.lock().await;
        if let Some((_, json)) = made.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(Arc::clone(json));
        }
        let (context, range, can_control) = (self.context.clone(), self.range, self.can_control);
        let make = move || {
            let document = Document { can_control, ..report::document(range, &context)? };
            serde_json::to_string(&document).map_err(|error| CliError::failed(error.to_string()))
        };
        let ended = |_| CliError::failed("the document could not be made");
        let json: Arc<str> = tokio::task::spawn_blocking(make).await.map_err(ended)??.into();
        *made = Some((Instant::now(), Arc::clone(&json)));
        Ok(json)
    }
}
