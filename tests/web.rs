//! The command `web`, attacked over raw connections: by other names, other pages, without the cookie, slowly and with too much.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::support::{Place, is_so_in_time, send, wait_until};

/// Longest time in which an answer has to arrive. That of a slow request is 5 s.
const ANSWER_MAX: Duration = Duration::from_secs(30);

struct Server {
    child: Child,
    address: SocketAddr,
    token: String,
}

/// The status of an answer, and its text with the head.
type Answer = (u16, String);

impl Server {
    fn start(place: &Place, args: &[&str]) -> Self {
        let mut command = place.command(&[&["web"], args].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (address, token) = line.trim().strip_prefix("http://").unwrap().split_once("/?token=").unwrap();
        Self { child, address: address.parse().unwrap(), token: token.to_owned() }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(ANSWER_MAX)).unwrap();
        stream
    }

    /// Sends the bytes and reads until the connection ends.
    fn send(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect();
        // The server may refuse a request before it has read all of it.
        let _ = stream.write_all(request);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, text)
    }

    fn ask(&self, request_line: &str, headers: &[&str], body: &str) -> Answer {
        let mut request = format!("{request_line} HTTP/1.1\r\n");
        headers.iter().for_each(|header| request += &format!("{header}\r\n"));
        if !body.is_empty() {
            request += &format!("Content-Length: {}\r\n", body.len());
        }
        self.send(format!("{request}\r\n{body}").as_bytes())
    }

    fn host(&self) -> String {
        format!("Host: {}", self.address)
    }

    fn origin(&self) -> String {
        format!("Origin: http://{}", self.address)
    }

    /// The header with the cookie, for the token.
    fn cookie(&self) -> String {
        let (status, text) = self.ask(&format!("GET /?token={}", self.token), &[&self.host()], "");
        assert_eq!(status, 303, "{text}");
        let (_, cookie) = text.split_once("set-cookie: ").unwrap();
        let (cookie, attributes) = cookie.split_once("; ").unwrap();
        assert!(attributes.starts_with("HttpOnly; SameSite=Strict; Path=/\r\n"), "{text}");
        format!("Cookie: {cookie}")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A ledger with a finished process.
fn place() -> Place {
    let place = Place::new();
    place.run(&["run", "--name", "it", "--", "true"]).succeeded();
    place
}

#[test]
fn only_loopback_addresses_are_listened_on() {
    let place = place();
    for address in ["0.0.0.0:0", "[::]:0", "192.168.1.1:80"] {
        place.run(&["web", "--listen", address]).left_with(2).said(&["not a loopback address", "ssh -L"]);
    }
    let mut server = Server::start(&place, &["--listen", "127.0.0.1:0"]);
    send(server.child.id(), Signal::SIGTERM);
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_token_works_once_and_then_only_the_cookie() {
    let place = place();
    let server = Server::start(&place, &[]);
    let host = server.host();
    assert_eq!(server.token.len(), 64, "256 bits");
    for line in ["GET /", "GET /?token=", "GET /?token=0000", "GET /document.json", "GET /events", "GET /nothing"] {
        assert_eq!(server.ask(line, &[&host], "").0, 401, "{line}");
    }
    let cookie = server.cookie();
    let again = server.ask(&format!("GET /?token={}", server.token), &[&host], "");
    assert!(again.0 == 401 && !again.1.contains("set-cookie"), "{}", again.1);
    let (status, page) = server.ask("GET /", &[&host, &cookie], "");
    assert!(status == 200 && page.contains("<!DOCTYPE html>"));
    for header in [
        "content-security-policy: default-src 'none'",
        "frame-ancestors 'none'",
        "x-content-type-options: nosniff",
        "referrer-policy: no-referrer",
        "cache-control: no-store",
    ] {
        assert!(page.contains(header), "{header}");
    }
    assert!(!page.to_lowercase().contains("access-control-"), "no other origin may read it");
    let (status, document) = server.ask("GET /document.json", &[&host, &cookie, "Sec-Fetch-Site: same-origin"], "");
    assert!(status == 200 && document.contains("\"name\":\"it\""), "{document}");
    assert_eq!(server.ask("GET /nothing", &[&host, &cookie], "").0, 404);
    let wrong = format!("{}0", &cookie[..cookie.len() - 1]);
    let wrong = if wrong == cookie { format!("{}1", &cookie[..cookie.len() - 1]) } else { wrong };
    assert_eq!(server.ask("GET /", &[&host, &wrong], "").0, 401);
}

#[test]
fn other_names_and_other_pages_are_refused() {
    let place = place();
    let server = Server::start(&place, &[]);
    let (cookie, port) = (server.cookie(), server.address.port());
    let data = |headers: &[&str]| server.ask("GET /document.json", &[&[cookie.as_str()], headers].concat(), "").0;
    assert_eq!(data(&[&server.host()]), 200);
    assert_eq!(data(&[&format!("Host: localhost:{port}")]), 200);
    // A name that an attacker lets point to this machine.
    for host in ["evil.example", &format!("evil.example:{port}"), "127.0.0.1", "127.0.0.1:1", "0.0.0.0", ""] {
        assert_eq!(data(&[&format!("Host: {host}")]), 403, "{host}");
    }
    assert_eq!(data(&[]), 403, "without a name");
    let host = server.host();
    for origin in ["http://evil.example", "null", &format!("https://{}", server.address)] {
        assert_eq!(data(&[&host, &format!("Origin: {origin}")]), 403, "{origin}");
    }
    for site in ["cross-site", "same-site", "none"] {
        assert_eq!(data(&[&host, &format!("Sec-Fetch-Site: {site}")]), 403, "{site}");
    }
    assert_eq!(server.ask("GET /", &[&host, &cookie, "Sec-Fetch-Dest: iframe"], "").0, 403);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", "CONNECT"] {
        let status = server.ask(&format!("{method} /document.json"), &[&host, &cookie, &server.origin()], "").0;
        assert!(status == 405 || status == 400, "{method}: {status}");
    }
    let absolute = server.ask("GET http://evil.example/document.json", &[&host, &cookie], "");
    assert!(!absolute.1.contains("evil.example"), "{}", absolute.1);
}

#[test]
fn nothing_can_be_changed_without_the_permission() {
    let place = place();
    let server = Server::start(&place, &[]);
    let (host, origin, cookie) = (server.host(), server.origin(), server.cookie());
    let headers = [host.as_str(), &origin, &cookie, "Content-Type: application/json"];
    let before = place.json(&["verify"])["size"].clone();
    let answer = server.ask("POST /control", &headers, r#"{"action":"start","process":"it"}"#);
    assert_eq!((answer.0, answer.1.contains("--allow-control")), (403, true));
    assert_eq!(place.json(&["verify"])["size"], before);
}

#[test]
fn a_change_is_recorded_as_requested_by_this_user() {
    let place = Place::supervising_script("while :; do sleep 0.1; done", "");
    let name = place.json(&["list"])[0]["name"].as_str().unwrap().to_owned();
    let server = Server::start(&place, &["--allow-control"]);
    let (host, origin, cookie) = (server.host(), server.origin(), server.cookie());
    let json = "Content-Type: application/json";
    let body = format!(r#"{{"action":"stop","process":"{name}","reason":"<b>disk</b>"}}"#);
    for (headers, status) in [
        (&[host.as_str(), &origin, json][..], 401),
        (&[&host, &cookie, json], 403),
        (&[&host, "Origin: http://evil.example", &cookie, json], 403),
        (&[&host, &origin, &cookie, "Content-Type: text/plain"], 415),
        (&[&host, &origin, &cookie, json, "Sec-Fetch-Site: cross-site"], 403),
    ] {
        assert_eq!(server.ask("POST /control", headers, &body).0, status, "{headers:?}");
    }
    let good = [host.as_str(), &origin, &cookie, json];
    let huge = format!(r#"{{"action":"stop","process":"{name}","reason":"{}"}}"#, "x".repeat(1 << 20));
    assert_eq!(server.ask("POST /control", &good, &huge).0, 413);
    for body in ["{}", "x", r#"{"action":"stop","process":"all"}"#, r#"{"action":"stop","process":"no-such"}"#] {
        let status = server.ask("POST /control", &good, body).0;
        assert!(status == 400 || status == 409, "{body}: {status}");
    }
    assert_eq!(place.json(&["list"])[0]["state"], "running");
    let answer = server.ask("POST /control", &good, &body);
    assert_eq!(answer.0, 200, "{}", answer.1);
    let stopping = place.events(&name).into_iter().find(|event| event["type"] == "stopping").unwrap();
    assert_eq!(
        (&stopping["reason"], &stopping["actor"]["kind"]),
        (&"web page: <b>disk</b>".into(), &"operator".into())
    );
}

#[test]
fn slow_and_many_clients_are_limited() {
    let place = place();
    let server = Server::start(&place, &[]);
    let (host, cookie) = (server.host(), server.cookie());
    // The head of a request that never ends.
    let began = Instant::now();
    let slow = server.send(format!("GET / HTTP/1.1\r\n{host}\r\nX: ").as_bytes());
    assert!(slow.0 != 200 && began.elapsed() < ANSWER_MAX, "{slow:?}");
    let large = format!("GET / HTTP/1.1\r\n{host}\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let large = server.send(large.as_bytes()).0;
    assert!(matches!(large, 0 | 431), "{large}");
    // Pages that do not read.
    let request = format!("GET /events HTTP/1.1\r\n{host}\r\n{cookie}\r\n\r\n");
    let pages: Vec<TcpStream> = (0..16)
        .map(|_| {
            let mut page = server.connect();
            page.write_all(request.as_bytes()).unwrap();
            let mut first = [0; 12];
            page.read_exact(&mut first).unwrap();
            assert_eq!(&first, b"HTTP/1.1 200");
            page
        })
        .collect();
    assert_eq!(server.send(request.as_bytes()).0, 503, "one more");
    for _ in 0..3 {
        place.run(&["run", "--name", "it", "--", "true"]).succeeded();
    }
    assert_eq!(server.ask("GET /document.json", &[&host, &cookie], "").0, 200);
    // Connections that say nothing.
    let idle: Vec<TcpStream> = (0..100).map(|_| server.connect()).collect();
    assert!(is_so_in_time(|| server.ask("GET /", &[&host, &cookie], "").0 == 200), "idle connections are closed");
    drop(idle);
    pages.iter().for_each(|page| page.shutdown(Shutdown::Both).unwrap());
    assert!(is_so_in_time(|| {
        let mut page = server.connect();
        page.write_all(request.as_bytes()).unwrap();
        let mut first = [0; 12];
        page.read_exact(&mut first).is_ok() && &first == b"HTTP/1.1 200"
    }));
}

#[test]
fn events_are_sent_as_they_are_recorded() {
    let place = place();
    let server = Server::start(&place, &[]);
    let (host, cookie) = (server.host(), server.cookie());
    let mut page = server.connect();
    page.write_all(format!("GET /events HTTP/1.1\r\n{host}\r\n{cookie}\r\n\r\n").as_bytes()).unwrap();
    let mut lines = BufReader::new(page);
    let mut line = String::new();
    wait_until("the stream is open", || {
        line.clear();
        lines.read_line(&mut line).unwrap();
        line.contains(": open").then_some(())
    });
    place.run(&["run", "--name", "later", "--", "sh", "-c", "exit 3"]).left_with(3);
    let change = wait_until("the crash is sent", || {
        line.clear();
        lines.read_line(&mut line).unwrap();
        line.contains("-> crashed").then(|| line.clone())
    });
    let change: serde_json::Value = serde_json::from_str(change.strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(change["name"], "later");
}
