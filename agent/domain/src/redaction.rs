//! Redacts credentials in texts that people pass on. The agent's own texts contain none; this is a second line of
//! defense.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use regex_lite::Regex;

/// The replacement for a secret.
const REDACTED: &str = "[redacted]";
/// Shorter passwords occur in ordinary words.
const SHORTEST: usize = 6;

/// Patterns of secrets, and what is kept of them.
const FORMS: [(&str, &str); 5] = [
    // ECR tokens, session tokens.
    (r"[A-Za-z0-9+/_-]{120,}={0,2}", REDACTED),
    (r"\b(AKIA|ASIA)[A-Z0-9]{12,}", REDACTED),
    (r"://[^/\s@]+@", "://[redacted]@"),
    (r#"(?i)"(auth|identitytoken|password|secret\w*)"\s*:\s*"[^"]*""#, "\"$1\": \"[redacted]\""),
    (r"(?i)(secret_?access_?key|session_?token|password)\s*[=:]\s*\S+", "$1=[redacted]"),
];

/// What to redact.
#[derive(Debug)]
pub struct Redaction {
    known: Vec<String>,
    forms: Vec<(Regex, &'static str)>,
}

impl Redaction {
    /// Redacts these `auth` values, their passwords, and everything that looks like a secret.
    pub fn of<'a>(auths: impl Iterator<Item = &'a str>) -> Self {
        let mut known = Vec::new();
        for auth in auths {
            let decoded = STANDARD.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let password = decoded.as_deref().and_then(|text| text.split_once(':')).map(|(_, rest)| rest);
            let escaped = password.map(|password| serde_json::Value::from(password).to_string());
            known.extend(escaped.map(|quoted| quoted.trim_matches('"').to_owned()));
            known.extend(password.map(str::to_owned));
            known.push(auth.to_owned());
        }
        known.retain(|secret| secret.len() >= SHORTEST);
        // Longest first, since one secret may contain another.
        known.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        let forms = FORMS.map(|(form, kept)| (Regex::new(form).expect("a regular expression"), kept));
        Self { known, forms: forms.into() }
    }

    pub fn apply(&self, text: &str) -> String {
        let text = self.known.iter().fold(text.to_owned(), |text, secret| text.replace(secret, REDACTED));
        self.forms.iter().fold(text, |text, (form, kept)| form.replace_all(&text, *kept).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::{Redaction, STANDARD};
    use base64::Engine as _;

    #[test]
    fn secrets_go_and_the_rest_stays() {
        let auth = STANDARD.encode("hub:hunter\"2");
        let redaction = Redaction::of([auth.as_str()].into_iter());
        let check = |text: &str, expected: &str| assert_eq!(redaction.apply(text), expected);
        check(&format!("x {auth} y"), "x [redacted] y");
        check("password is hunter\"2.", "password is [redacted].");
        check(r#"{"a":"hunter\"2"}"#, r#"{"a":"[redacted]"}"#);
        check(&"Qa7+/_".repeat(30), "[redacted]");
        check("key ASIAIOSFODNN7EXAMPLE.", "key [redacted].");
        check("proxy http://user:pw@proxy:3128/", "proxy http://[redacted]@proxy:3128/");
        check(r#"{"auth" : "dTpw", "a": 1}"#, r#"{"auth": "[redacted]", "a": 1}"#);
        check("aws_secret_access_key = wJalr/K7 b", "aws_secret_access_key=[redacted] b");
        for plain in [
            "token:123456789123.dkr.ecr.us-east-1.amazonaws.com failed: denied",
            "2026-11-26T08:00:00Z INFO token refreshed registry=a.example expires_at=2026-11-26T20:00:00Z",
            "hdfs://ip-10-0-0-1.ec2.internal:8020/user/hadoop/config.json",
            "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        ] {
            check(plain, plain);
        }
    }
}
