//! Parses a request's signature for the stand-ins: access key, Region and time. They do not verify the signature,
//! but reject a wrong time, as AWS does.

use bytes::Bytes;
use hyper::header::{AUTHORIZATION, DATE};
use hyper::{Request, Response};
use jiff::civil::DateTime;
use jiff::fmt::rfc2822::DateTimePrinter;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// Parsed from an `Authorization` header of Signature Version 4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signer {
    pub access_key: String,
    pub region: String,
}

impl Signer {
    /// `None` if the request is not signed.
    pub fn of(request: &Request<Bytes>) -> Option<Self> {
        let authorization = request.headers().get(AUTHORIZATION)?.to_str().ok()?;
        // AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, ...
        let credential = authorization
            .strip_prefix("AWS4-HMAC-SHA256 ")?
            .split(',')
            .find_map(|field| field.trim().strip_prefix("Credential="))?;
        let mut parts = credential.split('/');
        let access_key = parts.next()?.to_owned();
        let region = parts.nth(1)?.to_owned();
        Some(Self { access_key, region })
    }
}

/// AWS's error message if a service whose clock shows `now` rejects the time of the signature.
pub fn stale(request: &Request<Bytes>, now: Timestamp) -> Option<String> {
    let signed = request.headers().get("x-amz-date")?.to_str().ok()?;
    let at = DateTime::strptime("%Y%m%dT%H%M%SZ", signed).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp();
    let (now_text, bound) = (now.strftime("%Y%m%dT%H%M%SZ"), SIGNATURE_LIFE);
    if at + bound < now {
        return Some(format!("Signature expired: {signed} is now earlier than {now_text} - 5 min."));
    }
    (at - bound > now)
        .then(|| format!("Signature not yet current: {signed} is still later than {now_text} + 5 min."))
}

/// Sets the response's `Date` header to the service's clock.
pub fn set_date(response: &mut Response<Bytes>, now: Timestamp) {
    let date = DateTimePrinter::new().timestamp_to_rfc9110_string(&now).ok();
    if let Some(date) = date.and_then(|date| date.parse().ok()) {
        response.headers_mut().insert(DATE, date);
    }
}

const SIGNATURE_LIFE: SignedDuration = SignedDuration::from_mins(5);

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::Request;
    use jiff::{SignedDuration, Timestamp};

    use super::{Signer, stale};

    fn request() -> Request<Bytes> {
        let authorization = "AWS4-HMAC-SHA256 Credential=AKIA/20260102/eu-west-1/ecr/aws4_request, SignedHeaders=host, Signature=0";
        Request::builder()
            .header("authorization", authorization)
            .header("x-amz-date", "20260102T030405Z")
            .body(Bytes::new())
            .expect("a request")
    }

    #[test]
    fn signer_is_parsed() {
        let expected = Signer { access_key: "AKIA".to_owned(), region: "eu-west-1".to_owned() };
        assert_eq!(Signer::of(&request()), Some(expected));
        assert_eq!(Signer::of(&Request::new(Bytes::new())), None);
    }

    #[test]
    fn signatures_are_valid_for_five_minutes_either_way() {
        let signed: Timestamp = "2026-01-02T03:04:05Z".parse().expect("a time");
        let check = |seconds: i64, expected: Option<&str>| {
            let refusal = stale(&request(), signed + SignedDuration::from_secs(seconds));
            assert_eq!(refusal.as_deref().map(|text| &text[..21]), expected, "{seconds}");
        };
        check(0, None);
        check(300, None);
        check(-300, None);
        check(301, Some("Signature expired: 20"));
        check(-301, Some("Signature not yet cur"));
    }
}
