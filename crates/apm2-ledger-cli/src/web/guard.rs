//! Which requests are answered. Other pages in the same browser, names that an attacker lets point to this machine (DNS rebinding)
//! and other users of the machine send requests, too.

use std::net::SocketAddr;

use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};

use crate::web::secret::Secret;

/// What a browser says about the page that sends a request.
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What a browser needs an answer for.
const FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// The port that a browser leaves out of a host and of an origin.
const HTTP_PORT: u16 = 80;

/// Where the token is redeemed.
pub(crate) const DOOR: &str = "/";

/// What the page posts to, after its path.
pub(crate) const CONTROL: &str = "control";

/// Why a request is not answered.
pub(crate) type Refusal = (StatusCode, &'static str);

/// The names and the secrets of this server.
pub(crate) struct Guard {
    hosts: Vec<String>,
    /// The path of the page, below which everything is. It has a secret: browsers send a cookie to all servers of a host, whatever
    /// their port (RFC 6265, section 8.5), but only below its path. So another server of this machine, to which the same browser
    /// goes, does not get the cookie.
    pub(crate) path: String,
    pub(crate) cookie_name: String,
    pub(crate) cookie: Secret,
    pub(crate) can_control: bool,
}

impl Guard {
    /// The guard of the server at this loopback address.
    pub(crate) fn new(address: SocketAddr, path: &Secret, cookie: Secret, can_control: bool) -> Self {
        let port = address.port();
        let mut hosts = vec![address.to_string(), format!("localhost:{port}")];
        if port == HTTP_PORT {
            let without_port: Vec<String> =
                hosts.iter().filter_map(|host| Some(host.rsplit_once(':')?.0.to_owned())).collect();
            hosts.extend(without_port);
        }
        let path = format!("/{}/", path.as_str());
        Self { hosts, path, cookie_name: format!("apm2_ledger_{port}"), cookie, can_control }
    }

    /// Checks what all requests need: the name that this server has, and a method that is answered here.
    pub(crate) fn check(&self, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        if uri.authority().is_some() {
            return Err((StatusCode::BAD_REQUEST, "this is not a proxy; ask for a path"));
        }
        let host = only(headers, &header::HOST).filter(|host| self.hosts.iter().any(|own| own == host));
        let Some(host) = host else { return Err((StatusCode::FORBIDDEN, "this server has another name")) };
        let is_control = self.below(uri.path()) == Some(CONTROL);
        let is_allowed = if is_control { method == Method::POST } else { method == Method::GET };
        if !is_allowed {
            return Err((StatusCode::METHOD_NOT_ALLOWED, "this method is not answered here"));
        }
        if is_control && !self.can_control {
            return Err((StatusCode::FORBIDDEN, "this page changes nothing; start it with --allow-control"));
        }
        self.check_sender(uri.path(), headers, host, is_control)
    }

    /// What follows the path of the page.
    fn below<'a>(&self, path: &'a str) -> Option<&'a str> {
        path.strip_prefix(&self.path)
    }

    /// Checks that the request is from the page of this server. The page itself may also be opened from elsewhere, by hand or by a link.
    fn check_sender(&self, path: &str, headers: &HeaderMap, host: &str, is_control: bool) -> Result<(), Refusal> {
        let foreign = (StatusCode::FORBIDDEN, "the request is from another page");
        let is_absent_or = |name: &HeaderName, value: &str| {
            !headers.contains_key(name) || only(headers, name).is_some_and(|found| found == value)
        };
        if path == DOOR || self.below(path) == Some("") {
            return if is_absent_or(&FETCH_DEST, "document") { Ok(()) } else { Err(foreign) };
        }
        let own_origin = format!("http://{host}");
        let has_origin = !is_control || headers.contains_key(header::ORIGIN);
        let is_own = is_absent_or(&FETCH_SITE, "same-origin") && is_absent_or(&header::ORIGIN, &own_origin);
        if !has_origin || !is_own {
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
        format!("{}={}; HttpOnly; SameSite=Strict; Path={}", self.cookie_name, self.cookie.as_str(), self.path)
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
        guard_at("127.0.0.1:4000", can_control)
    }

    fn guard_at(address: &str, can_control: bool) -> Guard {
        let [path, cookie] = [(); 2].map(|()| Secret::new().unwrap());
        Guard::new(address.parse().unwrap(), &path, cookie, can_control)
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    /// The status for a path, or for what is below the path of the page.
    fn status(guard: &Guard, method: &Method, path: &str, pairs: &[(&'static str, &str)]) -> u16 {
        let path = if path.starts_with('/') { path.to_owned() } else { format!("{}{path}", guard.path) };
        guard
            .check(method, &path.parse().unwrap(), &headers(pairs))
            .map_or_else(|(status, _)| status.as_u16(), |()| 200)
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
        assert!(guard(false).check(&Method::GET, &Uri::from_static("/"), &twice).is_err());
    }

    #[test]
    fn the_port_of_http_is_left_out_by_browsers() {
        for (address, names, others) in [
            ("127.0.0.1:80", ["127.0.0.1", "127.0.0.1:80", "localhost", "localhost:80"], ["127.0.0", "[::1]"]),
            ("[::1]:80", ["[::1]", "[::1]:80", "localhost", "localhost:80"], ["::1", "[:"]),
        ] {
            let guard = guard_at(address, true);
            let origin = |host: &str| {
                let (origin, json) = (format!("http://{host}"), ("content-type", "application/json"));
                status(&guard, &Method::POST, "control", &[("host", host), ("origin", &origin), json])
            };
            names.iter().for_each(|host| assert_eq!(origin(host), 200, "{host}"));
            others.iter().for_each(|host| assert_eq!(origin(host), 403, "{host}"));
        }
    }

    #[test]
    fn an_address_of_another_server_is_not_answered() {
        for address in ["http://evil.example/", "http://127.0.0.1:4000/"] {
            let refused = guard(false).check(&Method::GET, &address.parse().unwrap(), &headers(&[HOST])).unwrap_err();
            assert_eq!(refused.0, StatusCode::BAD_REQUEST, "{address}");
        }
    }

    #[test]
    fn data_is_for_the_own_page_alone() {
        let get = |pairs: &[(&'static str, &str)]| {
            status(&guard(false), &Method::GET, "document.json", &[&[HOST], pairs].concat())
        };
        assert_eq!(get(&[]), 200);
        assert_eq!(get(&[("sec-fetch-site", "same-origin"), ("origin", "http://127.0.0.1:4000")]), 200);
        for site in ["cross-site", "same-site", "none", "x"] {
            assert_eq!(get(&[("sec-fetch-site", site)]), 403, "{site}");
        }
        for origin in ["null", "https://127.0.0.1:4000", "http://localhost:4000", "http://evil.example", ""] {
            assert_eq!(get(&[("origin", origin)]), 403, "{origin}");
        }
        for (dest, expected) in [("document", 200), ("iframe", 403), ("image", 403), ("empty", 403), ("", 403)] {
            for path in ["/", ""] {
                let found = status(&guard(false), &Method::GET, path, &[HOST, ("sec-fetch-dest", dest)]);
                assert_eq!(found, expected, "{dest} of {path:?}");
            }
        }
        // The first of two values is not the whole truth.
        let mut twice = headers(&[HOST, ("sec-fetch-site", "same-origin")]);
        twice.append(FETCH_SITE, "cross-site".parse().unwrap());
        let guard = guard(false);
        assert!(guard.check(&Method::GET, &format!("{}document.json", guard.path).parse().unwrap(), &twice).is_err());
    }

    #[test]
    fn a_change_needs_the_permission_the_origin_and_json() {
        let origin = ("origin", "http://127.0.0.1:4000");
        let json = ("content-type", "application/json");
        let post = |guard: &Guard, pairs: &[(&'static str, &str)]| status(guard, &Method::POST, "control", pairs);
        assert_eq!(post(&guard(false), &[HOST, origin, json]), 403);
        let guard = guard(true);
        assert_eq!(post(&guard, &[HOST, origin, json]), 200);
        assert_eq!(post(&guard, &[HOST, json]), 403);
        assert_eq!(post(&guard, &[HOST, ("origin", "null"), json]), 403);
        assert_eq!(post(&guard, &[HOST, origin]), 415);
        assert_eq!(post(&guard, &[HOST, origin, ("content-type", "text/plain")]), 415);
        assert_eq!(status(&guard, &Method::GET, "control", &[HOST, origin, json]), 405);
        assert_eq!(status(&guard, &Method::POST, "/", &[HOST, origin, json]), 405);
        assert_eq!(status(&guard, &Method::OPTIONS, "document.json", &[HOST]), 405);
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
        assert_eq!(guard.path.len(), 66, "256 bits");
        assert!(guard.set_cookie().ends_with(&format!("; HttpOnly; SameSite=Strict; Path={}", guard.path)));
    }
}
