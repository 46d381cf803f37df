//! A node that can act as several identities: its own, a profile with its own keys, and roles through STS.

use std::ops::{Deref, DerefMut};

use jiff::SignedDuration;
use serde_json::Value;

use super::{Error, TWELVE_HOURS, Testbed};
use crate::ecr::Ecr;
use crate::sts::{Role, Sts};

/// A registry of another account, in the same Region as the trusted one.
pub const OTHERS: &str = "210987654321.dkr.ecr.us-east-1.amazonaws.com";
/// A registry of a third account.
pub const THIRD: &str = "333333333333.dkr.ecr.us-east-1.amazonaws.com";
pub const PUBLIC: &str = "public.ecr.aws";
/// The role that `OTHERS` requires.
pub const READER: Role = Role {
    arn: "arn:aws:iam::210987654321:role/ecr-reader",
    external_id: Some("agreed:42"),
    access_key: "ASIAREADER",
    life: SignedDuration::from_hours(1),
};
/// The profile and its keys.
pub const PROFILE: &str = "other";
pub const PROFILE_KEY: &str = "AKIAOFTHEPROFILE";
pub const PROFILE_SECRET_KEY: &str = "profile-secret-K7MDENGbPxRfiCYEXAMPLE";

/// The testbed of such a node, with STS and a separate server for ECR Public.
#[derive(Debug)]
pub struct Identities {
    testbed: Testbed,
    pub sts: Sts,
    pub public: Ecr,
}

impl Identities {
    /// A node without HDFS.
    pub async fn new() -> Result<Self, Error> {
        Self::around(Testbed::without_hdfs().await?).await
    }

    pub async fn around(testbed: Testbed) -> Result<Self, Error> {
        let (sts, public) = (Sts::start().await?, Ecr::start(TWELVE_HOURS).await?);
        let identities = Self { testbed, sts, public };
        identities.write_aws_config()?;
        Ok(identities)
    }

    /// Adds the registry `OTHERS`, whose tokens are requested with the role `READER`.
    pub fn add_others_by_role(&mut self) {
        self.sts.allow(READER);
        let keys = [("role_arn", READER.arn), ("external_id", READER.external_id.unwrap_or_default())];
        self.testbed.settings.registry_with(OTHERS, &keys);
    }

    /// The access keys that signed calls to private ECR, sorted.
    pub fn keys(&self) -> Vec<String> {
        let mut keys: Vec<String> =
            self.testbed.ecr.calls().into_iter().map(|call| call.access_key).collect();
        keys.sort();
        keys
    }

    /// The registry's `auth` in the node's Docker config.
    pub fn auth(&self, name: &str) -> Option<String> {
        self.testbed.docker_config().ok()?["auths"][name]["auth"].as_str().map(str::to_owned)
    }

    fn write_aws_config(&self) -> Result<(), Error> {
        let (ecr, imds) = (self.testbed.ecr.address(), self.testbed.imds.address());
        let (public, sts) = (self.public.address(), self.sts.address());
        let text = format!(
            "[default]
ec2_metadata_service_endpoint = http://{imds}
services = sandbox

[profile {PROFILE}]
aws_access_key_id = {PROFILE_KEY}
aws_secret_access_key = {PROFILE_SECRET_KEY}
services = sandbox

[services sandbox]
ecr =
  endpoint_url = http://{ecr}
ecr-public =
  endpoint_url = http://{public}
sts =
  endpoint_url = http://{sts}
"
        );
        Ok(self.testbed.node.write("aws/.aws/config", &text)?)
    }
}

impl Deref for Identities {
    type Target = Testbed;

    fn deref(&self) -> &Testbed {
        &self.testbed
    }
}

impl DerefMut for Identities {
    fn deref_mut(&mut self) -> &mut Testbed {
        &mut self.testbed
    }
}

/// The status of a registry.
pub fn registry<'s>(status: &'s Value, host: &str) -> Option<&'s Value> {
    status["registries"].as_array()?.iter().find(|registry| registry["host"] == host)
}

/// Returns `Some` if the registry has a token.
pub fn has_token(status: &Value, host: &str) -> Option<()> {
    registry(status, host)?["expires_at"].is_string().then_some(())
}
