//! The `[[registries]]` tables: which registries to serve, under which names, and with which AWS identity their tokens
//! are requested.

use super::reader::{Section, Value};
use super::values::host_names;
use crate::credentials::{
    AwsIdentity, Endpoint, ExternalId, ProfileName, Role, RoleArn, SessionName, TokenScope,
};
use crate::registry::{EcrRegistry, HostName, Region, Service};

/// A registry to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrySettings {
    pub registry: EcrRegistry,
    /// Other names under which the same credential is stored.
    pub aliases: Vec<HostName>,
    /// Where its tokens come from, and the AWS identity that requests them.
    pub scope: TokenScope,
}

/// The default name of the agent's role sessions in CloudTrail.
const SESSION_NAME: &str = "emr-ecr-agent";

impl RegistrySettings {
    /// The registry without aliases, with the node's own identity.
    pub fn of(registry: EcrRegistry) -> Self {
        Self { scope: TokenScope::of(&registry), registry, aliases: Vec::new() }
    }

    /// All names under which its credential is stored.
    pub fn names(&self) -> impl Iterator<Item = &HostName> {
        std::iter::once(self.registry.host()).chain(&self.aliases)
    }

    /// Reads one table; `None` if it names no registry. `known` holds the registries of the tables before it.
    pub(super) fn read(table: &mut Section<'_, '_>, known: &[Self]) -> Option<Self> {
        let registry = table.required("host", |value| {
            let registry = ecr_registry(value)?;
            if known.iter().any(|other| other.registry == registry) {
                Err("repeats the host of a table above: a registry has one identity".to_owned())
            } else if known.iter().any(|other| other.aliases.contains(registry.host())) {
                Err("is an alias of a table above: a name has one credential".to_owned())
            } else {
                Ok(registry)
            }
        });
        let is_public = registry.as_ref().is_some_and(|r| r.service() == Service::Public);
        let region = table.optional("region", |value| {
            if is_public {
                Err("does not apply to ECR Public, which always uses us-east-1".to_owned())
            } else {
                region(value)
            }
        });
        let identity = read_identity(table);
        let endpoint = table.optional("endpoint", endpoint);
        let scope = registry.as_ref().map(|registry| {
            let region = region.unwrap_or_else(|| registry.region().clone());
            TokenScope { service: registry.service(), region, identity, endpoint }
        });
        let is_taken = |name: &HostName| {
            let mut others =
                known.iter().filter(|other| scope.as_ref().is_some_and(|scope| other.scope != *scope));
            others.any(|other| other.names().any(|taken| taken == name))
        };
        let mut aliases = Vec::new();
        table.set("aliases", &mut aliases, |value| {
            let names = host_names(value)?;
            match names.iter().find(|name| is_taken(name)) {
                Some(name) => {
                    Err(format!("holds {name}, a name in a table above: a name has one credential"))
                }
                None => Ok(names),
            }
        });
        Some(Self { registry: registry?, aliases, scope: scope? })
    }
}

fn read_identity(table: &mut Section<'_, '_>) -> AwsIdentity {
    let names_role = table.has("role_arn");
    let beside_role = || if names_role { Ok(()) } else { Err("requires role_arn".to_owned()) };
    let arn = table.optional("role_arn", role_arn);
    let external_id = table.optional("external_id", |value| beside_role().and_then(|()| external_id(value)));
    let session_name =
        table.optional("session_name", |value| beside_role().and_then(|()| session_name(value)));
    let session_name = session_name.or_else(|| SessionName::parse(SESSION_NAME));
    let role = arn.zip(session_name).map(|(arn, session_name)| Role { arn, external_id, session_name });
    AwsIdentity { profile: table.optional("profile", profile), role }
}

fn ecr_registry(value: &Value<'_>) -> Result<EcrRegistry, String> {
    let host = value.string().ok_or_else(|| "must be a host name in quotes".to_owned())?;
    EcrRegistry::parse(host).map_err(|error| format!("must be the host name of an ECR registry, {error}"))
}

fn region(value: &Value<'_>) -> Result<Region, String> {
    let region = value.string().and_then(Region::parse);
    region.ok_or_else(|| "must be an AWS Region in quotes, such as \"us-east-1\"".to_owned())
}

fn role_arn(value: &Value<'_>) -> Result<RoleArn, String> {
    let arn = value.string().and_then(RoleArn::parse);
    arn.ok_or_else(|| {
        "must be the ARN of a role in quotes, such as \"arn:aws:iam::210987654321:role/ecr-reader\""
            .to_owned()
    })
}

fn external_id(value: &Value<'_>) -> Result<ExternalId, String> {
    let id = value.string().and_then(ExternalId::parse);
    id.ok_or_else(|| "must be 2 to 1224 letters, digits and characters of _+=,.@:/- in quotes".to_owned())
}

fn session_name(value: &Value<'_>) -> Result<SessionName, String> {
    let name = value.string().and_then(SessionName::parse);
    name.ok_or_else(|| "must be 2 to 64 letters, digits and characters of _+=,.@- in quotes".to_owned())
}

fn profile(value: &Value<'_>) -> Result<ProfileName, String> {
    let name = value.string().and_then(ProfileName::parse);
    name.ok_or_else(|| "must be the name of a profile of ~/.aws/config in quotes".to_owned())
}

fn endpoint(value: &Value<'_>) -> Result<Endpoint, String> {
    let endpoint = value.string().and_then(Endpoint::parse);
    endpoint.ok_or_else(|| {
        "must be an https:// URL in quotes, or http:// for this machine, such as \"https://vpce-1.api.ecr.us-east-1.vpce.amazonaws.com\""
            .to_owned()
    })
}
