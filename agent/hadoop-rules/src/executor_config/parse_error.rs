//! Why container-executor refuses a file.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use thiserror::Error;

use super::super::Rules;

/// The first line that is refused, or a fault of the file as a whole. `line` counts from one, `text` is the line;
/// the messages describe the variants.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ParseError {
    #[error("line {line} contains only whitespace, so it is not empty")]
    WhitespaceLine { line: u32, text: Vec<u8> },

    #[error("line {line} is not a section header, because `[` and `]` are not its first and last byte")]
    BrokenHeader { line: u32, text: Vec<u8> },

    #[error("line {line} has no `=`")]
    NoEqualsSign { line: u32, text: Vec<u8> },

    #[error("line {line} consists of `=` only")]
    OnlyEqualsSigns { line: u32, text: Vec<u8> },

    #[error("line {line} is a section header without a name")]
    EmptySectionName { line: u32 },

    /// The native code resizes an entry list to zero and mistakes the result for a lack of memory.
    #[error("the section that begins at line {line} repeats an earlier one, and neither has entries")]
    RepeatedEmptySection { line: u32 },

    /// The native code allocates one section too few, and its C library aborts it.
    #[error("the section that begins at line {line} is the twentieth")]
    TooManySections { line: u32 },

    #[error("the file has neither an entry nor a section")]
    NothingConfigured { rules: Rules },

    /// A limit of this crate, not of Hadoop.
    #[error("the file is larger than 4 GiB")]
    TooLarge,
}

impl ParseError {
    /// Counted from one; None if the file as a whole is at fault.
    pub fn line(&self) -> Option<u32> {
        match self {
            Self::WhitespaceLine { line, .. }
            | Self::BrokenHeader { line, .. }
            | Self::NoEqualsSign { line, .. }
            | Self::OnlyEqualsSigns { line, .. }
            | Self::EmptySectionName { line }
            | Self::RepeatedEmptySection { line }
            | Self::TooManySections { line } => Some(*line),
            Self::NothingConfigured { .. } | Self::TooLarge => None,
        }
    }

    /// The exit code of container-executor; None if it is killed instead.
    pub fn exit_code(&self) -> Option<u8> {
        match self {
            Self::RepeatedEmptySection { .. } => Some(OUT_OF_MEMORY),
            Self::TooManySections { .. } => None,
            _ => Some(INVALID_CONFIG_FILE),
        }
    }

    /// What container-executor writes to stderr, to search for in the NodeManager's logs. `path` is that of the
    /// configuration file.
    pub fn native_message(&self, path: &str) -> String {
        match self {
            Self::WhitespaceLine { text, .. }
            | Self::BrokenHeader { text, .. }
            | Self::NoEqualsSign { text, .. } => {
                let text = super::lossy(text);
                format!(
                    "configuration tokenization failed, error with line {text}\nError parsing line {text}"
                )
            }
            Self::OnlyEqualsSigns { text, .. } => {
                format!("Error with line '{}', no '=' found", super::lossy(text))
            }
            Self::EmptySectionName { .. } => "Empty section name".to_owned(),
            Self::RepeatedEmptySection { .. } => {
                "Failed re-allocating memory for configuration items".to_owned()
            }
            Self::NothingConfigured { rules: Rules::V3_2 } => {
                format!("Invalid configuration provided in {path}")
            }
            Self::NothingConfigured { rules: Rules::V3_3 | Rules::V3_4 } => {
                format!("Empty configuration file provided {path}")
            }
            Self::TooManySections { .. } | Self::TooLarge => String::new(),
        }
    }
}

const OUT_OF_MEMORY: u8 = 18;
const INVALID_CONFIG_FILE: u8 = 24;
