//! Which requests are answered. Other pages in the same browser, names that an attacker lets point to this machine (DNS rebinding)
//! and other users of the machine send requests, too.

use std::net::SocketAddr;

use axum::http::{HeaderMap, HeaderName, Method, StatusCode, header};

use crate::web::secret::Secret;

/// What a browser says about the page that sends a request.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a browser needs an answer for.
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Why a request is not answered.
pub(crate) type Refusal = (StatusCode, &'static str);

/// The names and the secret of this server.
pub(crate) struct Guard {
    hosts: Vec<String>,
    pub(crate) cookie_name: String,
    pub(crate) cookie: Secret,
    pub(crate) can_control: bool,
}

impl Guard {
    /// The guard of the server at this loopback address.
    pub(crate) fn new(address: SocketAddr, cookie: Secret, can_control: bool) -> Self {
        let port = address.port();
        let hosts = vec![address.to_string(), format!("localhost:{port}")];
        // Cookies do not depend on the port, so that each server needs a name of its own.
        Self { hosts, cookie_name: format!("apm2_ledger_{port}"), cookie, can_control }
    }

    /// Checks what all requests need: the name that this server has, and a method that is answered here.
    pub(crate) fn check(&self, method: &Method, path: &str, headers: &HeaderMap) -> Result<(), Refusal> {
        let host = only(headers, &header::HOST).filter(|host| self.hosts.iter().any(|own| own == host));
        let Some(host) = host else { return Err((StatusCode::FORBIDDEN, "this server has another name")) };
        let is_control = path == "/control";
        let is_allowed = if is_control { method == Method::POST } else { method == Method::GET };
        if !is_allowed {
            return Err((StatusCode::METHOD_NOT_ALLOWED, "this method is not answered here"));
        }
        if is_control && !self.can_control {
            return Err((StatusCode::FORBIDDEN, "this page changes nothing; start it with --allow-control"));
        }
        self.check_sender(path, headers, host, is_control)
    }

    /// Checks that the request is from the page of this server. The page itself may also be opened from elsewhere, by hand or by a link.
    fn check_sender(&self, path: &str, headers: &HeaderMap, host: &str, is_control: bool) -> Result<(), Refusal> {
        let foreign = (StatusCode::FORBIDDEN, "the request is from another page");
        if path == "/" {
            let dest = headers.get(&FETCH_DEST).map(|dest| dest.as_bytes());
            return if dest.is_none_or(|dest| dest == b"document") { Ok(()) } else { Err(foreign) };
        }
        let is_own_site = headers.get(&FETCH_SITE).is_none_or(|site| site.as_bytes() == b"same-origin");
        let own_origin = format!("http://{host}");
        let is_own_origin = match headers.get(header::ORIGIN) {
            None => !is_control,
            Some(_) => only(headers, &header::ORIGIN) == Some(own_origin.as_str()),
        };
        if !is_own_site || !is_own_origin {
            return Err(foreign);
        }
        let is_json = || only(headers, &header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
        if is_control && !is_json() {
            return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content type is application/json"));
        }
        Ok(())
    }

    /// Whether the request has the cookie of this server.
    pub(crate) fn is_admitted(&self, headers: &HeaderMap) -> bool {
        let pairs = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let mut pairs = pairs.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.any(|(name, value)| name == self.cookie_name && self.cookie.is(value))
    }

    /// The value of the header that gives a browser the cookie.
    pub(crate) fn set_cookie(&self) -> String {
        format!("{}={}; HttpOnly; SameSite=Strict; Path=/", self.cookie_name, self.cookie.as_str())
    }
}

/// The value of a header that occurs once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).into_iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(can_control: bool) -> Guard {
        Guard::new("127.0.0.1:4000".parse().unwrap(), Secret::new().unwrap(), can_control)
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    fn status(guard: &Guard, method: &Method, path: &str, pairs: &[(&'static str, &str)]) -> u16 {
        guard.check(method, path, &headers(pairs)).map_or_else(|(status, _)| status.as_u16(), |()| 200)
    }

    const HOST: (&str, &str) = ("host", "127.0.0.1:4000");

    #[test]
    fn the_name_of_the_server_is_its_address_or_localhost() {
        for (host, expected) in [
            ("127.0.0.1:4000", 200),
            ("localhost:4000", 200),
            ("127.0.0.1", 403),
            ("127.0.0.1:4001", 403),
            ("localhost", 403),
            ("evil.example:4000", 403),
            ("127.0.0.1:4000.evil.example", 403),
            ("", 403),
        ] {
            assert_eq!(status(&guard(false), &Method::GET, "/", &[("host", host)]), expected, "{host}");
        }
        assert_eq!(status(&guard(false), &Method::GET, "/", &[]), 403);
        let mut twice = headers(&[HOST]);
        twice.append(header::HOST, "127.0.0.1:4000".parse().unwrap());
        assert!(guard(false).check(&Method::GET, "/", &twice).is_err());
    }

    #[test]
    fn data_is_for_the_own_page_alone() {
        let get = |pairs: &[(&'static str, &str)]| {
            status(&guard(false), &Method::GET, "/document.json", &[&[HOST], pairs].concat())
        };
        assert_eq!(get(&[]), 200);
        assert_eq!(get(&[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:4000")]), 200);
        for site in ["cross-site", "same-site", "none", "x"] {
            assert_eq!(get(&[("sec-fetch-site", site)]), 403, "{site}");
        }
        for origin in ["null", "https://127.0.0.1:4000", "http://localhost:4000", "http://evil.example", ""] {
            assert_eq!(get(&[("origin", origin)]), 403, "{origin}");
        }
        let framed = [HOST, ("sec-fetch-dest", "iframe")];
        assert_eq!(status(&guard(false), &Method::GET, "/", &framed), 403);
    }

    #[test]
    fn a_change_needs_the_permission_the_origin_and_json() {
        let origin = ("origin", "http://127.0.0.1:4000");
        let json = ("content-type", "application/json");
        let post = |guard: &Guard, pairs: &[(&'static str, &str)]| status(guard, &Method::POST, "/control", pairs);
        assert_eq!(post(&guard(false), &[HOST, origin, json]), 403);
        let guard = guard(true);
        assert_eq!(post(&guard, &[HOST, origin, json]), 200);
        assert_eq!(post(&guard, &[HOST, json]), 403);
        assert_eq!(post(&guard, &[HOST, ("origin", "null"), json]), 403);
        assert_eq!(post(&guard, &[HOST, origin]), 415);
        assert_eq!(post(&guard, &[HOST, origin, ("content-type", "text/plain")]), 415);
        assert_eq!(status(&guard, &Method::GET, "/control", &[HOST, origin, json]), 405);
        assert_eq!(status(&guard, &Method::POST, "/", &[HOST, origin, json]), 405);
        assert_eq!(status(&guard, &Method::OPTIONS, "/document.json", &[HOST]), 405);
    }

    #[test]
    fn the_cookie_admits() {
        let guard = guard(false);
        let value = guard.cookie.as_str();
        let is_admitted = |cookie: &str| guard.is_admitted(&headers(&[("cookie", cookie)]));
        assert!(is_admitted(&format!("other=1; apm2_ledger_4000={value}")));
        for cookie in
            ["", "apm2_ledger_4000=", &format!("apm2_ledger_4001={value}"), &format!("apm2_ledger_4000={value}0")]
        {
            assert!(!is_admitted(cookie), "{cookie}");
        }
        assert!(guard.set_cookie().ends_with("; HttpOnly; SameSite=Strict; Path=/"));
    }
}
