//! What one authorization token covers: an API, a Region, the identity that requests it, and an endpoint.
//! Registries with the same scope share one token and one request.

use std::fmt;

use crate::registry::{EcrRegistry, Region, Service, is_near};

/// One API of ECR in one Region, for one identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenScope {
    pub service: Service,
    pub region: Region,
    pub identity: AwsIdentity,
    /// `None` leaves the endpoint to the AWS SDK's own settings.
    pub endpoint: Option<Endpoint>,
}

/// The identity that requests a token; by default the node's own, from the SDK's credential chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AwsIdentity {
    /// A profile of `~/.aws/config` instead of the default one.
    pub profile: Option<ProfileName>,
    /// A role to assume with those credentials.
    pub role: Option<Role>,
}

/// A role to assume through STS.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Role {
    pub arn: RoleArn,
    pub external_id: Option<ExternalId>,
    pub session_name: SessionName,
}

/// Defines a string type that satisfies a rule, so that it can be part of a request.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $rule:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Returns `None` if `text` does not satisfy the rule.
            pub fn parse(text: &str) -> Option<Self> {
                $rule(text).then(|| Self(text.to_owned()))
            }

            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

checked_text!(
    /// `arn:<partition>:iam::<account>:role/<path and name>`.
    RoleArn,
    is_role_arn
);
checked_text!(
    /// The external id that a role's trust policy may require, 2 to 1224 characters; not a secret.
    ExternalId,
    is_external_id
);
checked_text!(
    /// The name of a role session in CloudTrail, 2 to 64 characters.
    SessionName,
    is_session_name
);
checked_text!(
    /// The name of a profile in `~/.aws/config`.
    ProfileName,
    is_profile_name
);
checked_text!(
    /// An `http://` or `https://` URL with a host, without user, query or fragment.
    Endpoint,
    is_endpoint
);

impl TokenScope {
    /// The default scope of `registry`.
    pub fn of(registry: &EcrRegistry) -> Self {
        Self {
            service: registry.service(),
            region: registry.region().clone(),
            identity: AwsIdentity::default(),
            endpoint: None,
        }
    }
}

impl fmt::Display for TokenScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.service {
            Service::Private => write!(f, "ECR in {}", self.region)?,
            Service::Public => f.write_str("ECR Public")?,
        }
        if let Some(endpoint) = &self.endpoint {
            write!(f, " at {endpoint}")?;
        }
        if let Some(role) = &self.identity.role {
            write!(f, " as {}", role.arn)?;
        }
        if let Some(profile) = &self.identity.profile {
            write!(f, " by the profile {profile}")?;
        }
        Ok(())
    }
}

fn is_role_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let &["arn", partition, "iam", "", account, resource] = parts.as_slice() else { return false };
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let name = resource.strip_prefix("role/").unwrap_or_default();
    partition.starts_with("aws")
        && partition.chars().all(is_word)
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && !name.is_empty()
        && !name.ends_with('/')
        && text.len() <= 2048
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "+=,.@_-/".contains(c))
}

fn is_external_id(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@:/-".contains(c);
    (2..=1224).contains(&text.len()) && text.chars().all(allowed)
}

fn is_session_name(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c);
    (2..=64).contains(&text.len()) && text.chars().all(allowed)
}

fn is_profile_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_control() || "[]".contains(c)) && text.trim() == text
}

fn is_endpoint(text: &str) -> bool {
    let plain = text.strip_prefix("http://");
    let rest = text.strip_prefix("https://").or(plain);
    let host = rest.and_then(|rest| rest.split('/').next()).unwrap_or_default();
    let is_safe = plain.is_none() || is_near(without_port(host));
    let is_plain = |c: char| c.is_ascii_graphic() && !"@?#\"\\<>".contains(c);
    !host.is_empty() && !host.starts_with(':') && text.chars().all(is_plain) && is_safe
}

fn without_port(host: &str) -> &str {
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::{AwsIdentity, Endpoint, ExternalId, ProfileName, Role, RoleArn, SessionName, TokenScope};
    use crate::registry::EcrRegistry;

    const ARN: &str = "arn:aws:iam::210987654321:role/team/ecr-reader";

    #[test]
    fn a_role_is_named_by_its_whole_arn() {
        let check = |text: &str, good: bool| assert_eq!(RoleArn::parse(text).is_some(), good, "{text}");
        check(ARN, true);
        check("arn:aws-us-gov:iam::210987654321:role/r", true);
        for bad in [
            "",
            "ecr-reader",
            "arn:aws:iam::210987654321:role/",
            "arn:aws:iam::210987654321:role/a/",
            "arn:aws:iam::210987654321:user/a",
            "arn:aws:iam::2109:role/a",
            "arn:aws:sts::210987654321:assumed-role/a/b",
            "arn:AWS:iam::210987654321:role/a",
            "arn:aws:iam::210987654321:role/a b",
            "arn:aws:iam:us-east-1:210987654321:role/a",
        ] {
            check(bad, false);
        }
    }

    #[test]
    fn what_goes_into_a_request_is_plain() {
        let check = |good: bool, expected: bool, text: &str| assert_eq!(good, expected, "{text}");
        for (text, expected) in
            [("ab", true), ("a", false), ("a b", false), ("org:42/x", true), ("a\n", false)]
        {
            check(ExternalId::parse(text).is_some(), expected, text);
        }
        for (text, expected) in [("emr-ecr-agent", true), ("a", false), ("a:b", false), ("a/b", false)] {
            check(SessionName::parse(text).is_some(), expected, text);
        }
        for (text, expected) in [("dev", true), ("", false), (" dev", false), ("a]b", false), ("a b", true)] {
            check(ProfileName::parse(text).is_some(), expected, text);
        }
        for (text, expected) in [
            ("https://vpce-1.api.ecr.us-east-1.vpce.amazonaws.com", true),
            ("http://127.0.0.1:8080/ecr", true),
            ("http://[::1]:8080", true),
            ("http://169.254.170.2", true),
            ("http://api.ecr.us-east-1.amazonaws.com", false),
            ("http://localhost.example.com:80", false),
            ("ftp://a", false),
            ("https://", false),
            ("https:///a", false),
            ("https://:443", false),
            ("https://user:password@host", false),
            ("https://host?a=b", false),
            ("host", false),
        ] {
            check(Endpoint::parse(text).is_some(), expected, text);
        }
    }

    #[test]
    fn a_name_tells_issuers_apart() {
        let registry =
            EcrRegistry::parse("123456789123.dkr.ecr.us-east-1.amazonaws.com").expect("a registry");
        let mut scope = TokenScope::of(&registry);
        assert_eq!(scope.to_string(), "ECR in us-east-1");
        scope.identity = AwsIdentity {
            profile: ProfileName::parse("base"),
            role: Some(Role {
                arn: RoleArn::parse(ARN).expect("an ARN"),
                external_id: ExternalId::parse("agreed"),
                session_name: SessionName::parse("emr-ecr-agent").expect("a name"),
            }),
        };
        scope.endpoint = Endpoint::parse("https://host");
        assert_eq!(
            scope.to_string(),
            format!("ECR in us-east-1 at https://host as {ARN} by the profile base")
        );
        let public = EcrRegistry::parse("public.ecr.aws").expect("ECR Public");
        assert_eq!(TokenScope::of(&public).to_string(), "ECR Public");
    }
}
