//! What is published: authorization tokens and static entries, and the identity a token is asked for with.

mod credential;
mod issuer;
mod secret;
mod static_credentials;
mod token;

pub use credential::{Credential, Credentials, EntryName, StaticCredential};
pub use issuer::{Endpoint, ExternalId, Identity, Issuer, ProfileName, Role, RoleArn, SessionName};
pub use secret::Secret;
pub use static_credentials::{BadCredentials, StaticCredentials};
pub use token::{BadToken, Holder, LONGEST_LIFE, Origin, Token, stated_expiry};
