//! What the main loop needs from the outside: `wiring` gives it the real one, tests one in memory.

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

    /// Time since the machine started: worlds in memory start with the program.
    fn since_boot(&self) -> Duration {
        self.now().uptime
    }

    /// A random number in `0.0..1.0`.
    fn random(&self) -> f64;

    fn node_name(&self) -> String;

    /// The settings as they are now; on failure every mistake, in one line.
    fn read_settings(&self) -> Call<'_, Result<Settings, String>>;

    /// The static credentials in the file at `path`.
    fn static_credentials(
        &self,
        path: &Path,
        deadline: Duration,
    ) -> Call<'_, Result<StaticCredentials, Problem>>;

    /// The parts that depend on the settings.
    fn parts(&self, settings: &Settings) -> Parts;

    /// The node's files as they are now, to be checked.
    fn inputs(&self, settings: &Settings) -> Call<'_, Result<Inputs<'static>, Problem>>;

    /// Asks the node's Docker engine, about these networks too; `None` if this node's is not to be asked.
    fn docker(&self, settings: &Settings, networks: Vec<String>) -> Call<'_, Option<DockerEngine>>;

    /// Checks what was read. That resolves paths on the node, and so may hang.
    fn check(&self, settings: &Settings, inputs: Inputs<'static>)
    -> Call<'_, Result<check::Report, Problem>>;

    /// Has the images of the settings pulled with these credentials, beside the loop, which does not wait for it.
    fn warm(&self, settings: &Settings, credentials: Credentials);

    /// Takes the present state of the watched files as known.
    fn settle(&self, settings: &Settings) -> Call<'_, ()>;

    /// Returns once a watched file differs from what was settled on. Cancel-safe.
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
    /// Requests a token of `scope`, within a deadline.
    fn fetch(&self, scope: TokenScope) -> Pin<Box<dyn Future<Output = Fetched> + Send>>;

    /// Who would request a token of `scope` now, if this machine alone can tell.
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
