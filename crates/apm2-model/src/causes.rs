//! Formats an error together with its causes (`Error::source`).

use std::error::Error;

/// The text of an error and of all its causes, separated by `: `. A cause is left out where the text already contains it, since many
/// errors include the text of their cause in their own.
#[must_use]
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let why = error.to_string();
        if !text.contains(&why) {
            text.push_str(": ");
            text.push_str(&why);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Failure {
        text: &'static str,
        source: Option<io::Error>,
    }

    #[test]
    fn each_cause_follows_what_it_led_to_and_is_not_repeated() {
        let cause = || Some(io::Error::other("disk full"));
        for (text, source, expected) in [
            ("cannot write", None, "cannot write"),
            ("cannot write", cause(), "cannot write: disk full"),
            ("cannot write: disk full", cause(), "cannot write: disk full"),
        ] {
            assert_eq!(causes(&Failure { text, source }), expected);
        }
    }
}
