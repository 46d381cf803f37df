//! What the search has seen: a property that holds because nothing happens would prove nothing.

use std::sync::atomic::{AtomicU64, Ordering};

/// An event that must occur in some of the states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sight {
    Adopted,
    AdoptedUnproven,
    RejectedReplaced,
    Overtaken,
    LockTakenOver,
    Impatient,
}

/// How often each event was seen.
#[derive(Debug, Default)]
pub(crate) struct Sights([AtomicU64; Sight::ALL.len()]);

impl Sight {
    pub(crate) const ALL: [Self; 6] = [
        Self::Adopted,
        Self::AdoptedUnproven,
        Self::RejectedReplaced,
        Self::Overtaken,
        Self::LockTakenOver,
        Self::Impatient,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Adopted => "a published token was adopted",
            Self::AdoptedUnproven => "a published token was used unproven",
            Self::RejectedReplaced => "a rejected credential was replaced",
            Self::Overtaken => "a write was overtaken",
            Self::LockTakenOver => "an abandoned lock was taken over",
            Self::Impatient => "ECR was asked without the lock",
        }
    }
}

impl Sights {
    pub(crate) fn note(&self, sight: Sight) {
        self.0[sight as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count(&self, sight: Sight) -> u64 {
        self.0[sight as usize].load(Ordering::Relaxed)
    }
}
