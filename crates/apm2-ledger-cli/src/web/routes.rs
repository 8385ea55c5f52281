//! What the server answers.

use std::{sync::Arc, time::Duration};

use apm2_page::{document::Document, html};
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
    context::Context,
    error::CliError,
    render::escape::escape,
    report::{self, gathered::Range},
    web::{
        control::Order,
        feed::Change,
        guard::{CONTROL, DOOR, Guard},
        kept_json::KeptJson,
        secret::Token,
    },
};

/// Largest number of bytes of a body.
const BODY_BYTES_MAX: usize = 4096;

/// Longest time in which a body has to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(5);

/// Largest number of pages that get events at the same time.
const EVENT_CLIENTS_MAX: usize = 16;

/// Largest number of starts, stops and restarts that are carried out at the same time. Each has a thread until it is done.
pub(crate) const ORDERS_MAX: usize = 8;

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
    pub(crate) range: Range,
    pub(crate) documents: KeptJson,
    pub(crate) verifications: KeptJson,
    pub(crate) changes: broadcast::Sender<Change>,
    pub(crate) limits: Limits,
    pub(crate) context: Context,
    /// The Content-Security-Policy.
    pub(crate) policy: HeaderValue,
}

/// What may go on at the same time.
pub(crate) struct Limits {
    event_clients: Arc<Semaphore>,
    orders: Arc<Semaphore>,
}

impl Limits {
    pub(crate) fn new() -> Self {
        let of = |count| Arc::new(Semaphore::new(count));
        Self { event_clients: of(EVENT_CLIENTS_MAX), orders: of(ORDERS_MAX) }
    }
}

/// All answers, each behind the guard.
pub(crate) fn routes(site: Arc<Site>) -> Router {
    let below = |name: &str| format!("{}{name}", site.guard.path);
    Router::new()
        .route(&below(""), get(page))
        .route(&below("document.json"), get(document))
        .route(&below("evidence.json"), get(evidence))
        .route(&below("events"), get(events))
        .route(&below(CONTROL), post(control))
        .fallback(async || text(StatusCode::NOT_FOUND, "there is nothing at this address"))
        .layer(from_fn_with_state(Arc::clone(&site), guarded))
        .with_state(site)
}

/// Answers what passes the guard, and adds the security headers to each answer.
async fn guarded(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let checked = site.guard.check(request.method(), request.uri(), request.headers());
    let mut response = match checked {
        Err((status, why)) => text(status, why),
        Ok(()) => match token(request.uri()) {
            Some(token) if request.uri().path() == DOOR => redeem(&site, token),
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
    headers.insert(header::CONTENT_SECURITY_POLICY, site.policy.clone());
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
    let headers = [(header::LOCATION, site.guard.path.clone()), (header::SET_COOKIE, site.guard.set_cookie())];
    (StatusCode::SEE_OTHER, headers).into_response()
}

fn text(status: StatusCode, text: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{text}\n")).into_response()
}

async fn page() -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], html::live_page()).into_response()
}

async fn document(State(site): State<Arc<Site>>) -> Response {
    let (context, range, can_control) = (site.context.clone(), site.range, site.guard.can_control);
    let make = move || Ok(Document { can_control, ..report::document(range, &context)? });
    json(site.documents.get(make).await)
}

/// Verifies the ledger, which reads all of it. The page asks for it when a person does.
async fn evidence(State(site): State<Arc<Site>>) -> Response {
    let context = site.context.clone();
    let make =
        move || Ok(report::evidence::converted(&apm2_ledger::verify(&context.existing_ledger_dir()?, &mut |_| ())?));
    json(site.verifications.get(make).await)
}

fn json(made: Result<Bytes, CliError>) -> Response {
    match made {
        Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
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
    let Ok(permit) = Arc::clone(&site.limits.orders).try_acquire_owned() else {
        return text(StatusCode::SERVICE_UNAVAILABLE, "too many requests are being carried out");
    };
    let carry_out = move || {
        // A client that leaves does not end what it asked for.
        let _permit = permit;
        order.carry_out(&site.context)
    };
    let carried_out = tokio::task::spawn_blocking(carry_out).await;
    match carried_out {
        Ok(Ok(result)) => text(StatusCode::OK, &escape(&result)),
        Ok(Err(error)) => text(StatusCode::CONFLICT, &escape(error.message())),
        Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the request failed"),
    }
}

/// Sends the changes as server-sent events. A client that has missed some is told to fetch the document.
async fn events(State(site): State<Arc<Site>>) -> Response {
    let Ok(permit) = Arc::clone(&site.limits.event_clients).try_acquire_owned() else {
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
async fn next(changes: &mut broadcast::Receiver<Change>) -> Option<Bytes> {
    use broadcast::error::RecvError::{Closed, Lagged};
    Some(match timeout(ALIVE_INTERVAL, changes.recv()).await {
        Err(_) => Bytes::from_static(b": alive\n\n"),
        Ok(Err(Closed)) => return None,
        Ok(Err(Lagged(_)) | Ok(Change::OtherLedger)) => Bytes::from_static(b"event: resync\ndata: {}\n\n"),
        // JSON has no line breaks.
        Ok(Ok(Change::Event(json))) => Bytes::from(format!("event: change\ndata: {json}\n\n")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_fell_behind_fetches_the_document_and_goes_on() {
        let (sender, mut changes) = broadcast::channel(4);
        let send = |numbers: std::ops::Range<u32>| {
            numbers.for_each(|number| assert_eq!(sender.send(Change::Event(number.to_string().into())).unwrap(), 1));
        };
        send(0..2);
        assert_eq!(next(&mut changes).await.unwrap(), "event: change\ndata: 0\n\n");
        send(2..100);
        assert_eq!(next(&mut changes).await.unwrap(), "event: resync\ndata: {}\n\n");
        for kept in 96..100 {
            assert_eq!(next(&mut changes).await.unwrap(), format!("event: change\ndata: {kept}\n\n"));
        }
        sender.send(Change::OtherLedger).unwrap();
        assert_eq!(next(&mut changes).await.unwrap(), "event: resync\ndata: {}\n\n");
        drop(sender);
        assert!(next(&mut changes).await.is_none());
    }
}
