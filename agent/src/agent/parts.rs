//! What the loop needs of the outside world; the one real form of it is put together by the command
//! line, another by the loop's tests.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;

use domain::check::AwsOutcome;
use domain::check::Inputs;
use domain::credentials::{Holder, Issuer, StaticCredentials, Token};
use domain::problem::Problem;
use domain::refresh::Probed;
use domain::registry::HostName;
use domain::settings::Settings;
use domain::time::Moment;
use jiff::SignedDuration;

use crate::place::{Place, SharedPlace};

/// The world around the loop.
pub trait World {
    fn now(&self) -> Moment;

    /// A number in `0.0..1.0` that no other node can be expected to draw.
    fn random(&self) -> f64;

    fn node_name(&self) -> String;

    /// The settings as they are now; on failure every mistake, in one line.
    fn read_settings(&self) -> Result<Settings, String>;

    /// The static credentials in the file at `path`.
    fn static_credentials(&self, path: &Path) -> Result<StaticCredentials, Problem>;

    /// The parts that depend on the settings.
    fn parts(&self, settings: &Settings) -> Parts;

    /// The node's files as they are now, to be judged.
    fn facts(&self, settings: &Settings) -> Inputs<'_>;

    /// Takes the watched files as they are now for known.
    fn settle(&mut self, settings: &Settings);

    /// Returns once a watched file is no longer as it was settled on. Cancel-safe.
    fn changed(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>>;
}

/// What a pass fetches from, tries at, and brings in order.
pub struct Parts {
    pub tokens: Box<dyn TokenSource>,
    pub registries: Box<dyn RegistryProbe>,
    pub local: Vec<Box<dyn Place>>,
    pub published: Box<dyn SharedPlace>,
}

/// Whoever gives authorization tokens.
pub trait TokenSource {
    /// Asks `issuer` for a token, within a deadline.
    fn fetch(&self, issuer: Issuer) -> Pin<Box<dyn Future<Output = Fetched> + Send>>;

    /// Tells whose credentials `issuer` would be asked with now, if this machine can tell it alone.
    fn holder(&self, issuer: Issuer) -> Pin<Box<dyn Future<Output = Option<Holder>> + Send>>;
}

/// Whoever can say whether a registry takes a token.
pub trait RegistryProbe {
    /// Tries `token` at the registry called `name`, within a deadline.
    fn probe(&self, name: HostName, token: Token) -> Pin<Box<dyn Future<Output = Probed> + Send>>;
}

/// What one call for a token brought.
#[derive(Debug)]
pub struct Fetched {
    pub token: Result<Token, Problem>,
    pub outcome: AwsOutcome,
    /// Server clock minus local clock, if an answer told.
    pub clock_skew: Option<SignedDuration>,
}
