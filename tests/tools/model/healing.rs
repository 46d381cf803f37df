//! What becomes of a state once nothing disturbs the cluster any more. That is no longer a matter of choice: the nodes
//! make their passes one after the other, and so only the ends are remembered.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::cluster::{Cluster, State};
use crate::node::{NODES, Outcome, Process};
use crate::outside::{LIFE, hash};

/// A cluster is whole again within so many ticks: the longest wait is the one for a lock that nobody releases.
const LONGEST: u16 = 4;
/// One in this many whole clusters is followed through the next life.
const FOLLOWED: u64 = 16;
/// Renewals that a life has room for: they come at half of it.
const RENEWALS: u16 = 2;

/// What is known already, by the state's hash.
#[derive(Debug, Default)]
pub(crate) struct Healing {
    ticks: Mutex<HashMap<u64, Option<u16>>>,
    lives_on: Mutex<HashMap<u64, bool>>,
}

impl Healing {
    /// The longest that any state took, in ticks.
    pub(crate) fn longest(&self) -> u16 {
        let known = self.ticks.lock().unwrap_or_else(PoisonError::into_inner);
        known.values().copied().flatten().max().unwrap_or_default()
    }
}

impl Cluster {
    /// Lets every node make its pass, or the rest of it, in order.
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

    /// Whether the cluster becomes whole in time, and stays so.
    pub(crate) fn heals(&self, state: &State) -> bool {
        let is_done = |process: &Process| process.is_done();
        let is_calm = state.nodes.iter().all(|node| node.process.as_ref().is_some_and(is_done))
            && state.outside.is_calm();
        if !is_calm {
            // The steps that lead to a calm state are no surprises: that one is checked.
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

    /// Whether, once all waits are over, the file stays good through the next renewals, one call to ECR for each.
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
