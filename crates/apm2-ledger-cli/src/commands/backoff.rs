//! Parses `--backoff`: the delays of restarts in one argument.

use std::{str::FromStr, time::Duration};

use apm2_model::spec::config::restart::BackoffConfig;

/// Factor by which the delay of an exponential back-off grows.
const FACTOR: u32 = 2;

/// Parses a back-off such as `1s`, `1s..1m` or `linear:1s+500ms..1m`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BackoffArg(pub(crate) BackoffConfig);

impl FromStr for BackoffArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(linear) = text.strip_prefix("linear:") {
            let (steps, max) = linear.split_once("..").ok_or("after `linear:` comes INITIAL+STEP..MAX")?;
            let (initial, step) = steps.split_once('+').ok_or("after `linear:` comes INITIAL+STEP..MAX")?;
            let (initial, max) = range(initial, max)?;
            return Ok(Self(BackoffConfig::Linear { initial, step: duration(step)?, max }));
        }
        let Some((initial, max)) = text.split_once("..") else {
            return Ok(Self(BackoffConfig::Fixed { delay: duration(text)? }));
        };
        let (initial, max) = range(initial, max)?;
        Ok(Self(BackoffConfig::Exponential { initial, factor: FACTOR, max }))
    }
}

fn range(initial: &str, max: &str) -> Result<(Duration, Duration), String> {
    let (first, last) = (duration(initial)?, duration(max)?);
    if first <= last { Ok((first, last)) } else { Err(format!("{initial} is longer than the maximum, {max}")) }
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{text:?} is not a duration: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<BackoffConfig, String> {
        text.parse::<BackoffArg>().map(|BackoffArg(config)| config)
    }

    #[test]
    fn each_form_is_understood() {
        let (second, minute, half) = (Duration::from_secs(1), Duration::from_secs(60), Duration::from_millis(500));
        assert_eq!(parsed("1s"), Ok(BackoffConfig::Fixed { delay: second }));
        let doubled = BackoffConfig::Exponential { initial: second, factor: 2, max: minute };
        assert_eq!(parsed("1s..1m"), Ok(doubled));
        let linear = BackoffConfig::Linear { initial: second, step: half, max: minute };
        assert_eq!(parsed("linear:1s+500ms..1m"), Ok(linear));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "1", "1s..", "..1m", "1m..1s", "linear:1s", "linear:1s..1m", "cubic:1s..1m", "-1s"] {
            assert!(parsed(text).is_err(), "{text:?} was accepted");
        }
    }
}
