//! Records of enums without data.

/// Defines an enum with the same data-less variants as `$core`, and the conversions in both directions.
macro_rules! mirrored {
    ($record:ident, $core:ident, $($variant:ident),+) => {
        #[derive(Clone, Copy, Serialize, Deserialize)]
        pub(crate) enum $record { $($variant),+ }

        impl From<$core> for $record {
            fn from(value: $core) -> Self {
                match value { $($core::$variant => Self::$variant),+ }
            }
        }

        impl From<$record> for $core {
            fn from(value: $record) -> Self {
                match value { $($record::$variant => Self::$variant),+ }
            }
        }
    };
}

pub(crate) use mirrored;
