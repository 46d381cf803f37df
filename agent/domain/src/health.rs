//! Requests to the health endpoint: which resource they name, and whether they are meant for this machine.

pub mod page;

use std::net::IpAddr;

use http::uri::Authority;

use crate::registry::HostName;
use crate::status::Check;

/// A resource of the health endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// The status page for humans.
    Page,
    Liveness(Checks),
    Readiness(Checks),
    Status,
    Metrics,
}

/// The checks that a request selects, and how to show them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checks {
    /// The id or name of the checks to include; `None` for all.
    pub only: Option<String>,
    /// The ids or names of the checks to exclude.
    pub exclude: Vec<String>,
    /// Whether to list passing checks too.
    pub verbose: bool,
}

/// The served paths, listed in the response to an unknown one.
pub const PATHS: &str = "/ /livez /readyz /readyz/CHECK /healthz /status /metrics";

impl Resource {
    /// The resource at the path and query of a request; `None` if there is none.
    pub fn of(path: &str, query: Option<&str>) -> Option<Self> {
        match path {
            "/" => Some(Self::Page),
            "/status" => Some(Self::Status),
            "/metrics" => Some(Self::Metrics),
            // Supervisors restart what fails here, which fixes a stuck loop but not a missing registry.
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
                // Ignore the rest: probes may add their own parameters.
                _ => {}
            }
        }
        checks
    }

    /// The checks in `all` to report; `None` if the one requested does not exist.
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

/// Check names contain slashes and colons, which some clients percent-encode.
fn decoded(name: &str) -> String {
    percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned()
}

/// The host names that requests may use. Under any other name, a web page could make a browser query the agent and
/// read the response.
#[derive(Debug, Clone)]
pub struct KnownHosts {
    /// This machine's names and those from the settings, in lowercase.
    names: Vec<String>,
}

impl KnownHosts {
    /// Allows this machine's names and those from the settings.
    pub fn new(node: &str, set: &[HostName]) -> Self {
        let short = node.split('.').next().unwrap_or_default();
        let names = [node, short, "localhost"].into_iter().chain(set.iter().map(HostName::as_str));
        Self { names: names.map(str::to_ascii_lowercase).collect() }
    }

    /// Whether a request for `host`, received at `address`, is meant for this machine.
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
