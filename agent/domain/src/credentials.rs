//! Credentials that the agent publishes: authorization tokens and static entries, and the identities that request
//! tokens.

mod credential;
mod rejections;
mod renewal;
mod static_credentials;
mod token;
mod token_scope;

pub use credential::{Credential, Credentials, EntryName, StaticCredential, auth_oddity, docker_accepts};
pub use hadoop_rules::Secret;
pub use rejections::Rejections;
pub use renewal::Renewal;
pub use static_credentials::{BadCredentials, StaticCredentials};
pub use token::{BadToken, LONGEST_LIFE, Origin, Principal, Token, is_of_aws, stated_expiry};
pub use token_scope::{
    AwsIdentity, Endpoint, ExternalId, ProfileName, Role, RoleArn, SessionName, TokenScope,
};
