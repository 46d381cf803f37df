//! The challenge by which a registry names its token server.

use std::net::Ipv4Addr;

use http_auth::ChallengeRef;
use url::Url;

/// Where to get the token that a registry requires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BearerChallenge {
    url: Url,
}

/// The registry names no token server, or one that no credential may be sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnsafeRealm;

impl BearerChallenge {
    /// From the header `WWW-Authenticate`; `None` if it asks for no bearer token.
    pub fn parse(header: &str) -> Result<Option<Self>, UnsafeRealm> {
        // What is not a challenge is a response like any other.
        let challenges = http_auth::parse_challenges(header).unwrap_or_default();
        let bearer = challenges.iter().find(|challenge| challenge.scheme.eq_ignore_ascii_case("bearer"));
        let Some(challenge) = bearer else { return Ok(None) };
        realm(challenge).map(|url| Some(Self { url })).ok_or(UnsafeRealm)
    }

    /// Of the token server, with the service and scope that the registry requires.
    pub fn url(&self) -> &Url {
        &self.url
    }
}

fn realm(challenge: &ChallengeRef<'_>) -> Option<Url> {
    let param = |name: &str| {
        let found = challenge.params.iter().find(|(param, _)| param.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.to_unescaped())
    };
    let mut url = Url::parse(&param("realm")?).ok()?;
    let safe = match url.scheme() {
        "https" => true,
        "http" => is_loopback(url.host_str()?),
        _ => false,
    };
    if !safe {
        return None;
    }
    for name in ["service", "scope"] {
        if let Some(value) = param(name) {
            url.query_pairs_mut().append_pair(name, &value);
        }
    }
    Some(url)
}

/// Docker speaks plain HTTP to such registries.
pub fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::{BearerChallenge, UnsafeRealm};

    #[test]
    fn credentials_go_to_https_or_loopback_only() {
        let check = |header: &str, expected: Result<Option<&str>, UnsafeRealm>| {
            let parsed = BearerChallenge::parse(header);
            let url = parsed.map(|challenge| challenge.map(|challenge| challenge.url().to_string()));
            assert_eq!(url, expected.map(|url| url.map(str::to_owned)), "{header}");
        };
        check("", Ok(None));
        check("Basic realm=\"https://ecr.example.com\"", Ok(None));
        check("nonsense, =", Ok(None));
        check(
            "Bearer realm=\"https://auth.docker.io/token\",service=\"registry.docker.io\",scope=\"a:b\"",
            Ok(Some("https://auth.docker.io/token?service=registry.docker.io&scope=a%3Ab")),
        );
        check("bearer realm=\"http://127.0.0.1:5000/token\"", Ok(Some("http://127.0.0.1:5000/token")));
        for unsafe_realm in ["http://auth.example.com/token", "ftp://auth.example.com", "token", ""] {
            check(&format!("Bearer realm=\"{unsafe_realm}\""), Err(UnsafeRealm));
        }
        check("Bearer service=\"a\"", Err(UnsafeRealm));
    }
}
