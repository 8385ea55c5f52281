//! Random values that admit a browser.

use std::{
    fs::File,
    io::{self, Read as _},
    sync::Mutex,
};

use crate::render::words::hex;

/// Bytes of a secret: 256 bits.
const SECRET_BYTES: usize = 32;

/// A random value as hexadecimal digits.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    /// A new secret from the random numbers of the operating system.
    pub(crate) fn new() -> io::Result<Self> {
        let mut bytes = [0_u8; SECRET_BYTES];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(hex(&bytes)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text` is this secret. The time does not depend on the place of the first difference.
    pub(crate) fn is(&self, text: &str) -> bool {
        let (own, other) = (self.0.as_bytes(), text.as_bytes());
        own.len() == other.len() && own.iter().zip(other).fold(0, |found, (one, two)| found | (one ^ two)) == 0
    }
}

/// A secret that works once.
pub(crate) struct Token(Mutex<Option<Secret>>);

impl Token {
    pub(crate) const fn new(secret: Secret) -> Self {
        Self(Mutex::new(Some(secret)))
    }

    /// Whether `text` is the token and was not used before. It is used then.
    pub(crate) fn redeem(&self, text: &str) -> bool {
        let mut secret = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_it = secret.as_ref().is_some_and(|secret| secret.is(text));
        if is_it {
            *secret = None;
        }
        is_it
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_works_once_and_a_wrong_one_never() {
        let secret = Secret::new().unwrap();
        assert_eq!(secret.as_str().len(), 64);
        assert!(!secret.is("") && !secret.is(Secret::new().unwrap().as_str()));
        let token = Token::new(secret.clone());
        assert!(!token.redeem("") && !token.redeem(&secret.as_str()[1..]));
        assert!(token.redeem(secret.as_str()) && !token.redeem(secret.as_str()));
    }
}
