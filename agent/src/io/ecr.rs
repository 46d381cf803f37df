//! Fetches authorization tokens from ECR and ECR Public: one request within a deadline; the schedule decides when.

mod clock;
mod credentials;
mod error;

use std::time::Duration;

use aws_sdk_ecr::config::Credentials;
use aws_smithy_types::DateTime;
use domain::check::AwsOutcome;
use domain::credentials::{BadToken, Origin, Principal, Token, TokenScope};
use domain::registry::Service;
use domain::time::saturating_add;
use jiff::{SignedDuration, Timestamp};

use clock::DateReader;
use credentials::Session;
pub use error::EcrError;
use error::{Call, Operation};

/// ECR, as reached by the AWS SDK's own credentials chain and endpoint settings.
#[derive(Debug, Clone)]
pub struct Ecr {
    deadline: Duration,
}

/// The outcome of one request.
#[derive(Debug)]
pub struct TokenAnswer {
    pub token: Result<Token, EcrError>,
    /// Server clock minus local clock, if a server answered.
    pub clock_skew: Option<SignedDuration>,
}

impl TokenAnswer {
    pub fn outcome(&self) -> AwsOutcome {
        self.token.as_ref().map_or_else(EcrError::outcome, |_| AwsOutcome::Token)
    }
}

impl Ecr {
    pub fn new(deadline: Duration) -> Self {
        Self { deadline }
    }

    /// Requests a token for `scope`.
    pub async fn fetch(&self, scope: &TokenScope) -> TokenAnswer {
        let clock = DateReader::default();
        let asking = tokio::time::timeout(self.deadline, request(scope, self.deadline, clock.clone()));
        let answer = match asking.await {
            Ok(answer) => answer,
            Err(_) => Err(EcrError::Timeout { scope: Box::new(scope.clone()), deadline: self.deadline }),
        };
        let clock_skew = clock.skew();
        let now = saturating_add(Timestamp::now(), clock_skew.unwrap_or_default());
        let token = answer.and_then(|answer| {
            let expires_at =
                answer.expires_at.and_then(|at| Timestamp::new(at.secs(), at.subsec_nanos() as i32).ok());
            Token::from_answer(answer.authorization_token.as_deref(), expires_at, now)
                .map(|token| Token { origin: answer.origin, ..token })
                .map_err(|source| EcrError::Answer { scope: Box::new(scope.clone()), source })
        });
        TokenAnswer { token, clock_skew }
    }

    /// The principal that would request a token for `scope` now. Calls no service; `None` if this machine alone
    /// cannot determine it.
    pub async fn principal(&self, scope: &TokenScope) -> Option<Principal> {
        let look_up = async { Session::open(scope, self.deadline).await.principal(scope).await };
        tokio::time::timeout(self.deadline, look_up).await.ok().flatten()
    }
}

/// The response of either API.
struct Answer {
    authorization_token: Option<String>,
    expires_at: Option<DateTime>,
    origin: Origin,
}

async fn request(scope: &TokenScope, deadline: Duration, clock: DateReader) -> Result<Answer, EcrError> {
    // One session per request: requests are hours apart, so a changed profile or certificate store takes effect, and
    // no connection, certificate or credential is kept in between.
    let session = Session::open(scope, deadline).await;
    let (credentials, origin) = session.credentials(scope, &clock).await?;
    let (authorization_token, expires_at) = match scope.service {
        Service::Private => request_private(scope, &session, credentials, clock).await?,
        Service::Public => request_public(scope, &session, credentials, clock).await?,
    };
    Ok(Answer { authorization_token, expires_at, origin })
}

async fn request_private(
    scope: &TokenScope,
    session: &Session,
    credentials: Credentials,
    clock: DateReader,
) -> Result<(Option<String>, Option<DateTime>), EcrError> {
    let mut config = aws_sdk_ecr::config::Builder::from(&session.config)
        .credentials_provider(credentials)
        .interceptor(clock);
    if let Some(endpoint) = &scope.endpoint {
        config = config.endpoint_url(endpoint.as_str());
    }
    let client = aws_sdk_ecr::Client::from_conf(config.build());
    let call = Call::new(scope, Operation::GetAuthorizationToken);
    let output = client.get_authorization_token().send().await.map_err(|error| call.failed(error))?;
    let data = output.authorization_data.and_then(|data| data.into_iter().next());
    data.map(|data| (data.authorization_token, data.expires_at)).ok_or_else(|| absent(scope))
}

async fn request_public(
    scope: &TokenScope,
    session: &Session,
    credentials: Credentials,
    clock: DateReader,
) -> Result<(Option<String>, Option<DateTime>), EcrError> {
    let mut config = aws_sdk_ecrpublic::config::Builder::from(&session.config)
        .credentials_provider(credentials)
        .interceptor(clock);
    if let Some(endpoint) = &scope.endpoint {
        config = config.endpoint_url(endpoint.as_str());
    }
    let client = aws_sdk_ecrpublic::Client::from_conf(config.build());
    let call = Call::new(scope, Operation::GetAuthorizationToken);
    let output = client.get_authorization_token().send().await.map_err(|error| call.failed(error))?;
    let data = output.authorization_data;
    data.map(|data| (data.authorization_token, data.expires_at)).ok_or_else(|| absent(scope))
}

fn absent(scope: &TokenScope) -> EcrError {
    EcrError::Answer { scope: Box::new(scope.clone()), source: BadToken::Absent }
}
