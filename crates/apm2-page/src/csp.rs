//! The Content-Security-Policy of the page: what a browser may load and execute for it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

use crate::assets::{SCRIPT, STYLE};

/// The policy of a page that is opened from a file. It allows the one script and the one style sheet by their hashes, and no
/// connection. Text can never become code (`require-trusted-types-for`).
#[must_use]
pub fn of_file() -> String {
    format!(
        "default-src 'none'; script-src {}; style-src {}; img-src data:; base-uri 'none'; form-action 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
        source(SCRIPT),
        source(STYLE)
    )
}

/// The policy in the live page. It also allows connections to the server of the page.
#[must_use]
pub fn of_live_page() -> String {
    format!("{}; connect-src 'self'", of_file())
}

/// The policy that the server of the live page sends as a header. A page cannot forbid by itself that it is framed.
#[must_use]
pub fn header() -> String {
    format!("{}; frame-ancestors 'none'", of_live_page())
}

/// The source expression of an inline element with this content.
fn source(content: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(content)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_the_hash_that_browsers_compute() {
        // The example of the specification of the policy, alert('Hello, world.');
        assert_eq!(source("alert('Hello, world.');"), "'sha256-qznLcsROx4GACP2dm0UCKCzCG+HiZ1guq6ZZDob/Tng='");
    }

    #[test]
    fn nothing_is_allowed_by_a_keyword() {
        for policy in [of_file(), of_live_page(), header()] {
            assert!(policy.starts_with("default-src 'none';") && !policy.contains("unsafe"), "{policy}");
            assert!(!policy.contains('"') && !policy.contains('<') && policy.is_ascii(), "it is an attribute value");
        }
        assert!(!of_file().contains("connect-src"));
    }
}
