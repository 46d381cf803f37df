//! Registry names: any host that Docker accepts, and ECR's hosts, which contain their account and Region.

mod challenge;

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use thiserror::Error;

pub use challenge::{BearerChallenge, UnsafeRealm, is_loopback};

/// The name under which Docker stores a registry's credentials: host name or address, with or without a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(String);

/// An ECR registry, identified by its host name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EcrRegistry {
    host: HostName,
    /// `None` for ECR Public, which all accounts share.
    account: Option<String>,
    region: Region,
}

/// Which API issues tokens for a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Service {
    /// ECR, with an API in each Region.
    Private,
    /// ECR Public, with a single API, in us-east-1.
    Public,
}

/// An AWS Region's name, as in `us-east-1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Region(String);

/// Why a host is not served.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotEcr {
    #[error("but {0:?} has upper-case letters: Docker and YARN compare bytes")]
    UpperCase(String),
    #[error("but {0:?} has a scheme: write only the host")]
    Scheme(String),
    #[error("but {0:?} has a path or tag: write only the host")]
    Path(String),
    #[error("but {0:?} does not start with a 12-digit account")]
    Account(String),
    #[error("but {0:?} does not continue with .dkr.ecr or .dkr-ecr")]
    Service(String),
    #[error("but {0:?} does not name a Region after that, in lower-case letters, digits and dashes")]
    Region(String),
    #[error("but {0:?} does not end in a domain of ECR")]
    Domain(String),
}

/// The domains of ECR's hosts, one or two for each AWS partition.
const DOMAINS: [&str; 9] = [
    "amazonaws.com",
    "amazonaws.com.cn",
    "amazonaws.eu",
    "on.aws",
    "on.amazonwebservices.com.cn",
    "c2s.ic.gov",
    "sc2s.sgov.gov",
    "cloud.adc-e.uk",
    "csp.hci.ic.gov",
];
/// ECR Public's hosts.
const PUBLIC: [&str; 2] = ["public.ecr.aws", "ecr-public.aws.com"];
/// The Region where ECR Public issues its tokens.
const PUBLIC_REGION: &str = "us-east-1";

/// The IPv6 address of EC2's metadata service.
const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// Whether a request to `host`, in URL syntax, stays on this machine or its link, where AWS's metadata services are.
pub fn is_near(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse().map(|address: IpAddr| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unicast_link_local() || address == METADATA
        }
        Err(_) => host == "localhost",
    }
}

impl HostName {
    /// `None` unless the text is a host that can be the key of an `auths` entry.
    pub fn parse(text: &str) -> Option<Self> {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
        let good = !host.is_empty()
            && host.chars().all(allowed)
            && port.is_none_or(|port| port.parse::<u16>().is_ok());
        good.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl EcrRegistry {
    /// Parses `<account>.dkr.ecr[-fips].<region>.<domain>`, the dual-stack form `dkr-ecr`, and the hosts of ECR
    /// Public.
    pub fn parse(host: &str) -> Result<Self, NotEcr> {
        let own = || host.to_owned();
        if host.contains("://") {
            return Err(NotEcr::Scheme(own()));
        }
        if host.contains(['/', ':', '@']) {
            return Err(NotEcr::Path(own()));
        }
        if PUBLIC.contains(&host) {
            let region = Region(PUBLIC_REGION.to_owned());
            return Ok(Self { host: HostName(own()), account: None, region });
        }
        if host.contains(|c: char| c.is_ascii_uppercase()) {
            return Err(NotEcr::UpperCase(own()));
        }
        let (account, rest) = host.split_once('.').ok_or_else(|| NotEcr::Account(own()))?;
        if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotEcr::Account(own()));
        }
        let services = ["dkr.ecr.", "dkr.ecr-fips.", "dkr-ecr.", "dkr-ecr-fips."];
        let rest = services
            .iter()
            .find_map(|service| rest.strip_prefix(service))
            .ok_or_else(|| NotEcr::Service(own()))?;
        let (region, domain) = rest.split_once('.').ok_or_else(|| NotEcr::Domain(own()))?;
        if !DOMAINS.contains(&domain) {
            return Err(NotEcr::Domain(own()));
        }
        let region = Region::parse(region).ok_or_else(|| NotEcr::Region(own()))?;
        Ok(Self { host: HostName(own()), account: Some(account.to_owned()), region })
    }

    pub fn host(&self) -> &HostName {
        &self.host
    }

    /// The 12-digit account that owns the registry; `None` for ECR Public.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// The Region that issues its tokens.
    pub fn region(&self) -> &Region {
        &self.region
    }

    pub fn service(&self) -> Service {
        if self.account.is_some() { Service::Private } else { Service::Public }
    }
}

impl Service {
    /// The IAM actions that a call for an authorization token needs.
    pub fn token_actions(self) -> &'static [&'static str] {
        match self {
            Self::Private => &["ecr:GetAuthorizationToken"],
            Self::Public => &["ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"],
        }
    }
}

/// The IAM actions that a pull from a private registry needs.
pub(crate) const PULL_ACTIONS: [&str; 3] =
    ["ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage"];

impl Region {
    /// `None` unless the text has a Region's shape: it becomes part of the endpoint's host name, so
    /// nothing else may pass.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let good = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.len() <= 40
            && text.chars().all(allowed);
        good.then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{EcrRegistry, HostName, NotEcr, Service, is_near};

    #[test]
    fn only_this_machine_and_its_metadata_are_near() {
        for near in ["localhost", "127.0.0.1", "127.8.0.1", "[::1]", "169.254.169.254", "[fd00:ec2::254]"] {
            assert!(is_near(near), "{near}");
        }
        for far in
            ["10.0.0.1", "localhost.example.com", "api.ecr.us-east-1.amazonaws.com", "[fd00:ec2::253]", ""]
        {
            assert!(!is_near(far), "{far}");
        }
    }

    #[test]
    fn reads_every_form_of_ecr_host() {
        let check = |host: &str, region: &str| {
            let registry = EcrRegistry::parse(host).expect(host);
            let facts = (registry.account(), registry.region().as_str());
            assert_eq!(facts, (Some("123456789123"), region), "{host}");
            assert_eq!(registry.service(), Service::Private, "{host}");
        };
        check("123456789123.dkr.ecr.us-east-1.amazonaws.com", "us-east-1");
        check("123456789123.dkr.ecr-fips.us-east-2.amazonaws.com", "us-east-2");
        check("123456789123.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1");
        check("123456789123.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1");
        check("123456789123.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1");
        check("123456789123.dkr.ecr.us-iso-east-1.c2s.ic.gov", "us-iso-east-1");
        check("123456789123.dkr.ecr.us-isob-east-1.sc2s.sgov.gov", "us-isob-east-1");
        check("123456789123.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk", "eu-isoe-west-1");
        check("123456789123.dkr.ecr.us-isof-south-1.csp.hci.ic.gov", "us-isof-south-1");
        check("123456789123.dkr-ecr.us-west-2.on.aws", "us-west-2");
        check("123456789123.dkr-ecr-fips.us-west-2.on.aws", "us-west-2");
        check("123456789123.dkr-ecr.cn-north-1.on.amazonwebservices.com.cn", "cn-north-1");
    }

    #[test]
    fn ecr_public_is_everybodys_and_asked_in_one_region() {
        for host in ["public.ecr.aws", "ecr-public.aws.com"] {
            let registry = EcrRegistry::parse(host).expect(host);
            assert_eq!((registry.account(), registry.region().as_str()), (None, "us-east-1"), "{host}");
            assert_eq!(registry.service(), Service::Public, "{host}");
        }
    }

    #[test]
    fn refuses_others_with_the_reason() {
        let check = |host: &str, expected: fn(String) -> NotEcr| {
            assert_eq!(EcrRegistry::parse(host), Err(expected(host.to_owned())), "{host}");
        };
        check("registry.example.com", NotEcr::Account);
        check("local", NotEcr::Account);
        check("12345.dkr.ecr.us-east-1.amazonaws.com", NotEcr::Account);
        check("https://123456789123.dkr.ecr.us-east-1.amazonaws.com", NotEcr::Scheme);
        check("123456789123.dkr.ecr.us-east-1.amazonaws.com/app", NotEcr::Path);
        check("123456789123.dkr.ecr.us-east-1.amazonaws.com:443", NotEcr::Path);
        check("123456789123.dkr.ECR.us-east-1.amazonaws.com", NotEcr::UpperCase);
        check("123456789123.s3.us-east-1.amazonaws.com", NotEcr::Service);
        check("123456789123.dkr.ecr.us-east-1.example.com", NotEcr::Domain);
        check("123456789123.dkr.ecr.us-east-1.amazonaws.com.", NotEcr::Domain);
        check("123456789123.dkr.ecr.us+east.amazonaws.com", NotEcr::Region);
    }

    #[test]
    fn host_names_are_what_docker_files_under() {
        for good in ["localhost", "127.0.0.1:5000", "registry.example.com", "a-b.c:65535"] {
            assert!(HostName::parse(good).is_some(), "{good}");
        }
        for bad in ["", ":1", "a:b", "a:70000", "a/b", "https://a", "a b", "a\n"] {
            assert!(HostName::parse(bad).is_none(), "{bad}");
        }
    }
}
