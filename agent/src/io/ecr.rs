//! Fetches authorization tokens from ECR and ECR Public. It makes one call when asked, within a
//! deadline; when to ask again is the schedule's matter.

mod clock;
mod credentials;
mod error;

use std::time::Duration;

use aws_sdk_ecr::config::Credentials;
use aws_smithy_types::DateTime;
use domain::check::AwsOutcome;
use domain::credentials::{BadToken, Holder, Issuer, Origin, Token};
use domain::registry::Service;
use domain::time::saturating_add;
use jiff::{SignedDuration, Timestamp};

use clock::ServerClock;
use credentials::Session;
pub use error::EcrError;
use error::{Call, Operation};

/// ECR, as reached by the AWS SDK's own credentials chain and endpoint settings.
#[derive(Debug, Clone)]
pub struct Ecr {
    deadline: Duration,
}

/// What one call brought.
#[derive(Debug)]
pub struct Fetched {
    pub token: Result<Token, EcrError>,
    /// Server clock minus local clock, if an answer told.
    pub clock_skew: Option<SignedDuration>,
}

impl Fetched {
    pub fn outcome(&self) -> AwsOutcome {
        self.token.as_ref().map_or_else(EcrError::outcome, |_| AwsOutcome::Token)
    }
}

impl Ecr {
    pub fn new(deadline: Duration) -> Self {
        Self { deadline }
    }

    /// Asks for a token of `issuer`.
    pub async fn fetch(&self, issuer: &Issuer) -> Fetched {
        let clock = ServerClock::default();
        let asking = tokio::time::timeout(self.deadline, ask(issuer, self.deadline, clock.clone()));
        let answer = match asking.await {
            Ok(answer) => answer,
            Err(_) => Err(EcrError::Timeout { issuer: Box::new(issuer.clone()), deadline: self.deadline }),
        };
        let clock_skew = clock.skew();
        let now = saturating_add(Timestamp::now(), clock_skew.unwrap_or_default());
        let token = answer.and_then(|answer| {
            let expires_at =
                answer.expires_at.and_then(|at| Timestamp::new(at.secs(), at.subsec_nanos() as i32).ok());
            Token::from_answer(answer.authorization_token.as_deref(), expires_at, now)
                .map(|token| Token { origin: answer.origin, ..token })
                .map_err(|source| EcrError::Answer { issuer: Box::new(issuer.clone()), source })
        });
        Fetched { token, clock_skew }
    }

    /// Whose credentials `issuer` would be asked with now, told by this machine alone: no service is
    /// asked, and `None` says that it cannot be told this way.
    pub async fn holder(&self, issuer: &Issuer) -> Option<Holder> {
        let telling = async { Session::open(issuer, self.deadline).await.holder(issuer).await };
        tokio::time::timeout(self.deadline, telling).await.ok().flatten()
    }
}

/// What either API says.
struct Answer {
    authorization_token: Option<String>,
    expires_at: Option<DateTime>,
    origin: Origin,
}

async fn ask(issuer: &Issuer, deadline: Duration, clock: ServerClock) -> Result<Answer, EcrError> {
    // Made for each call: calls are hours apart, and so a changed profile or certificate store counts
    // and no connection, parsed certificate or cached credential is held in between.
    let session = Session::open(issuer, deadline).await;
    let (credentials, origin) = session.credentials(issuer, &clock).await?;
    let (authorization_token, expires_at) = match issuer.service {
        Service::Private => ask_private(issuer, &session, credentials, clock).await?,
        Service::Public => ask_public(issuer, &session, credentials, clock).await?,
    };
    Ok(Answer { authorization_token, expires_at, origin })
}

async fn ask_private(
    issuer: &Issuer,
    session: &Session,
    credentials: Credentials,
    clock: ServerClock,
) -> Result<(Option<String>, Option<DateTime>), EcrError> {
    let mut config = aws_sdk_ecr::config::Builder::from(&session.config)
        .credentials_provider(credentials)
        .interceptor(clock);
    if let Some(endpoint) = &issuer.endpoint {
        config = config.endpoint_url(endpoint.as_str());
    }
    let client = aws_sdk_ecr::Client::from_conf(config.build());
    let call = Call::new(issuer, Operation::GetAuthorizationToken);
    let output = client.get_authorization_token().send().await.map_err(|error| call.failed(error))?;
    let data = output.authorization_data.and_then(|data| data.into_iter().next());
    data.map(|data| (data.authorization_token, data.expires_at)).ok_or_else(|| absent(issuer))
}

async fn ask_public(
    issuer: &Issuer,
    session: &Session,
    credentials: Credentials,
    clock: ServerClock,
) -> Result<(Option<String>, Option<DateTime>), EcrError> {
    let mut config = aws_sdk_ecrpublic::config::Builder::from(&session.config)
        .credentials_provider(credentials)
        .interceptor(clock);
    if let Some(endpoint) = &issuer.endpoint {
        config = config.endpoint_url(endpoint.as_str());
    }
    let client = aws_sdk_ecrpublic::Client::from_conf(config.build());
    let call = Call::new(issuer, Operation::GetAuthorizationToken);
    let output = client.get_authorization_token().send().await.map_err(|error| call.failed(error))?;
    let data = output.authorization_data;
    data.map(|data| (data.authorization_token, data.expires_at)).ok_or_else(|| absent(issuer))
}

fn absent(issuer: &Issuer) -> EcrError {
    EcrError::Answer { issuer: Box::new(issuer.clone()), source: BadToken::Absent }
}
