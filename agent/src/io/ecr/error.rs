//! Why a token request failed, and which permission or service it needs.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_ecr::config::http::HttpResponse;
use aws_sdk_ecr::error::{BoxError, ProvideErrorMetadata, SdkError};
use domain::check::AwsOutcome;
use domain::credentials::{BadToken, TokenScope};
use thiserror::Error;

/// Why there is no new token.
#[derive(Debug, Error)]
pub enum EcrError {
    #[error("no AWS credentials for {scope} in {}", sources(scope))]
    NoCredentials { scope: Box<TokenScope>, source: CredentialsError },
    #[error("{} denied {}: {}", call.server(), call.operation.name(), call.remedy())]
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

/// One call on the way to a token.
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
    /// What has to appear or be granted before a request can succeed.
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

    fn remedy(&self) -> String {
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

/// A service's error, without the SDK's debugging text.
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
