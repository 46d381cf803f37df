//! What a finding leads to.

use serde::{Deserialize, Serialize};

/// From the widest to the narrowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// EMR does not create the cluster.
    ClusterCreationFails,
    /// Every Docker launch on the node fails.
    NodeLaunchesFail,
    /// Launches of some images, or with some requests, fail.
    ImageLaunchesFail,
    /// No launch fails because of it alone; something works worse, fails later, or is not known.
    Degraded,
    /// Informational only.
    None,
}

impl Effect {
    /// The name in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClusterCreationFails => "cluster_creation_fails",
            Self::NodeLaunchesFail => "node_launches_fail",
            Self::ImageLaunchesFail => "image_launches_fail",
            Self::Degraded => "degraded",
            Self::None => "none",
        }
    }
}
