//! The command `web`, attacked over raw connections: by other names, other pages, without the cookie, slowly and with too much.

use std::{
    cell::RefCell,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::support::{Place, gone, is_so_in_time, send, wait_until};

/// Longest time in which an answer has to arrive. That of a slow request is 5 s.
const ANSWER_MAX: Duration = Duration::from_secs(30);

struct Server {
    child: Child,
    address: SocketAddr,
    token: String,
    /// The path of the page, once the token is redeemed.
    path: RefCell<String>,
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
        Self { child, address: address.parse().unwrap(), token: token.to_owned(), path: "/".to_owned().into() }
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

    /// Sends a request; `~` in its first line is the path of the page.
    fn ask(&self, request_line: &str, headers: &[&str], body: &str) -> Answer {
        let mut request = format!("{} HTTP/1.1\r\n", request_line.replace('~', &self.path.borrow()));
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
        let value = |name: &str| text.split_once(name).unwrap().1.split_once("\r\n").unwrap().0;
        let path = value("location: ");
        assert!(path.len() == 66 && path.starts_with('/') && path.ends_with('/'), "256 bits: {path}");
        let (cookie, attributes) = value("set-cookie: ").split_once("; ").unwrap();
        // A browser sends cookies to all ports of a host, but only below their path.
        assert_eq!(attributes, format!("HttpOnly; SameSite=Strict; Path={path}"));
        path.clone_into(&mut self.path.borrow_mut());
        format!("Cookie: {cookie}")
    }

    /// Opens the stream of events, and reads the first bytes of the answer.
    fn open_events(&self, cookie: &str) -> (TcpStream, [u8; 12]) {
        let mut page = self.connect();
        let (path, host) = (self.path.borrow(), self.host());
        page.write_all(format!("GET {path}events HTTP/1.1\r\n{host}\r\n{cookie}\r\n\r\n").as_bytes()).unwrap();
        let mut first = [0; 12];
        // A connection over the limit is closed.
        let _ = page.read_exact(&mut first);
        (page, first)
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
    let refused = || {
        for line in ["GET /", "GET /?token=", "GET /?token=0000", "GET ~document.json", "GET ~events", "GET ~nothing"] {
            assert_eq!(server.ask(line, &[&host], "").0, 401, "{line}");
        }
    };
    refused();
    let cookie = server.cookie();
    refused();
    let again = server.ask(&format!("GET /?token={}", server.token), &[&host], "");
    assert!(again.0 == 401 && !again.1.contains("set-cookie"), "{}", again.1);
    let (status, page) = server.ask("GET ~", &[&host, &cookie], "");
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
    let (status, document) = server.ask("GET ~document.json", &[&host, &cookie, "Sec-Fetch-Site: same-origin"], "");
    assert!(status == 200 && document.contains("\"name\":\"it\""), "{document}");
    assert_eq!(server.ask("GET ~nothing", &[&host, &cookie], "").0, 404);
    let wrong = format!("{}0", &cookie[..cookie.len() - 1]);
    let wrong = if wrong == cookie { format!("{}1", &cookie[..cookie.len() - 1]) } else { wrong };
    assert_eq!(server.ask("GET ~", &[&host, &wrong], "").0, 401);
}

#[test]
fn other_names_and_other_pages_are_refused() {
    let place = place();
    let server = Server::start(&place, &[]);
    let (cookie, port) = (server.cookie(), server.address.port());
    let data = |headers: &[&str]| server.ask("GET ~document.json", &[&[cookie.as_str()], headers].concat(), "").0;
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
    assert_eq!(server.ask("GET ~", &[&host, &cookie, "Sec-Fetch-Dest: iframe"], "").0, 403);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE", "CONNECT"] {
        let status = server.ask(&format!("{method} ~document.json"), &[&host, &cookie, &server.origin()], "").0;
        assert!(status == 405 || status == 400, "{method}: {status}");
    }
    for address in ["http://evil.example".to_owned(), format!("http://{}", server.address)] {
        assert_eq!(server.ask(&format!("GET {address}~document.json"), &[&host, &cookie], "").0, 400, "no proxy");
    }
}

#[test]
fn nothing_can_be_changed_without_the_permission() {
    let place = place();
    let server = Server::start(&place, &[]);
    let (host, origin, cookie) = (server.host(), server.origin(), server.cookie());
    let headers = [host.as_str(), &origin, &cookie, "Content-Type: application/json"];
    let before = place.json(&["verify"])["size"].clone();
    let answer = server.ask("POST ~control", &headers, r#"{"action":"start","process":"it"}"#);
    assert_eq!((answer.0, answer.1.contains("--allow-control")), (403, true));
    assert_eq!(place.json(&["verify"])["size"], before);
}

#[test]
fn a_change_is_recorded_as_requested_by_this_user() {
    let place = Place::supervising_script("while :; do sleep 0.1; done", "");
    let listed = place.json(&["list"])[0].clone();
    let name = listed["name"].as_str().unwrap();
    let key = format!("{}/0", listed["id"].as_str().unwrap());
    let server = Server::start(&place, &["--allow-control"]);
    let (host, origin, cookie) = (server.host(), server.origin(), server.cookie());
    let json = "Content-Type: application/json";
    let body = format!(r#"{{"action":"stop","process":"{key}","reason":"<b>disk</b>"}}"#);
    for (headers, status) in [
        (&[host.as_str(), &origin, json][..], 401),
        (&[&host, &cookie, json], 403),
        (&[&host, "Origin: http://evil.example", &cookie, json], 403),
        (&[&host, &origin, &cookie, "Content-Type: text/plain"], 415),
        (&[&host, &origin, &cookie, json, "Sec-Fetch-Site: cross-site"], 403),
    ] {
        assert_eq!(server.ask("POST ~control", headers, &body).0, status, "{headers:?}");
    }
    let good = [host.as_str(), &origin, &cookie, json];
    let huge = format!(r#"{{"action":"stop","process":"{key}","reason":"{}"}}"#, "x".repeat(1 << 20));
    assert_eq!(server.ask("POST ~control", &good, &huge).0, 413);
    let other = format!("{}/0", key.replace(|digit: char| digit.is_ascii_hexdigit(), "a").split_once('/').unwrap().0);
    for process in ["all", "no-such", name, &format!("{key}0"), &other, key.split_once('/').unwrap().0] {
        let body = format!(r#"{{"action":"stop","process":"{process}"}}"#);
        assert_eq!(server.ask("POST ~control", &good, &body).0, 409, "{body}");
    }
    let long = format!(r#"{{"action":"stop","process":"{key}","reason":"{}"}}"#, "x".repeat(501));
    for body in ["{}", "x", &long] {
        let status = server.ask("POST ~control", &good, body).0;
        assert!(status == 400 || status == 409, "{body}: {status}");
    }
    assert_eq!(place.json(&["list"])[0]["state"], "running");
    let answer = server.ask("POST ~control", &good, &body);
    assert_eq!(answer.0, 200, "{}", answer.1);
    let stopping = place.events(name).into_iter().find(|event| event["type"] == "stopping").unwrap();
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
    let pages: Vec<TcpStream> = (0..16)
        .map(|_| {
            let (page, first) = server.open_events(&cookie);
            assert_eq!(&first, b"HTTP/1.1 200");
            page
        })
        .collect();
    assert_eq!(&server.open_events(&cookie).1, b"HTTP/1.1 503", "one more");
    for _ in 0..3 {
        place.run(&["run", "--name", "it", "--", "true"]).succeeded();
    }
    assert_eq!(server.ask("GET ~document.json", &[&host, &cookie], "").0, 200);
    // Connections that say nothing, and ones that have sent a part of a request.
    let idle: Vec<TcpStream> = (0..100)
        .map(|number| {
            let mut stream = server.connect();
            if number % 2 == 0 {
                // It may be closed already.
                let _ = stream.write_all(b"GET / HTTP/1.1\r\nX: ");
            }
            stream
        })
        .collect();
    assert_eq!(server.ask("GET ~", &[&host, &cookie], "").0, 200, "the oldest one is closed for it");
    drop(idle);
    pages.iter().for_each(|page| page.shutdown(Shutdown::Both).unwrap());
    assert!(is_so_in_time(|| &server.open_events(&cookie).1 == b"HTTP/1.1 200"));
}

/// Processes that SIGTERM does not end, and that are waited for longer than a page is.
const STUBBORN: &str = r#"
[[process]]
name = "stubborn"
command = "sh"
args = ["-c", "trap '' TERM; while :; do sleep 0.1; done"]
instances = 8
[process.shutdown]
timeout = "60s"
"#;

#[test]
fn stops_that_take_long_delay_neither_the_data_nor_the_end() {
    let place = Place::supervising(STUBBORN);
    let mut server = Server::start(&place, &["--allow-control"]);
    let (host, origin, cookie) = (server.host(), server.origin(), server.cookie());
    let id = place.json(&["list"])[0]["id"].as_str().unwrap().to_owned();
    let json = "Content-Type: application/json";
    let asked: Vec<TcpStream> = (0..8)
        .map(|instance| {
            let mut stream = server.connect();
            let (path, body) = (server.path.borrow(), format!(r#"{{"action":"stop","process":"{id}/{instance}"}}"#));
            let head = format!("POST {path}control HTTP/1.1\r\n{host}\r\n{origin}\r\n{cookie}\r\n{json}\r\n");
            write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).unwrap();
            stream
        })
        .collect();
    wait_until("all are stopping", || {
        let listed = place.json(&["list"]);
        let stopping = listed.as_array().unwrap().iter().filter(|one| one["state"] == "stopping").count();
        (stopping == 8).then_some(())
    });
    let pids = pids_of_runs(&place);
    assert_eq!(pids.len(), 8);
    let body = format!(r#"{{"action":"stop","process":"{id}/0"}}"#);
    assert_eq!(server.ask("POST ~control", &[&host, &origin, &cookie, json], &body).0, 503, "one more");
    for data in ["GET ~document.json", "GET ~evidence.json"] {
        assert_eq!(server.ask(data, &[&host, &cookie], "").0, 200, "{data}");
    }
    let (page, first) = server.open_events(&cookie);
    assert_eq!(&first, b"HTTP/1.1 200");
    let began = Instant::now();
    send(server.child.id(), Signal::SIGTERM);
    assert_eq!(server.child.wait().unwrap().code(), Some(0));
    assert!(began.elapsed() < ANSWER_MAX, "it does not wait for the stops");
    drop((asked, page));
    pids.into_iter().for_each(|pid| send(pid, Signal::SIGKILL));
}

/// The pids of the latest runs, also of those that are being stopped, whose handles have none.
fn pids_of_runs(place: &Place) -> Vec<u32> {
    let started = place.run(&["--format", "jsonl", "tail", "--type", "starting", "-n", "all"]).succeeded();
    let pid = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["pid"].as_u64();
    started.stdout.lines().filter_map(pid).map(|pid| u32::try_from(pid).unwrap()).collect()
}

#[test]
fn events_are_sent_as_they_are_recorded() {
    let place = place();
    let server = Server::start(&place, &[]);
    let cookie = server.cookie();
    let mut lines = BufReader::new(server.open_events(&cookie).0);
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

/// Reads lines of the stream of events until one has this text.
fn read_until(lines: &mut BufReader<TcpStream>, text: &str) -> String {
    wait_until(text, || {
        let mut line = String::new();
        assert!(lines.read_line(&mut line).unwrap() > 0, "the stream goes on");
        line.contains(text).then_some(line)
    })
}

/// The daemon is killed and the ledger removed while a page is open, and another ledger is made in the same place.
#[test]
fn a_ledger_that_is_made_again_in_the_same_place_is_followed() {
    let place = place();
    let server = Server::start(&place, &[]);
    let (host, cookie) = (server.host(), server.cookie());
    let mut lines = BufReader::new(server.open_events(&cookie).0);
    read_until(&mut lines, ": open");
    for name in ["before-1", "before-2", "before-3"] {
        place.run(&["run", "--name", name, "--", "false"]).left_with(1);
    }
    read_until(&mut lines, "before-3");
    if place.daemon().is_some() {
        place.kill_daemon();
    }
    wait_until("the ledger is removed", || std::fs::remove_dir_all(place.ledger()).ok());
    let (status, text) = server.ask("GET ~document.json", &[&host, &cookie], "");
    assert!(matches!(status, 200 | 503), "it is kept for a second, or there is none: {text}");
    place.run(&["run", "--name", "after", "--", "false"]).left_with(1);
    read_until(&mut lines, "event: resync");
    // Its numbers are below those of the removed one.
    place.run(&["run", "--name", "later", "--", "false"]).left_with(1);
    read_until(&mut lines, "later");
    let document = wait_until("the document of the new ledger", || {
        let (status, text) = server.ask("GET ~document.json", &[&host, &cookie], "");
        (status == 200 && text.contains("later")).then_some(text)
    });
    assert!(!document.contains("before-1"));
}

/// The daemon of a removed ledger stays as long as its processes run, and records nothing.
#[test]
fn a_daemon_whose_ledger_was_removed_does_not_keep_a_page() {
    let place = Place::supervising("[[process]]\nname = 'it'\ncommand = 'sleep'\nargs = ['1000']\n");
    let (pid, daemon) = (place.pid_of("it"), place.daemon().unwrap());
    let server = Server::start(&place, &[]);
    let cookie = server.cookie();
    let mut lines = BufReader::new(server.open_events(&cookie).0);
    read_until(&mut lines, ": open");
    // The daemon may make its socket again meanwhile.
    wait_until("the ledger is removed", || std::fs::remove_dir_all(place.ledger()).ok());
    place.run(&["run", "--name", "after", "--", "false"]).left_with(1);
    read_until(&mut lines, "event: resync");
    assert!(!gone(daemon), "it runs as long as its process");
    send(pid, Signal::SIGKILL);
    wait_until("it leaves", || gone(daemon).then_some(()));
}

#[test]
fn an_address_that_is_not_one_is_explained_and_an_unknown_path_has_a_text() {
    let place = place();
    for address in ["127.1", "localhost:8080", "127.0.0.1", ":8080", "[::1]", "127.0.0.1:99999"] {
        place.run(&["web", "--listen", address]).left_with(2).said(&["--listen", "127.0.0.1:8080"]);
    }
    let server = Server::start(&place, &[]);
    let (host, cookie) = (server.host(), server.cookie());
    for path in ["GET ~nothing", "GET /nothing", "GET ~document.json/", "GET ~.."] {
        let (status, text) = server.ask(path, &[&host, &cookie], "");
        assert!(status == 404 && text.ends_with("there is nothing at this address\n"), "{path}: {text}");
    }
}
