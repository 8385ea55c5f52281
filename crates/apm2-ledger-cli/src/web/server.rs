//! The connections of the server, and their limits.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, broadcast},
};

use crate::{
    context::Context,
    error::CliError,
    report::gathered::Range,
    web::{
        document_cache::DocumentCache,
        feed::{Feed, QUEUE_MAX},
        guard::Guard,
        routes::{Site, event_clients, routes},
        secret::{Secret, Token},
        timed_stream::TimedStream,
    },
};

/// Largest number of connections at the same time. Further ones are closed at once.
const CONNECTIONS_MAX: usize = 64;

/// Longest time in which the head of a request has to arrive.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);

/// Largest number of bytes of the head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Largest number of headers of a request.
const HEADERS_MAX: usize = 64;

/// Pause after a connection could not be accepted, such as for a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Largest number of threads that read the ledger or wait for the daemon.
const BLOCKING_THREADS_MAX: usize = 4;

/// What is served.
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) range: Range,
    pub(crate) can_control: bool,
}

/// Serves the page until SIGINT or SIGTERM.
///
/// # Errors
/// The ledger cannot be read, or the address cannot be listened on.
pub(crate) fn serve(settings: Settings, context: &Context) -> Result<i32, CliError> {
    let failed = |what: &'static str| move |error: std::io::Error| CliError::failed(format!("{what}: {error}"));
    let (changes, _) = broadcast::channel(QUEUE_MAX);
    Feed::new(context, changes.clone())?.start()?;
    let (token, cookie) =
        Secret::new().and_then(|token| Ok((token, Secret::new()?))).map_err(failed("no random numbers"))?;
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS_MAX).build();
    runtime.map_err(failed("cannot start"))?.block_on(async {
        let listener = TcpListener::bind(settings.listen).await.map_err(failed("cannot listen"))?;
        let address = listener.local_addr().map_err(failed("cannot listen"))?;
        let site = Arc::new(Site {
            guard: Guard::new(address, cookie, settings.can_control),
            token: Token::new(token.clone()),
            documents: DocumentCache::new(context, settings.range, settings.can_control),
            changes,
            event_clients: event_clients(),
            dir: context.existing_ledger_dir()?,
        });
        context.print(|out| {
            writeln!(out, "http://{address}/?token={}", token.as_str())?;
            out.flush()
        })?;
        let ended = ended().map_err(failed("cannot wait for signals"))?;
        tokio::select! {
            () = accept(&listener, &site) => {}
            () = ended => {}
        }
        Ok(0)
    })
}

/// Waits for SIGINT or SIGTERM.
fn ended() -> std::io::Result<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

async fn accept(listener: &TcpListener, site: &Arc<Site>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        // A connection over the limit is closed by dropping it.
        if let Ok(permit) = Arc::clone(&connections).try_acquire_owned() {
            let site = Arc::clone(site);
            tokio::spawn(async move {
                answer(stream, site).await;
                drop(permit);
            });
        }
    }
}

/// Answers one request. Errors of a connection concern its client alone.
async fn answer(stream: TcpStream, site: Arc<Site>) {
    let service = TowerToHyperService::new(routes(site));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(TimedStream::new(stream)), service);
    let _ = served.await;
}
