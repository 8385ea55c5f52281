//! Signals by number, and by name where signal(7) has one.

use std::{fmt, str::FromStr};

use nix::sys::signal::Signal as Known;
use serde::{Deserialize, Serialize};

/// A signal number (signal(7)), real-time signals included. As text: `SIGTERM`, `SIG34`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signal(u8);

/// The text is neither the name nor the number of a signal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a signal; write a name such as SIGTERM or a number from 1 to {max}", max = Signal::MAX)]
pub struct NotASignal(String);

impl Signal {
    /// SIGINT: interrupt from the keyboard (signal(7)).
    pub const INT: Self = Self(2);
    /// SIGKILL: ends a process. A process cannot catch it.
    pub const KILL: Self = Self(9);
    /// SIGTERM: requests the termination of a process. A process can catch it.
    pub const TERM: Self = Self(15);
    /// SIGCONT: continues a stopped process.
    pub const CONT: Self = Self(18);
    /// The largest signal number on Linux.
    pub const MAX: u8 = 64;

    /// The signal with this number; `None` unless it is 1 to 64.
    #[must_use]
    pub const fn from_number(number: u8) -> Option<Self> {
        if number >= 1 && number <= Self::MAX { Some(Self(number)) } else { None }
    }

    /// The number of the signal, 1 to 64.
    #[must_use]
    pub const fn number(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Known::try_from(i32::from(self.0)) {
            Ok(known) => f.pad(known.as_str()),
            Err(_) => f.pad(&format!("SIG{}", self.0)),
        }
    }
}

impl FromStr for Signal {
    type Err = NotASignal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = || NotASignal(text.to_owned());
        let upper = text.to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Ok(number) = bare.parse::<u8>() {
            return Self::from_number(number).ok_or_else(refuse);
        }
        let known = Known::from_str(&format!("SIG{bare}")).map_err(|_| refuse())?;
        u8::try_from(known as i32).ok().and_then(Self::from_number).ok_or_else(refuse)
    }
}

impl TryFrom<String> for Signal {
    type Error = NotASignal;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> Self {
        signal.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_from_1_to_64_are_signals_and_read_back_from_every_text_form() {
        for number in 0..=u8::MAX {
            let signal = Signal::from_number(number);
            assert_eq!(signal.map(Signal::number), (1..=64).contains(&number).then_some(number));
            let Some(signal) = signal else {
                assert!(number.to_string().parse::<Signal>().is_err(), "{number}");
                continue;
            };
            let name = signal.to_string();
            let bare = name.strip_prefix("SIG").unwrap();
            for text in [name.as_str(), bare, &bare.to_ascii_lowercase(), &number.to_string()] {
                assert_eq!(text.parse(), Ok(signal), "{text}");
            }
            assert_eq!(String::from(signal), name);
            assert_eq!(serde_json::to_string(&signal).unwrap(), format!("{name:?}"));
        }
    }

    #[test]
    fn the_names_are_those_of_signal_7() {
        let names =
            [(Signal::INT, "SIGINT"), (Signal::KILL, "SIGKILL"), (Signal::TERM, "SIGTERM"), (Signal::CONT, "SIGCONT")];
        for (signal, name) in names {
            assert_eq!(signal.to_string(), name);
        }
        assert_eq!(Signal::from_number(34).unwrap().to_string(), "SIG34", "a real-time signal has no name");
        assert_eq!(format!("{:>9}|", Signal::TERM), "  SIGTERM|");
        for text in ["", "SIG", "SIGNOTHING", "65", "-1", "TERM "] {
            assert_eq!(text.parse::<Signal>(), Err(NotASignal(text.to_owned())));
        }
        let refusal = NotASignal("x".to_owned()).to_string();
        assert_eq!(refusal, "\"x\" is not a signal; write a name such as SIGTERM or a number from 1 to 64");
    }
}
