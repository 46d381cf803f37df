#![doc = include_str!("../README.md")]
#![cfg_attr(not(test), no_std)]
#![warn(unreachable_pub)]

extern crate alloc;

pub mod client_config;
pub mod ere;
pub mod executor_config;
pub mod image_name;
pub mod launch;
pub mod mounts;
mod secret;
pub mod setup;
pub mod site;
pub mod trust;
pub mod users;

#[cfg(test)]
mod trust_cases;

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::str::FromStr;

pub use secret::Secret;
use thiserror::Error;

/// The generation of Hadoop whose rules apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rules {
    /// Hadoop 3.2.1, the Hadoop of EMR 6.0 to 6.8.
    V3_2,
    /// Hadoop 3.3, the Hadoop of EMR 6.9 to 7.3.
    V3_3,
    /// Hadoop 3.4 and later, from EMR 7.4 on. It decides as 3.3 does. Its NodeManager is known to read a job's
    /// client config at each launch; earlier ones do so only with patches from Amazon, if at all.
    V3_4,
}

impl Rules {
    /// All generations, oldest first.
    pub const ALL: [Self; 3] = [Self::V3_2, Self::V3_3, Self::V3_4];

    /// `3.2`, `3.3` or `3.4`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V3_2 => "3.2",
            Self::V3_3 => "3.3",
            Self::V3_4 => "3.4",
        }
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text does not name a generation.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("unknown Hadoop rules `{0}`: expected `3.2`, `3.3` or `3.4`")]
pub struct UnknownRules(String);

impl FromStr for Rules {
    type Err = UnknownRules;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|rules| rules.as_str() == text)
            .ok_or_else(|| UnknownRules(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_they_are_printed() {
        for rules in Rules::ALL {
            assert_eq!(rules.to_string().parse(), Ok(rules));
        }
        assert_eq!(Rules::ALL.map(|rules| rules.to_string()), ["3.2", "3.3", "3.4"]);
        let error = "3.5".parse::<Rules>().expect_err("no such rules");
        assert_eq!(error.to_string(), "unknown Hadoop rules `3.5`: expected `3.2`, `3.3` or `3.4`");
    }
}
