//! Serialization format of the restart settings.

use std::time::Duration;

use apm2_model::{
    duration::millis,
    spec::config::restart::{BackoffConfig, OnBoot, RestartConfig, RestartPolicy},
};
use serde::{Deserialize, Serialize};

use crate::record::{RecordError, mirrored::mirrored};

mirrored!(PolicyV1, RestartPolicy, Never, OnFailure, Always);

#[derive(Serialize, Deserialize)]
pub(super) struct RestartV1 {
    policy: PolicyV1,
    max_restarts: u32,
    restart_window_ms: u64,
    min_uptime_ms: u64,
    backoff: BackoffV1,
}

#[derive(Serialize, Deserialize)]
enum BackoffV1 {
    Fixed {
        delay_ms: u64,
    },
    Linear {
        initial_ms: u64,
        step_ms: u64,
        max_ms: u64,
    },
    Exponential {
        initial_ms: u64,
        factor: u32,
        max_ms: u64,
    },
    /// A back-off whose delays are shortened at random by up to `percent`. Added in record version 2.
    Jittered {
        percent: u8,
        backoff: Box<BackoffV1>,
    },
}

impl From<&RestartConfig> for RestartV1 {
    fn from(config: &RestartConfig) -> Self {
        let backoff = match &config.backoff {
            BackoffConfig::Fixed { delay } => BackoffV1::Fixed { delay_ms: millis(*delay) },
            BackoffConfig::Linear { initial, step, max } => {
                BackoffV1::Linear { initial_ms: millis(*initial), step_ms: millis(*step), max_ms: millis(*max) }
            }
            BackoffConfig::Exponential { initial, factor, max } => {
                BackoffV1::Exponential { initial_ms: millis(*initial), factor: *factor, max_ms: millis(*max) }
            }
        };
        let backoff = match config.jitter_percent {
            0 => backoff,
            percent => BackoffV1::Jittered { percent, backoff: Box::new(backoff) },
        };
        Self {
            policy: config.policy.into(),
            max_restarts: config.max_restarts,
            restart_window_ms: millis(config.restart_window),
            min_uptime_ms: millis(config.min_uptime),
            backoff,
        }
    }
}

impl BackoffV1 {
    /// The back-off settings and the jitter in percent.
    fn into_config(self) -> Result<(BackoffConfig, u8), RecordError> {
        let ms = Duration::from_millis;
        Ok(match self {
            Self::Fixed { delay_ms } => (BackoffConfig::Fixed { delay: ms(delay_ms) }, 0),
            Self::Linear { initial_ms, step_ms, max_ms } => {
                (BackoffConfig::Linear { initial: ms(initial_ms), step: ms(step_ms), max: ms(max_ms) }, 0)
            }
            Self::Exponential { initial_ms, factor, max_ms } => {
                (BackoffConfig::Exponential { initial: ms(initial_ms), factor, max: ms(max_ms) }, 0)
            }
            Self::Jittered { percent, backoff } => match *backoff {
                // A `Jittered` back-off never contains another `Jittered` one in a valid record.
                Self::Jittered { .. } => return Err(RecordError::Range("jitter")),
                backoff => (backoff.into_config()?.0, percent),
            },
        })
    }
}

impl RestartV1 {
    pub(super) fn into_config(self) -> Result<RestartConfig, RecordError> {
        let (backoff, jitter_percent) = self.backoff.into_config()?;
        Ok(RestartConfig {
            policy: self.policy.into(),
            max_restarts: self.max_restarts,
            restart_window: Duration::from_millis(self.restart_window_ms),
            min_uptime: Duration::from_millis(self.min_uptime_ms),
            backoff,
            jitter_percent,
            on_boot: OnBoot::default(),
        })
    }
}
