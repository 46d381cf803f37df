//! What to measure, how often and for how long, as set in the environment.

use std::env;
use std::time::Duration;

use crate::Outcome;

/// A group of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    Refresh,
    Rest,
    Start,
    Scale,
    Check,
    Size,
}

#[derive(Debug)]
pub(crate) struct Plan {
    /// Alternating runs of the compared programs (BENCH_RUNS).
    pub runs: usize,
    /// How long to observe the idle daemon (BENCH_REST_SECONDS).
    pub rest: Duration,
    /// Forced refreshes after that (BENCH_REFRESHES).
    pub refreshes: u32,
    /// The cluster sizes (BENCH_AGENTS).
    pub agents: Vec<usize>,
    /// Also measure builds, which takes minutes (BENCH_BUILD=1).
    pub build: bool,
    /// Fail if a target is missed (BENCH_STRICT=1).
    pub strict: bool,
    /// Take only these measurements, without updating the document (BENCH_ONLY).
    only: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("invalid {name}: {value:?}")]
struct Invalid {
    name: &'static str,
    value: String,
}

impl Plan {
    pub(crate) fn from_environment() -> Outcome<Self> {
        Ok(Self {
            runs: number("BENCH_RUNS", 7)?,
            rest: Duration::from_secs(number("BENCH_REST_SECONDS", 600)?),
            refreshes: number("BENCH_REFRESHES", 1000)?,
            agents: list("BENCH_AGENTS", &[1, 10, 100, 1000])?,
            build: is_set("BENCH_BUILD"),
            strict: is_set("BENCH_STRICT"),
            only: list("BENCH_ONLY", &[])?,
        })
    }

    pub(crate) fn measures(&self) -> Vec<Measure> {
        let wanted =
            |measure: &Measure| self.only.is_empty() || self.only.iter().any(|name| name == measure.name());
        Measure::ALL.into_iter().filter(wanted).collect()
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.only.is_empty()
    }
}

impl Measure {
    const ALL: [Self; 6] = [Self::Refresh, Self::Start, Self::Check, Self::Size, Self::Scale, Self::Rest];

    fn name(self) -> &'static str {
        match self {
            Measure::Refresh => "refresh",
            Measure::Rest => "rest",
            Measure::Start => "start",
            Measure::Scale => "scale",
            Measure::Check => "check",
            Measure::Size => "size",
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Measure::Refresh => "A refresh",
            Measure::Rest => "At rest",
            Measure::Start => "Start",
            Measure::Scale => "Scale",
            Measure::Check => "Validation",
            Measure::Size => "Size",
        }
    }
}

fn is_set(name: &str) -> bool {
    env::var(name).is_ok_and(|value| !value.is_empty() && value != "0")
}

fn number<T: std::str::FromStr>(name: &'static str, default: T) -> Outcome<T> {
    match env::var(name) {
        Ok(value) if !value.is_empty() => value.parse().map_err(|_| Invalid { name, value }.into()),
        _ => Ok(default),
    }
}

fn list<T: std::str::FromStr + Clone>(name: &'static str, default: &[T]) -> Outcome<Vec<T>> {
    match env::var(name) {
        Ok(value) if !value.is_empty() => {
            let items = value.split(',').map(str::parse).collect::<Result<_, _>>();
            items.map_err(|_| Invalid { name, value }.into())
        }
        _ => Ok(default.to_vec()),
    }
}
