//! Fetches authorization tokens from ECR. It makes one call when asked, within a deadline; when to
//! ask again is the schedule's matter.

use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ecr::config::http::HttpResponse;
use aws_sdk_ecr::config::interceptors::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_ecr::config::{ConfigBag, Credentials, Intercept, RuntimeComponents};
use aws_sdk_ecr::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_sdk_ecr::operation::get_authorization_token::GetAuthorizationTokenError;
use aws_sdk_ecr::types::AuthorizationData;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

use crate::model::issuer::Issuer;
use crate::model::schedule::saturating_add;
use crate::model::token::{BadToken, Token};

/// A Date header counts whole seconds, and the answer was under way: less than this is no disagreement.
const UNCERTAIN: SignedDuration = SignedDuration::from_secs(2);

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

/// Why there is no new token.
#[derive(Debug, Error)]
pub enum EcrError {
    #[error(
        "no AWS credentials for {issuer}: the environment, the profile, web identity, container and instance metadata (IMDSv2) were tried"
    )]
    NoCredentials { issuer: Box<Issuer>, source: CredentialsError },
    #[error(
        "{issuer} denied GetAuthorizationToken: grant the instance profile's role ecr:GetAuthorizationToken on \"*\""
    )]
    Denied { issuer: Box<Issuer>, source: BoxError },
    #[error("{issuer} throttled GetAuthorizationToken")]
    Throttled { issuer: Box<Issuer>, source: BoxError },
    #[error("{issuer} did not answer GetAuthorizationToken within {deadline:?}")]
    Timeout { issuer: Box<Issuer>, deadline: Duration },
    #[error("{issuer} could not be reached for GetAuthorizationToken")]
    Network { issuer: Box<Issuer>, source: BoxError },
    #[error("{issuer} failed GetAuthorizationToken")]
    Service { issuer: Box<Issuer>, source: BoxError },
    #[error("{issuer} gave a GetAuthorizationToken answer that is of no use")]
    Answer { issuer: Box<Issuer>, source: BadToken },
}

impl Ecr {
    pub fn new(deadline: Duration) -> Self {
        Self { deadline }
    }

    /// Asks for a token of `issuer`.
    pub async fn fetch(&self, issuer: &Issuer) -> Fetched {
        let clock = ServerClock::default();
        let call = tokio::time::timeout(self.deadline, authorization(issuer, self.deadline, clock.clone()));
        let answer = match call.await {
            Ok(answer) => answer,
            Err(_) => Err(EcrError::Timeout { issuer: Box::new(issuer.clone()), deadline: self.deadline }),
        };
        let clock_skew = clock.skew();
        let now = saturating_add(Timestamp::now(), clock_skew.unwrap_or_default());
        let token = answer.and_then(|data| {
            let expires_at =
                data.expires_at().and_then(|at| Timestamp::new(at.secs(), at.subsec_nanos() as i32).ok());
            Token::from_answer(data.authorization_token(), expires_at, now)
                .map_err(|source| EcrError::Answer { issuer: Box::new(issuer.clone()), source })
        });
        Fetched { token, clock_skew }
    }
}

impl EcrError {
    /// What has to appear or be granted before a call can succeed.
    pub fn waits_for(&self) -> Option<String> {
        match self {
            EcrError::NoCredentials { .. } => Some("AWS credentials".to_owned()),
            EcrError::Denied { .. } => Some("the IAM permission ecr:GetAuthorizationToken".to_owned()),
            EcrError::Network { issuer, .. } | EcrError::Timeout { issuer, .. } => Some(issuer.to_string()),
            EcrError::Throttled { .. } | EcrError::Service { .. } | EcrError::Answer { .. } => None,
        }
    }

    /// One word for counters.
    pub fn result(&self) -> &'static str {
        match self {
            EcrError::NoCredentials { .. } => "no_credentials",
            EcrError::Denied { .. } => "denied",
            EcrError::Throttled { .. } => "throttled",
            EcrError::Timeout { .. } => "timeout",
            EcrError::Network { .. } => "network",
            EcrError::Service { .. } => "service",
            EcrError::Answer { .. } => "invalid",
        }
    }
}

async fn authorization(
    issuer: &Issuer,
    deadline: Duration,
    clock: ServerClock,
) -> Result<AuthorizationData, EcrError> {
    // Made for each call: calls are hours apart, and so a changed profile or certificate store counts
    // and no connection, parsed certificate or cached credential is held in between.
    let config = load_config(issuer, deadline).await;
    let credentials = credentials(&config, issuer).await?;
    let config = aws_sdk_ecr::config::Builder::from(&config)
        .credentials_provider(credentials)
        .interceptor(clock)
        .build();
    let client = aws_sdk_ecr::Client::from_conf(config);
    let output = client.get_authorization_token().send().await.map_err(|error| classify(issuer, error))?;
    output
        .authorization_data
        .and_then(|data| data.into_iter().next())
        .ok_or_else(|| EcrError::Answer { issuer: Box::new(issuer.clone()), source: BadToken::Absent })
}

async fn load_config(issuer: &Issuer, deadline: Duration) -> SdkConfig {
    let http_client =
        aws_smithy_http_client::Builder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
    let timeouts = aws_config::timeout::TimeoutConfig::builder().operation_attempt_timeout(deadline).build();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http_client)
        .region(Region::new(issuer.region.to_string()))
        .timeout_config(timeouts)
        // One more attempt lets the SDK sign again by the server's clock; all else is the schedule's.
        .retry_config(RetryConfig::standard().with_max_attempts(2))
        .load()
        .await
}

async fn credentials(config: &SdkConfig, issuer: &Issuer) -> Result<Credentials, EcrError> {
    let found = match config.credentials_provider() {
        Some(provider) => provider.provide_credentials().await,
        None => Err(CredentialsError::not_loaded("the SDK has no credentials chain")),
    };
    found.map_err(|source| EcrError::NoCredentials { issuer: Box::new(issuer.clone()), source })
}

fn classify(issuer: &Issuer, error: SdkError<GetAuthorizationTokenError, HttpResponse>) -> EcrError {
    let issuer = Box::new(issuer.clone());
    let code = error.as_service_error().and_then(|error| error.code()).unwrap_or_default().to_owned();
    let answered = matches!(error, SdkError::ServiceError(_) | SdkError::ResponseError(_));
    let source: BoxError = match error {
        SdkError::ServiceError(context) => Box::new(ServiceAnswer::new(context.err())),
        other => other.into_source().unwrap_or_else(|unknown| unknown.to_string().into()),
    };
    match code.as_str() {
        "ThrottlingException" | "TooManyRequestsException" | "Throttling" | "RequestLimitExceeded" => {
            EcrError::Throttled { issuer, source }
        }
        "AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation" => {
            EcrError::Denied { issuer, source }
        }
        _ if answered => EcrError::Service { issuer, source },
        _ => EcrError::Network { issuer, source },
    }
}

/// What ECR said, without the SDK's debugging text.
#[derive(Debug)]
struct ServiceAnswer(String);

impl ServiceAnswer {
    fn new(error: &GetAuthorizationTokenError) -> Self {
        let code = error.code().unwrap_or("an answer without an error code");
        Self(error.message().map_or_else(|| code.to_owned(), |message| format!("{code}: {message}")))
    }
}

impl std::fmt::Display for ServiceAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for ServiceAnswer {}

/// Reads the server's clock off its answers.
#[derive(Debug, Clone, Default)]
struct ServerClock(Arc<Mutex<Reading>>);

#[derive(Debug, Default)]
struct Reading {
    sent_at: Option<SystemTime>,
    skew: Option<SignedDuration>,
}

impl ServerClock {
    fn skew(&self) -> Option<SignedDuration> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).skew
    }
}

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for ServerClock {
    fn name(&self) -> &'static str {
        "ServerClock"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sent_at = Some(SystemTime::now());
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let mut reading = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let (Some(sent_at), Some(date)) = (reading.sent_at, context.response().headers().get("date")) {
            reading.skew = skew(date, sent_at, SystemTime::now());
        }
        Ok(())
    }
}

/// How far the server's Date is ahead of the middle of the call; small differences count as none.
fn skew(date: &str, sent_at: SystemTime, received_at: SystemTime) -> Option<SignedDuration> {
    let server = jiff::fmt::rfc2822::parse(date).ok()?.timestamp();
    let (sent, received) = (Timestamp::try_from(sent_at).ok()?, Timestamp::try_from(received_at).ok()?);
    let middle = saturating_add(sent, received.duration_since(sent) / 2);
    let skew = server.duration_since(middle);
    Some(if skew.abs() <= UNCERTAIN { SignedDuration::ZERO } else { skew })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use jiff::SignedDuration;

    use super::skew;

    #[test]
    fn skew_is_told_from_the_middle_of_the_call() {
        let sent = UNIX_EPOCH + Duration::from_secs(784_111_777);
        let check = |date: &str, expected: Option<i64>| {
            let skew = skew(date, sent, sent + Duration::from_secs(2));
            assert_eq!(skew, expected.map(SignedDuration::from_secs), "{date}");
        };
        check("Sun, 06 Nov 1994 08:49:37 GMT", Some(0));
        check("Sun, 06 Nov 1994 08:49:40 GMT", Some(0));
        check("Sun, 06 Nov 1994 09:49:38 GMT", Some(3600));
        check("Sun, 06 Nov 1994 07:49:38 GMT", Some(-3600));
        check("yesterday", None);
    }
}
