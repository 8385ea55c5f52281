//! Checks the addresses of health checks. An address that no service can have is refused as a configuration error;
//! otherwise its process would become unhealthy.

use std::path::Path;

use http::Uri;

use crate::spec::redact::filter::redact_text;

/// The greatest number of bytes of a path in the address of a Unix socket (unix(7)), without the NUL at its end.
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Refuses a URL to which no HTTP request can be sent.
pub(crate) fn check_url(url: &str) -> Result<(), String> {
    let refuse = |why: &str| Err(format!("health: {:?} {why}", redact_text(url)));
    if !url.starts_with("http://") {
        return refuse("does not begin with http://, and there is no TLS here");
    }
    let Ok(uri) = url.parse::<Uri>() else { return refuse("is not a URL: write http://HOST:PORT/PATH") };
    let Some(authority) = uri.authority() else { return refuse("names no host: write http://HOST:PORT/PATH") };
    if authority.host().is_empty() {
        return refuse("names no host: write http://HOST:PORT/PATH");
    }
    // The text after the colon must be a valid port: 99999 is refused.
    let after_host = authority.as_str().rsplit_once('@').map_or(authority.as_str(), |(_, address)| address);
    let has_port = after_host.get(authority.host().len()..).is_some_and(|rest| !rest.is_empty());
    if has_port && authority.port_u16().is_none_or(|port| port == 0) {
        return refuse("has no port from 1 to 65535");
    }
    Ok(())
}

/// Refuses an address that is not `host:port`.
pub(crate) fn check_address(address: &str) -> Result<(), String> {
    let refuse = |why: &str| Err(format!("health: {address:?} {why}"));
    if address.starts_with("unix:") || address.starts_with('/') {
        return refuse("is not host:port; for a Unix socket write check = { unix = { path = \"…\" } }");
    }
    if address.contains("://") {
        return refuse("is not host:port; leave out what stands before the host");
    }
    let Some((host, port)) = address.rsplit_once(':') else { return refuse("is not host:port") };
    if host.is_empty() || host.contains(|character: char| character.is_whitespace() || character == '/') {
        return refuse("is not host:port");
    }
    match port.parse::<u16>() {
        Ok(port) if port > 0 => Ok(()),
        _ => refuse("has no port from 1 to 65535"),
    }
}

/// Refuses a path that cannot be the address of a Unix socket.
pub(crate) fn check_socket(path: &Path) -> Result<(), String> {
    let bytes = path.as_os_str().len();
    match bytes {
        0 => Err("health: the path of the socket is empty".to_owned()),
        1..=SOCKET_PATH_BYTES_MAX => Ok(()),
        _ => Err(format!("health: the path of the socket has {bytes} bytes; it may have {SOCKET_PATH_BYTES_MAX}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_can_never_answer_is_refused() {
        for url in
            ["http://127.0.0.1:8080/", "http://localhost/ready?x=1", "http://[::1]:80/", "http://u:p@h:1/", "http://a"]
        {
            assert_eq!(check_url(url), Ok(()), "{url}");
        }
        for url in [
            "",
            "https://a/",
            "http://",
            "http:///x",
            "http://a b/",
            "http://127.0.0.1:99999/",
            "http://127.0.0.1:0/",
            "http://127.0.0.1:x/",
            "http://127.0.0.1:/",
            "http://u:hunter2@h:99999/",
        ] {
            assert!(check_url(url).is_err_and(|why| !why.contains("hunter2")), "{url}");
        }
        for address in ["127.0.0.1:80", "localhost:5432", "[::1]:80", "a.b-c:65535"] {
            assert_eq!(check_address(address), Ok(()), "{address}");
        }
        for address in [
            "",
            "localhost",
            ":80",
            "a:",
            "a:0",
            "a:99999",
            "a:80x",
            "a b:80",
            "tcp://127.0.0.1:80",
            "unix:/run/x.sock",
            "/x:1",
        ] {
            assert!(check_address(address).is_err(), "{address}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_write_instead() {
        for address in ["unix:/run/x.sock", "/run/x.sock", "unix:x"] {
            assert!(check_address(address).is_err_and(|why| why.contains("unix = { path")), "{address}");
        }
        assert!(check_address("http://a:80").is_err_and(|why| why.contains("before the host")));
    }

    #[test]
    fn the_path_of_a_socket_fits_into_its_address() {
        for (length, part) in [(0, Some("is empty")), (1, None), (107, None), (108, Some("has 108 bytes"))] {
            let found = check_socket(Path::new(&"x".repeat(length)));
            match (found, part) {
                (Ok(()), None) => {}
                (Err(why), Some(part)) => assert!(why.contains(part), "{why}"),
                (found, _) => panic!("{length}: {found:?}"),
            }
        }
    }
}
