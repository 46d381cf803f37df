//! The main loop's interface to the outside: `wiring` provides the real one, tests an in-memory one.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use domain::check::{self, AwsOutcome, DockerEngine, Inputs};
use domain::credentials::{Credentials, Principal, StaticCredentials, Token, TokenScope};
use domain::problem::Problem;
use domain::refresh::Probe;
use domain::registry::HostName;
use domain::settings::Settings;
use domain::time::Moment;
use jiff::SignedDuration;

use crate::sink::{SharedSink, Sink};

/// A call that ends within a deadline and never blocks the thread it is polled on.
pub type Call<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// The world around the main loop.
pub trait World {
    fn now(&self) -> Moment;

    /// Time since the machine booted. In-memory worlds boot with the program.
    fn since_boot(&self) -> Duration {
        self.now().uptime
    }

    /// A random number in `0.0..1.0`.
    fn random(&self) -> f64;

    fn node_name(&self) -> String;

    /// Reads the current settings; the error lists every mistake on one line.
    fn read_settings(&self) -> Call<'_, Result<Settings, String>>;

    /// Reads the static credentials in the file at `path`.
    fn static_credentials(
        &self,
        path: &Path,
        deadline: Duration,
    ) -> Call<'_, Result<StaticCredentials, Problem>>;

    /// The parts that depend on the settings.
    fn parts(&self, settings: &Settings) -> Parts;

    /// Reads the node's current files for a check.
    fn inputs(&self, settings: &Settings) -> Call<'_, Result<Inputs<'static>, Problem>>;

    /// Queries the node's Docker engine and these networks; `None` if the settings are for another Hadoop directory.
    fn docker(&self, settings: &Settings, networks: Vec<String>) -> Call<'_, Option<DockerEngine>>;

    /// Checks the inputs. This resolves paths on the node, so it may hang.
    fn check(&self, settings: &Settings, inputs: Inputs<'static>)
    -> Call<'_, Result<check::Report, Problem>>;

    /// Pulls the configured images with these credentials in the background.
    fn warm(&self, settings: &Settings, credentials: Credentials);

    /// Records the current state of the watched files as known.
    fn settle(&self, settings: &Settings) -> Call<'_, ()>;

    /// Completes once a watched file differs from the settled state. Cancel-safe.
    fn changed(&self) -> Call<'_, ()>;
}

/// What a pass fetches from, probes, and reconciles.
pub struct Parts {
    pub tokens: Box<dyn TokenSource>,
    pub registries: Box<dyn RegistryProbe>,
    pub local: Vec<Box<dyn Sink>>,
    pub published: Box<dyn SharedSink>,
}

/// Issues authorization tokens.
pub trait TokenSource {
    /// Requests a token for `scope`, within a deadline.
    fn fetch(&self, scope: TokenScope) -> Pin<Box<dyn Future<Output = Fetched> + Send>>;

    /// The principal that would request a token for `scope` now; `None` if this machine alone cannot determine it.
    fn principal(&self, scope: TokenScope) -> Pin<Box<dyn Future<Output = Option<Principal>> + Send>>;
}

/// Checks whether a registry accepts a token.
pub trait RegistryProbe {
    /// Probes `token` at the registry called `name`, within a deadline.
    fn probe(&self, name: HostName, token: Token) -> Pin<Box<dyn Future<Output = Probe> + Send>>;
}

/// The outcome of one token request.
#[derive(Debug)]
pub struct Fetched {
    pub token: Result<Token, Problem>,
    pub outcome: AwsOutcome,
    /// Server clock minus local clock, if a server answered.
    pub clock_skew: Option<SignedDuration>,
}

impl Fetched {
    /// Of a request that ended in a panic of the AWS SDK.
    pub(super) fn panicked(scope: &TokenScope) -> Self {
        let problem = Problem::new(format!("the AWS SDK panicked while fetching a token of {scope}"));
        Self { token: Err(problem), outcome: AwsOutcome::Service, clock_skew: None }
    }
}
