//! ECR's authorization token: Docker accepts every token that the agent accepts.

#![no_main]

use domain::credentials::{Token, docker_accepts, is_of_aws, stated_expiry};
use jiff::{SignedDuration, Timestamp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let now = Timestamp::constant(1_700_000_000, 0);
    let token = Token::from_answer(Some(text), Some(now + SignedDuration::from_hours(12)), now);
    assert_eq!(token.is_ok(), is_of_aws(text));
    assert!(!is_of_aws(text) || docker_accepts(text));
    stated_expiry(text);
});
