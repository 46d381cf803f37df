//! What hdfs-native takes from regex for its DIGEST-MD5 log-in, given by regex-lite: the engines and
//! Unicode tables of the large one would be a twentieth of the agent's binary.

pub use regex_lite::{Captures, Error, Match, Regex, RegexBuilder};
