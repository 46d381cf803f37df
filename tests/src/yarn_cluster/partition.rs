//! Partitions of YARN clusters: node labels with which launches choose their node.

use super::Error;
use crate::reservation::Reservation;

/// A node's own partition, reserved until dropped, because clusters can share a ResourceManager.
#[derive(Debug)]
pub(super) struct Partition(Reservation);

/// Queues must name the labels in advance.
const COUNT: u16 = 32;

impl Partition {
    pub(super) fn reserve() -> Result<Self, Error> {
        let reserved = Reservation::first("partitions", 1..=COUNT, |_| true).map_err(|(path, source)| {
            Error::File { operation: "create the directory of partition locks", path, source }
        })?;
        reserved.map(Self).ok_or(Error::NoPartition { count: COUNT })
    }

    pub(super) fn label(&self) -> String {
        label_of(self.0.number())
    }

    /// All possible labels.
    pub(super) fn labels() -> impl Iterator<Item = String> {
        (1..=COUNT).map(label_of)
    }
}

fn label_of(number: u16) -> String {
    format!("partition{number}")
}
