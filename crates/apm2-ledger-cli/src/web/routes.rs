//! What the server answers.

use std::{path::PathBuf, sync::Arc, time::Duration};

use apm2_page::{csp, html};
use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, Uri, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use futures_util::stream::unfold;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, broadcast},
    time::timeout,
};

use crate::{
    render::escape::escape,
    web::{control::Order, document_cache::DocumentCache, guard::Guard, secret::Token},
};

/// Largest number of bytes of a body.
const BODY_BYTES_MAX: usize = 4096;

/// Longest time in which a body has to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(5);

/// Largest number of pages that get events at the same time.
const EVENT_CLIENTS_MAX: usize = 16;

/// A page gets at least one line in this time, so that a lost connection is noticed.
const ALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// The headers of each answer.
const SECURITY_HEADERS: [(HeaderName, &str); 6] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// What the answers need.
pub(crate) struct Site {
    pub(crate) guard: Guard,
    pub(crate) token: Token,
    pub(crate) documents: DocumentCache,
    pub(crate) changes: broadcast::Sender<Arc<str>>,
    pub(crate) event_clients: Arc<Semaphore>,
    pub(crate) dir: PathBuf,
}

/// The limit of clients that get events.
pub(crate) fn event_clients() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(EVENT_CLIENTS_MAX))
}

/// All answers, each behind the guard.
pub(crate) fn routes(site: Arc<Site>) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/document.json", get(document))
        .route("/events", get(events))
        .route("/control", post(control))
        .layer(from_fn_with_state(Arc::clone(&site), guarded))
        .with_state(site)
}

/// Answers what passes the guard, and adds the security headers to each answer.
async fn guarded(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let checked = site.guard.check(request.method(), request.uri().path(), request.headers());
    let mut response = match checked {
        Err((status, why)) => text(status, why),
        Ok(()) => match token(request.uri()) {
            Some(token) if request.uri().path() == "/" => redeem(&site, token),
            _ if !site.guard.is_admitted(request.headers()) => {
                text(StatusCode::UNAUTHORIZED, "open the address that `apm2-ledger web` printed; it works once")
            }
            _ => next.run(request).await,
        },
    };
    let headers = response.headers_mut();
    for (name, value) in SECURITY_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(policy) = HeaderValue::from_str(&csp::header()) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

/// The token in the address.
fn token(uri: &Uri) -> Option<&str> {
    uri.query()?.split('&').find_map(|pair| pair.strip_prefix("token="))
}

/// Gives the cookie for the token.
fn redeem(site: &Site, token: &str) -> Response {
    if !site.token.redeem(token) {
        return text(StatusCode::UNAUTHORIZED, "the token is wrong or was used; start `apm2-ledger web` again");
    }
    let headers = [(header::LOCATION, "/".to_owned()), (header::SET_COOKIE, site.guard.set_cookie())];
    (StatusCode::SEE_OTHER, headers).into_response()
}

fn text(status: StatusCode, text: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{text}\n")).into_response()
}

async fn page() -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], html::live_page()).into_response()
}

async fn document(State(site): State<Arc<Site>>) -> Response {
    match site.documents.json().await {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], Body::from(Bytes::copy_from_slice(json.as_bytes())))
            .into_response(),
        Err(error) => text(StatusCode::SERVICE_UNAVAILABLE, &escape(error.message())),
    }
}

async fn control(State(site): State<Arc<Site>>, request: Request) -> Response {
    let body = match timeout(BODY_TIME_MAX, to_bytes(request.into_body(), BODY_BYTES_MAX)).await {
        Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the request did not arrive in time"),
        Ok(Err(_)) => return text(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large"),
        Ok(Ok(body)) => body,
    };
    let order: Order = match serde_json::from_slice(&body) {
        Ok(order) => order,
        Err(error) => return text(StatusCode::BAD_REQUEST, &escape(&error.to_string())),
    };
    let carried_out = tokio::task::spawn_blocking(move || order.carry_out(&site.dir)).await;
    match carried_out {
        Ok(Ok(result)) => text(StatusCode::OK, &escape(&result)),
        Ok(Err(error)) => text(StatusCode::CONFLICT, &escape(error.message())),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the request failed"),
    }
}

/// Sends the changes as server-sent events. A client that has missed some is told to fetch the document.
async fn events(State(site): State<Arc<Site>>) -> Response {
    let Ok(permit) = Arc::clone(&site.event_clients).try_acquire_owned() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many pages are open");
    };
    let changes = (site.changes.subscribe(), permit);
    let stream = unfold(changes, |(mut changes, permit): (_, OwnedSemaphorePermit)| async move {
        let message = next(&mut changes).await?;
        Some((Ok::<_, std::convert::Infallible>(message), (changes, permit)))
    });
    // A browser sees the connection as open when it has the first bytes.
    let begun = futures_util::stream::once(async { Ok(Bytes::from_static(b": open\n\n")) });
    let body = Body::from_stream(futures_util::StreamExt::chain(begun, stream));
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// The next message for a client; `None` when the server ends.
async fn next(changes: &mut broadcast::Receiver<Arc<str>>) -> Option<Bytes> {
    use broadcast::error::RecvError::{Closed, Lagged};
    Some(match timeout(ALIVE_INTERVAL, changes.recv()).await {
        Err(_) => Bytes::from_static(b": alive\n\n"),
        Ok(Err(Closed)) => return None,
        Ok(Err(Lagged(_))) => Bytes::from_static(b"event: resync\ndata: {}\n\n"),
        // JSON has no line breaks.
        Ok(Ok(json)) => Bytes::from(format!("event: change\ndata: {json}\n\n")),
    })
}
