//! AWS credentials for token requests: the node's own or a profile's, and a role assumed with them. Nothing is
//! cached, because requests are hours apart.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use aws_config::imds;
use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::credential_feature::AwsCredentialFeature;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_sdk_ecr::config::{Credentials, SharedHttpClient};
use aws_smithy_http_client::Connector;
use aws_smithy_runtime_api::client::http::{SharedHttpConnector, http_client_fn};
use domain::credentials::{Origin, Principal, Role, TokenScope};
use jiff::Timestamp;

use super::clock::DateReader;
use super::error::{Call, EcrError, Operation, ProviderFailure};
use crate::io::connector::Connectors;

const INSTANCE_ROLE: &str = "/latest/meta-data/iam/security-credentials/";

/// The SDK's settings for one identity.
pub(super) struct Session {
    pub(super) config: SdkConfig,
    http_client: SharedHttpClient,
}

impl Session {
    /// Loads the SDK's own settings, from the identity's profile if it has one.
    pub(super) async fn open(scope: &TokenScope, deadline: Duration) -> Self {
        let http_client = http_client();
        let region = Region::new(scope.region.to_string());
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http_client.clone())
            .region(region.clone())
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(deadline).build())
            // A second attempt lets the SDK sign with the server's clock; all other retries are scheduled.
            .retry_config(RetryConfig::standard().with_max_attempts(2));
        let loader = match &scope.identity.profile {
            None => loader,
            // With only a profile name, credentials in the environment would take precedence.
            Some(profile) => {
                let provider = ProfileFileCredentialsProvider::builder()
                    .configure(&provider_config(&http_client).with_region(Some(region)))
                    .profile_name(profile.as_str())
                    .build();
                loader.profile_name(profile.as_str()).credentials_provider(provider)
            }
        };
        Self { config: loader.load().await, http_client }
    }

    /// The credentials for requesting a token for `scope`, and their origin.
    pub(super) async fn credentials(
        &self,
        scope: &TokenScope,
        clock: &DateReader,
    ) -> Result<(Credentials, Origin), EcrError> {
        let own = self.own_credentials(scope).await?;
        let principal = self.principal_of(&own).await;
        let credentials = match &scope.identity.role {
            None => own,
            Some(role) => self.assume(role, own, scope, clock).await?,
        };
        let ends_at = credentials.expiry().and_then(|at| Timestamp::try_from(at).ok());
        Ok((credentials, Origin { ends_at, principal }))
    }

    /// The principal of the identity's own credentials; `None` if this machine alone cannot determine it.
    pub(super) async fn principal(&self, scope: &TokenScope) -> Option<Principal> {
        self.principal_of(&self.own_credentials(scope).await.ok()?).await
    }

    async fn own_credentials(&self, scope: &TokenScope) -> Result<Credentials, EcrError> {
        let found = match self.config.credentials_provider() {
            Some(provider) => {
                provider.provide_credentials().await.map_err(|error| ProviderFailure::from(&error))
            }
            None => Err(ProviderFailure::new("the SDK has no credentials chain")),
        };
        found.map_err(|source| EcrError::NoCredentials { scope: Box::new(scope.clone()), source })
    }

    async fn assume(
        &self,
        role: &Role,
        own: Credentials,
        scope: &TokenScope,
        clock: &DateReader,
    ) -> Result<Credentials, EcrError> {
        let config = aws_sdk_sts::config::Builder::from(&self.config)
            .credentials_provider(own)
            .interceptor(clock.clone())
            .build();
        let call = Call::new(scope, Operation::AssumeRole);
        let request = aws_sdk_sts::Client::from_conf(config)
            .assume_role()
            .role_arn(role.arn.as_str())
            .role_session_name(role.session_name.as_str())
            .set_external_id(role.external_id.as_ref().map(ToString::to_string));
        let answer = request.send().await.map_err(|error| call.clone().failed(error))?;
        let assumed = answer
            .credentials
            .ok_or_else(|| EcrError::Service { call, source: "the response has no credentials".into() })?;
        let expiry = SystemTime::try_from(assumed.expiration).ok();
        let session_token = Some(assumed.session_token);
        Ok(Credentials::new(
            assumed.access_key_id,
            assumed.secret_access_key,
            session_token,
            expiry,
            "AssumeRole",
        ))
    }

    /// `None` for providers that issue a new key each time (STS, programs): there is nothing to compare.
    async fn principal_of(&self, credentials: &Credentials) -> Option<Principal> {
        let features: Option<&Vec<AwsCredentialFeature>> = credentials.get_property();
        if features.is_some_and(|features| features.contains(&AwsCredentialFeature::CredentialsImds)) {
            let client = imds::Client::builder().configure(&provider_config(&self.http_client)).build();
            let role = client.get(INSTANCE_ROLE).await.ok()?;
            return Some(Principal::instance_role(role.as_ref()));
        }
        let is_long_lived = credentials.expiry().is_none();
        is_long_lived.then(|| Principal::access_key(credentials.access_key_id()))
    }
}

/// Like the SDK's own client, but with the environment's proxy and the rules of [`Connectors`].
fn http_client() -> SharedHttpClient {
    let known = Mutex::new(Vec::<(Timeouts, SharedHttpConnector)>::new());
    http_client_fn(move |settings, components| {
        let timeouts = (settings.connect_timeout(), settings.read_timeout());
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, connector)) = known.iter().find(|(known, _)| *known == timeouts) {
            return connector.clone();
        }
        let connector = SharedHttpConnector::new(Connectors::new(|| {
            let mut builder = Connector::builder().connector_settings(settings.clone());
            builder.set_sleep_impl(components.sleep_impl());
            builder
        }));
        known.push((timeouts, connector.clone()));
        connector
    })
}

/// Connect and read timeouts; connectors differ in nothing else.
type Timeouts = (Option<Duration>, Option<Duration>);

fn provider_config(http_client: &SharedHttpClient) -> ProviderConfig {
    ProviderConfig::without_region()
        .with_behavior_version(Some(BehaviorVersion::latest()))
        .with_http_client(http_client.clone())
}
