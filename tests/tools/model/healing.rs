//! How a state recovers once nothing disturbs the cluster. This is deterministic: the nodes make their passes one
//! after the other, so it is enough to remember the outcomes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::cluster::{Cluster, State};
use crate::node::{NODES, Outcome, Process};
use crate::outside::{LIFE, hash};

/// A cluster recovers within this many ticks; the longest wait is for a lock that is never released.
const LONGEST: u16 = 4;
/// One in this many recovered clusters is followed through the next life.
const FOLLOWED: u64 = 16;
/// The renewals in one life: they happen at half of it.
const RENEWALS: u16 = 2;

/// Known outcomes, by the state's hash.
#[derive(Debug, Default)]
pub(crate) struct Healing {
    ticks: Mutex<HashMap<u64, Option<u16>>>,
    lives_on: Mutex<HashMap<u64, bool>>,
}

impl Healing {
    /// The longest recovery of any state, in ticks.
    pub(crate) fn longest(&self) -> u16 {
        let known = self.ticks.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().copied().flatten().max().unwrap_or_default()
    }
}

impl Cluster {
    /// Makes every node complete its pass, in order.
    pub(crate) fn pass_of_all(&self, state: &mut State) {
        for node in 0..NODES {
            if state.nodes[node].process.is_none() {
                self.start(state, node);
            }
            while state.nodes[node].process.as_ref().is_some_and(|process| !process.is_done()) {
                self.step(state, node, Outcome::Fine, &|_| {});
            }
        }
    }

    /// Returns whether the cluster recovers in time and stays healthy.
    pub(crate) fn heals(&self, state: &State) -> bool {
        let is_done = |process: &Process| process.is_done();
        let is_calm = state.nodes.iter().all(|node| node.process.as_ref().is_some_and(is_done))
            && state.outside.is_calm();
        if !is_calm {
            // The steps to a calm state are no surprises, and that state is checked.
            return true;
        }
        let mut state = state.clone();
        (state.surprises, state.refused_ticks) = (0, 0);
        state.outside.late = None;
        self.ticks_to_heal(state, LONGEST).is_some()
    }

    fn ticks_to_heal(&self, mut state: State, left: u16) -> Option<u16> {
        self.pass_of_all(&mut state);
        let key = hash(&state);
        if let Some(known) = self.known(key) {
            return known.filter(|ticks| *ticks <= left);
        }
        let ticks = if self.is_whole(&state) {
            self.lives_on(&state, key).then_some(0)
        } else if left == 0 {
            return None;
        } else {
            let mut next = state;
            Self::tick(&mut next);
            self.ticks_to_heal(next, left - 1).map(|ticks| ticks + 1)
        };
        self.healing.ticks.lock().unwrap_or_else(PoisonError::into_inner).insert(key, ticks);
        ticks
    }

    fn known(&self, key: u64) -> Option<Option<u16>> {
        self.healing.ticks.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied()
    }

    fn is_whole(&self, state: &State) -> bool {
        let is_good = |process: &Process| process.is_good(&state.outside) && process.is_in_order();
        state.outside.file_is_good()
            && state.nodes.iter().all(|node| node.process.as_ref().is_some_and(is_good))
    }

    /// Returns whether, after all waits, the file stays good through the next renewals with one call to ECR for each.
    fn lives_on(&self, state: &State, key: u64) -> bool {
        if !key.is_multiple_of(FOLLOWED) {
            return true;
        }
        let mut state = state.clone();
        for _ in 0..LONGEST {
            Self::tick(&mut state);
            self.pass_of_all(&mut state);
        }
        let issued = state.outside.calls();
        let lives_on = (0..LIFE).all(|_| {
            Self::tick(&mut state);
            self.pass_of_all(&mut state);
            state.outside.file_is_good() && state.outside.calls() <= issued + RENEWALS
        });
        self.healing.lives_on.lock().unwrap_or_else(PoisonError::into_inner).insert(key, lives_on);
        lives_on
    }
}
