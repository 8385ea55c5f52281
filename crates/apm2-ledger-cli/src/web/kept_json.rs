//! An answer that takes long to make. It is made once for all clients that ask at the same time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Bytes;
use serde::Serialize;
use tokio::{sync::Mutex, task::spawn_blocking};

use crate::error::CliError;

/// An answer that was made less than this ago is sent again.
const FRESH: Duration = Duration::from_millis(900);

/// A JSON text as it was made last, and when that was.
#[derive(Default)]
pub(crate) struct KeptJson(Arc<Mutex<Option<(Instant, Bytes)>>>);

impl KeptJson {
    /// The kept text, or that of a new value. Making one blocks no other request but those for the same. A client that leaves
    /// meanwhile does not interrupt it, and no second one is made before it is complete.
    pub(crate) async fn get<T: Serialize>(
        &self,
        make: impl FnOnce() -> Result<T, CliError> + Send + 'static,
    ) -> Result<Bytes, CliError> {
        let mut kept = Arc::clone(&self.0).lock_owned().await;
        if let Some((_, json)) = kept.as_ref().filter(|(at, _)| at.elapsed() < FRESH) {
            return Ok(json.clone());
        }
        let make = move || {
            let json = serde_json::to_vec(&make()?).map_err(|error| CliError::failed(error.to_string()))?;
            let json = Bytes::from(json);
            *kept = Some((Instant::now(), json.clone()));
            Ok(json)
        };
        spawn_blocking(make).await.map_err(|_| CliError::failed("the answer could not be made"))?
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        atomic::{AtomicU32, Ordering},
        mpsc,
    };

    use futures_util::{FutureExt as _, future::join_all};

    use super::*;

    #[tokio::test]
    async fn clients_that_leave_do_not_pile_up_work() {
        let (kept, made) = (KeptJson::default(), Arc::new(AtomicU32::new(0)));
        let (go_on, waits) = mpsc::channel::<()>();
        let of = |made: &Arc<AtomicU32>, begin: Box<dyn FnOnce() + Send>| {
            let made = Arc::clone(made);
            move || {
                begin();
                Ok(made.fetch_add(1, Ordering::SeqCst))
            }
        };
        // The first of them begins; all of them leave.
        let wait = move || assert!(waits.recv().is_err());
        assert!(kept.get(of(&made, Box::new(wait))).now_or_never().is_none());
        for _ in 0..100 {
            assert!(kept.get(of(&made, Box::new(|| ()))).now_or_never().is_none());
        }
        drop(go_on);
        let answers = join_all((0..100).map(|_| kept.get(of(&made, Box::new(|| ()))))).await;
        assert!(answers.iter().all(|answer| answer.as_ref().unwrap() == "0"), "one for all");
        assert_eq!(made.load(Ordering::SeqCst), 1);
        let failed = KeptJson::default();
        assert!(failed.get(|| Err::<u32, _>(CliError::failed("x"))).await.is_err());
        assert_eq!(failed.get(|| Ok(2)).await.unwrap(), "2", "an error is not kept");
    }
}
