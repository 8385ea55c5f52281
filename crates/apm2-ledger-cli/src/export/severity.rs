//! The severities of the OpenTelemetry log data model.

/// The number of a severity, and its text.
pub(crate) type Severity = (u8, &'static str);

pub(crate) const INFO: Severity = (9, "INFO");
pub(crate) const WARN: Severity = (13, "WARN");
pub(crate) const ERROR: Severity = (17, "ERROR");
