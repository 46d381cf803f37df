//! Why a token request failed, and which permission or service it needs.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use aws_config::imds::client::error::ImdsError;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ecr::config::http::HttpResponse;
use aws_sdk_ecr::error::{BoxError, ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::result::ConnectorError;
use domain::check::AwsOutcome;
use domain::credentials::{BadToken, TokenScope};
use thiserror::Error;

/// Why there is no new token.
#[derive(Debug, Error)]
pub enum EcrError {
    #[error("no AWS credentials for {scope} in {}", sources(scope))]
    NoCredentials { scope: Box<TokenScope>, source: ProviderFailure },
    #[error("{} denied {}: {}", call.server(), call.operation.name(), call.fix())]
    Denied { call: Call, source: BoxError },
    #[error("{} throttled {}", call.server(), call.operation.name())]
    Throttled { call: Call, source: BoxError },
    #[error("{scope} did not answer GetAuthorizationToken within {deadline:?}, credentials included")]
    Timeout { scope: Box<TokenScope>, deadline: Duration },
    #[error("cannot reach {} for {}", call.server(), call.operation.name())]
    Network { call: Call, source: BoxError },
    #[error("{} failed {}", call.server(), call.operation.name())]
    Service { call: Call, source: BoxError },
    #[error("{scope} returned an invalid GetAuthorizationToken response")]
    Answer { scope: Box<TokenScope>, source: BadToken },
}

/// Why a provider returned no credentials, by kind and status only. Provider errors quote metadata responses and
/// program output, including any secrets.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{kind}{}", details.iter().map(|detail| format!(": {detail}")).collect::<String>())]
pub struct ProviderFailure {
    kind: &'static str,
    details: Vec<String>,
}

impl ProviderFailure {
    pub(super) fn new(kind: &'static str) -> Self {
        Self { kind, details: Vec::new() }
    }
}

impl From<&CredentialsError> for ProviderFailure {
    fn from(error: &CredentialsError) -> Self {
        let kind = match error {
            CredentialsError::CredentialsNotLoaded(_) => "no credentials found",
            CredentialsError::ProviderTimedOut(_) => "the provider did not answer in time",
            CredentialsError::InvalidConfiguration(_) => "the provider is not configured properly",
            CredentialsError::ProviderError(_) => "the provider failed",
            _ => "the provider's answer is not usable",
        };
        let mut details = Vec::new();
        let mut cause = error.source();
        while let Some(error) = cause {
            details.extend(detail(error));
            cause = error.source();
        }
        details.dedup();
        Self { kind, details }
    }
}

/// Describes one cause by types and numbers, never by its text.
fn detail(cause: &(dyn Error + 'static)) -> Option<String> {
    if let Some(error) = cause.downcast_ref::<ImdsError>() {
        return Some(match error {
            ImdsError::ErrorResponse(response) => {
                format!("instance metadata returned HTTP {}", response.response().status().as_u16())
            }
            ImdsError::FailedToLoadToken(_) => "instance metadata gave no session token".to_owned(),
            _ => "instance metadata cannot be reached".to_owned(),
        });
    }
    if let Some(error) = cause.downcast_ref::<std::io::Error>() {
        return Some(error.kind().to_string());
    }
    let connector = cause.downcast_ref::<ConnectorError>()?;
    Some(if connector.is_timeout() { "no answer in time" } else { "no connection" }.to_owned())
}

/// A call made to get a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    scope: Box<TokenScope>,
    operation: Operation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    AssumeRole,
    GetAuthorizationToken,
}

impl EcrError {
    /// What must appear or be granted before a request can succeed.
    pub fn waits_for(&self) -> Option<String> {
        match self {
            EcrError::NoCredentials { .. } => Some("AWS credentials".to_owned()),
            EcrError::Denied { call, .. } => Some(format!("the IAM permission {}", call.permission())),
            EcrError::Network { call, .. } => Some(call.server()),
            EcrError::Timeout { scope, .. } => Some(scope.to_string()),
            EcrError::Throttled { .. } | EcrError::Service { .. } | EcrError::Answer { .. } => None,
        }
    }

    pub fn outcome(&self) -> AwsOutcome {
        match self {
            EcrError::NoCredentials { .. } => AwsOutcome::NoCredentials,
            EcrError::Denied { call, .. } => match call.operation {
                Operation::AssumeRole => AwsOutcome::RoleDenied,
                Operation::GetAuthorizationToken => AwsOutcome::Denied,
            },
            EcrError::Throttled { .. } => AwsOutcome::Throttled,
            EcrError::Timeout { .. } => AwsOutcome::Timeout,
            EcrError::Network { .. } => AwsOutcome::Network,
            EcrError::Service { .. } => AwsOutcome::Service,
            EcrError::Answer { .. } => AwsOutcome::Invalid,
        }
    }
}

impl Call {
    pub(super) fn new(scope: &TokenScope, operation: Operation) -> Self {
        Self { scope: Box::new(scope.clone()), operation }
    }

    /// Classifies the SDK's error.
    pub(super) fn failed<E: Error + ProvideErrorMetadata + Send + Sync + 'static>(
        self,
        error: SdkError<E, HttpResponse>,
    ) -> EcrError {
        let code = error.as_service_error().and_then(|error| error.code()).unwrap_or_default().to_owned();
        let answered = matches!(error, SdkError::ServiceError(_) | SdkError::ResponseError(_));
        let source: BoxError = match error {
            SdkError::ServiceError(context) => Box::new(ServiceAnswer::new(context.err())),
            other => other.into_source().unwrap_or_else(|unknown| unknown.to_string().into()),
        };
        match code.as_str() {
            "ThrottlingException" | "TooManyRequestsException" | "Throttling" | "RequestLimitExceeded" => {
                EcrError::Throttled { call: self, source }
            }
            "AccessDeniedException" | "AccessDenied" | "UnauthorizedOperation" => {
                EcrError::Denied { call: self, source }
            }
            _ if answered => EcrError::Service { call: self, source },
            _ => EcrError::Network { call: self, source },
        }
    }

    fn server(&self) -> String {
        match self.operation {
            Operation::AssumeRole => format!("STS for {}", self.scope),
            Operation::GetAuthorizationToken => self.scope.to_string(),
        }
    }

    fn permission(&self) -> String {
        match (self.operation, &self.scope.identity.role) {
            (Operation::AssumeRole, Some(role)) => format!("sts:AssumeRole on {}", role.arn),
            (Operation::AssumeRole, None) => "sts:AssumeRole".to_owned(),
            (Operation::GetAuthorizationToken, _) => self.scope.service.token_actions().join(" and "),
        }
    }

    fn fix(&self) -> String {
        let permission = self.permission();
        match (&self.scope.identity.role, self.operation) {
            (_, Operation::AssumeRole) => format!(
                "grant the instance profile's role {permission}, and let that role's trust policy name it, with the external id if it asks for one"
            ),
            (Some(role), _) => format!("grant {} {permission} on \"*\"", role.arn),
            (None, _) => format!("grant the instance profile's role {permission} on \"*\""),
        }
    }
}

impl Operation {
    fn name(self) -> &'static str {
        match self {
            Operation::AssumeRole => "AssumeRole",
            Operation::GetAuthorizationToken => "GetAuthorizationToken",
        }
    }
}

/// Where the SDK looked for credentials.
fn sources(scope: &TokenScope) -> String {
    match &scope.identity.profile {
        Some(profile) => format!("the profile {profile}"),
        None => "the environment, the default profile, web identity, container or instance metadata (IMDSv2)"
            .to_owned(),
    }
}

/// A service's error, without the SDK's debug output.
#[derive(Debug)]
struct ServiceAnswer(String);

impl ServiceAnswer {
    fn new(error: &impl ProvideErrorMetadata) -> Self {
        let code = error.code().unwrap_or("a response without an error code");
        Self(error.message().map_or_else(|| code.to_owned(), |message| format!("{code}: {message}")))
    }
}

impl fmt::Display for ServiceAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for ServiceAnswer {}

#[cfg(test)]
mod tests {
    use aws_credential_types::provider::error::CredentialsError;
    use std::io::{Error, ErrorKind};

    use super::ProviderFailure;
    use crate::io::chain;

    #[test]
    fn a_providers_error_is_told_by_kind_and_never_by_text() {
        let check = |error: CredentialsError, expected: &str| {
            assert_eq!(chain(&ProviderFailure::from(&error)), expected);
        };
        let hunter = || "SecretAccessKey=hunter2";
        check(CredentialsError::provider_error(hunter()), "the provider failed");
        check(CredentialsError::unhandled(hunter()), "the provider's answer is not usable");
        check(CredentialsError::not_loaded(hunter()), "no credentials found");
        check(CredentialsError::invalid_configuration(hunter()), "the provider is not configured properly");
        let refused = Error::new(ErrorKind::ConnectionRefused, hunter());
        check(CredentialsError::provider_error(refused), "the provider failed: connection refused");
    }
}
