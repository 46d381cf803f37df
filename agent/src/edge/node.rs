//! Facts of this node: its name.

use nix::unistd::gethostname;

/// The node's host name, as it signs what it publishes.
pub fn name() -> String {
    gethostname().map_or_else(|_| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
}
