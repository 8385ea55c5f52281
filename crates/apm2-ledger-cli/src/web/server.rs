//! The connections of the server, and their limits.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use apm2_page::csp;
use axum::http::HeaderValue;
use hyper::{
    server::conn::http1,
    service::{Service as _, service_fn},
};
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
        feed::{Feed, QUEUE_MAX},
        guard::{DOOR, Guard},
        kept_json::KeptJson,
        routes::{Limits, ORDERS_MAX, Site, routes},
        secret::{Secret, Token},
        silent::{Silence, SilentConnections},
        timed_stream::TimedStream,
    },
};

/// Largest number of connections at the same time. For a further one, the oldest one without a request is closed; if there is none,
/// the further one is closed.
const CONNECTIONS_MAX: usize = 64;

/// Longest time in which the head of a request has to arrive.
const HEAD_TIME_MAX: Duration = Duration::from_secs(5);

/// Longest time in which nothing of what is to be sent can be sent.
const WRITE_STALL_MAX: Duration = Duration::from_secs(10);

/// Largest number of bytes of the head of a request.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Largest number of headers of a request.
const HEADERS_MAX: usize = 64;

/// Pause after a connection could not be accepted, such as for a lack of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Largest number of threads that read the ledger or wait for the daemon. What waits for the daemon leaves two: one for
/// documents and one for verifications.
const BLOCKING_THREADS_MAX: usize = ORDERS_MAX + 2;

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
    let secret = || Secret::new().map_err(failed("no random numbers"));
    let (token, path, cookie) = (secret()?, secret()?, secret()?);
    let policy = HeaderValue::from_str(&csp::header()).map_err(|error| CliError::failed(error.to_string()))?;
    let runtime = Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING_THREADS_MAX).build();
    let runtime = runtime.map_err(failed("cannot start"))?;
    let served = runtime.block_on(async {
        let cannot_listen = |error| CliError::failed(format!("cannot listen on {}: {error}", settings.listen));
        let listener = TcpListener::bind(settings.listen).await.map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        let site = Arc::new(Site {
            guard: Guard::new(address, &path, cookie, settings.can_control),
            token: Token::new(token.clone()),
            range: settings.range,
            documents: KeptJson::default(),
            verifications: KeptJson::default(),
            changes,
            limits: Limits::new(),
            context: context.clone(),
            policy,
        });
        // A signal can follow as soon as the address is printed.
        let ended = ended().map_err(failed("cannot wait for signals"))?;
        context.print(|out| {
            writeln!(out, "http://{address}{DOOR}?token={}", token.as_str())?;
            out.flush()
        })?;
        tokio::select! {
            () = accept(&listener, &site) => {}
            () = ended => {}
        }
        Ok(0)
    });
    // The daemon goes on with what was asked of it; a document that is being made is for no one any more.
    runtime.shutdown_background();
    served
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
    let silent = SilentConnections::default();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let permit = match Arc::clone(&connections).try_acquire_owned() {
            Ok(permit) => Ok(permit),
            // The closed connection gives its place back as soon as its task runs.
            Err(_) if silent.close_oldest() => Arc::clone(&connections).acquire_owned().await,
            // The connection is closed by dropping it.
            Err(_) => continue,
        };
        let (Ok(permit), site) = (permit, Arc::clone(site)) else { continue };
        let (silence, closed) = silent.add();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = closed => {}
                () = answer(stream, site, silence) => {}
            }
            drop(permit);
        });
    }
}

/// Answers one request. Errors of a connection concern its client alone. `silence` ends with the head of the request.
async fn answer(stream: TcpStream, site: Arc<Site>, silence: Silence) {
    let routes = TowerToHyperService::new(routes(site));
    let silence = Mutex::new(Some(silence));
    let service = service_fn(move |request| {
        drop(silence.lock().unwrap_or_else(PoisonError::into_inner).take());
        routes.call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(TimedStream::new(stream, WRITE_STALL_MAX)), service);
    let _ = served.await;
}
