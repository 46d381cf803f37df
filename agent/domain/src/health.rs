//! What a request to the health endpoint asks for, and whether it is meant for this machine.

pub mod page;

use std::net::IpAddr;

use http::uri::Authority;

use crate::registry::HostName;
use crate::status::Check;

/// What is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// The page for people.
    Page,
    Liveness(Checks),
    Readiness(Checks),
    Status,
    Metrics,
}

/// Which checks are asked for, and how they are to be shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checks {
    /// The id or name of those that count; `None` for all.
    pub only: Option<String>,
    /// The ids or names of those that do not count.
    pub exclude: Vec<String>,
    /// Whether to list those that pass as well.
    pub verbose: bool,
}

/// The paths that are served, for people who asked for another.
pub const PATHS: &str = "/ /livez /readyz /readyz/CHECK /healthz /status /metrics";

impl Resource {
    /// By the path and query of a request; `None` if there is no such resource.
    pub fn of(path: &str, query: Option<&str>) -> Option<Self> {
        match path {
            "/" => Some(Self::Page),
            "/status" => Some(Self::Status),
            "/metrics" => Some(Self::Metrics),
            // A supervisor restarts what fails here, which helps a loop that is stuck, and no missing registry.
            "/livez" | "/healthz" => Some(Self::Liveness(Checks::of(None, query))),
            "/readyz" => Some(Self::Readiness(Checks::of(None, query))),
            path => {
                let name = path.strip_prefix("/readyz/").filter(|name| !name.is_empty())?;
                Some(Self::Readiness(Checks::of(Some(decoded(name)), query)))
            }
        }
    }
}

impl Checks {
    fn of(only: Option<String>, query: Option<&str>) -> Self {
        let mut checks = Self { only, ..Self::default() };
        for (key, value) in form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*key {
                "verbose" => checks.verbose = true,
                "exclude" => checks.exclude.push(value.into_owned()),
                // Probes add what they like.
                _ => {}
            }
        }
        checks
    }

    /// Those of `all` that count; `None` if the one asked for does not exist.
    pub fn select<'c>(&self, all: &'c [Check]) -> Option<Vec<&'c Check>> {
        let is = |check: &Check, wanted: &str| check.name == wanted || check.id.as_str() == wanted;
        let wanted = |check: &&Check| self.only.as_ref().is_none_or(|only| is(check, only));
        let excluded = |check: &&Check| self.exclude.iter().any(|exclude| is(check, exclude));
        let wanted: Vec<&Check> = all.iter().filter(wanted).collect();
        if self.only.is_some() && wanted.is_empty() {
            return None;
        }
        Some(wanted.into_iter().filter(|check| !excluded(check)).collect())
    }
}

/// Names of checks have slashes and colons, which some clients encode.
fn decoded(name: &str) -> String {
    percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned()
}

/// The names that requests may be for. A page in a browser can have the agent asked under any other, and would
/// get the answer.
#[derive(Debug, Clone)]
pub struct KnownHosts {
    /// This machine's name, and those set.
    names: Vec<String>,
}

impl KnownHosts {
    /// With this machine's name and those that are set.
    pub fn new(node: &str, set: &[HostName]) -> Self {
        let short = node.split('.').next().unwrap_or_default();
        let names = [node, short, "localhost"].into_iter().chain(set.iter().map(HostName::as_str));
        Self { names: names.map(str::to_ascii_lowercase).collect() }
    }

    /// Whether a request for `host`, which came to `address`, is for this machine.
    pub fn contain(&self, host: &str, address: Option<IpAddr>) -> bool {
        let Ok(authority) = host.parse::<Authority>() else { return false };
        let name = authority.host().to_ascii_lowercase();
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
        match bare.parse::<IpAddr>().map(|asked| asked.to_canonical()) {
            Ok(asked) => {
                asked.is_loopback()
                    || Some(asked) == address.map(|address| address.to_canonical())
                    || self.names.contains(&name)
            }
            Err(_) => self.names.contains(&name) || self.names.contains(&host.to_ascii_lowercase()),
        }
    }
}

#[cfg(test)]
mod tests;
