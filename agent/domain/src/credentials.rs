//! What is published: authorization tokens and static entries, and the identity a token is asked for with.

mod credential;
mod issuer;
mod static_credentials;
mod token;

pub use credential::{Credential, Credentials, EntryName, StaticCredential};
pub use hadoop_rules::Secret;
pub use issuer::{Endpoint, ExternalId, Identity, Issuer, ProfileName, Role, RoleArn, SessionName};
pub use static_credentials::{BadCredentials, StaticCredentials};
pub use token::{BadToken, Holder, LONGEST_LIFE, Origin, Token, stated_expiry};
