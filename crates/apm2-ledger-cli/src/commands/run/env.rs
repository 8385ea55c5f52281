//! The option `--env`: one environment variable of the command. Its value may be a secret, and is never printed.

use std::{convert::Infallible, env, fmt, str::FromStr};

use crate::error::CliError;

/// An argument `KEY=VALUE`, or `KEY` to take the value from the environment of `run`.
///
/// Parsing never fails, since clap would quote the text in its error; `variable` validates it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct EnvArg {
    key: String,
    value: Option<String>,
}

impl FromStr for EnvArg {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(text))
    }
}

impl EnvArg {
    pub(crate) fn new(text: &str) -> Self {
        match text.split_once('=') {
            Some((key, value)) => Self { key: key.to_owned(), value: Some(value.to_owned()) },
            None => Self { key: text.to_owned(), value: None },
        }
    }

    /// Whether the argument contains the value of the variable.
    pub(crate) const fn has_value(&self) -> bool {
        self.value.is_some()
    }

    /// The text of the argument.
    pub(crate) fn text(&self) -> String {
        self.value.as_ref().map_or_else(|| self.key.clone(), |value| format!("{}={value}", self.key))
    }

    /// The variable and its value.
    ///
    /// # Errors
    /// The name is empty, or the variable is not set in the environment of `run`.
    pub(crate) fn resolve(self) -> Result<(String, String), CliError> {
        let Self { key, value } = self;
        if key.is_empty() {
            return Err(CliError::usage("--env: a variable needs a name: KEY=VALUE"));
        }
        match value {
            Some(value) => Ok((key, value)),
            None => match env::var(&key) {
                Ok(value) => Ok((key, value)),
                Err(env::VarError::NotPresent) => Err(CliError::usage(format!("--env {key}: it has no value here"))
                    .with_hint(format!("set it, or write --env {key}=VALUE"))),
                Err(env::VarError::NotUnicode(_)) => {
                    Err(CliError::usage(format!("--env {key}: its value here is not UTF-8")))
                }
            },
        }
    }
}

impl fmt::Debug for EnvArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvArg").field("key", &self.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arg(text: &str) -> EnvArg {
        let Ok(arg) = text.parse();
        arg
    }

    #[test]
    fn a_value_may_hold_anything() {
        assert_eq!(arg("A=b=c").resolve().unwrap(), ("A".to_owned(), "b=c".to_owned()));
        assert_eq!(arg("A=").resolve().unwrap(), ("A".to_owned(), String::new()));
    }

    #[test]
    fn a_name_alone_takes_the_value_from_here() {
        let path = env::var("PATH").unwrap();
        assert_eq!(arg("PATH").resolve().unwrap(), ("PATH".to_owned(), path));
    }

    #[test]
    fn no_value_is_ever_shown() {
        assert!(!format!("{:?}", arg("A=hunter2")).contains("hunter2"));
        let error = arg("=hunter2").resolve().unwrap_err();
        assert!(!format!("{error:?}").contains("hunter2") && error.exit_code() == 2);
    }

    #[test]
    fn a_variable_that_is_not_here_is_named() {
        let error = arg("APM2_NOT_SET_ANYWHERE").resolve().unwrap_err();
        assert!(error.text().contains("APM2_NOT_SET_ANYWHERE") && error.exit_code() == 2);
    }
}
