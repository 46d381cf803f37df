//! The cluster as a state machine: nodes that take steps and crash, an attacker, and time, which advances once every
//! node has made its pass.

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use stateright::{Model, Property};

use crate::healing::Healing;
use crate::node::{NODES, Outcome, Process, Step, Wrong};
use crate::outside::{LIFE, Outside, Plant, Trouble};
use crate::sights::{Sight, Sights};

/// A rejected credential may stay for this many passes of a node that knows about the rejection.
const MOST_BAD_PASSES: u8 = 2;

/// A node without a token waits for at most two lengths of the lock, which is three passes. If it just failed to
/// reach HDFS, it also waits out the jitter of isolated nodes.
const MOST_HUNGRY_PASSES: u8 = 4;

/// The start and the limits of a search.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound {
    pub name: &'static str,
    /// How many ticks the cluster has run undisturbed before the search.
    pub begins: u16,
    /// The trouble after that, and for how many ticks.
    pub trouble: Option<(Trouble, u16)>,
    /// How many ticks follow.
    pub ticks: u16,
    /// The total of crashes, late responses, refusals, outages, acts of the attacker, and passes interrupted by
    /// another node's steps.
    pub surprises: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub outside: Outside,
    pub nodes: [Arc<Node>; NODES],
    /// The node whose pass is under way; another node takes a step only by a surprise.
    pub running: Option<usize>,
    pub surprises: u8,
    /// For how many ticks the file has held a credential that some node knows to be rejected.
    pub refused_ticks: u8,
    pub wrong: Option<Wrong>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// `None` after a crash.
    pub process: Option<Process>,
    /// How many consecutive passes have left a bad file in place although the node knew better.
    pub bad_passes: u8,
    /// How many consecutive passes have ended without a token that the node has reason to believe.
    pub hungry_passes: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Step(usize),
    Start(usize),
    Tick,
    /// The NameNode finally executes a call that the node has given up on.
    LateAnswer,
    Ends(Trouble),
    /// The running node pauses.
    Interrupt,
    Disrupt(Disruption),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disruption {
    Crash(usize),
    HdfsIsLate(usize),
    Begins(Trouble),
    Plants(Plant),
    Deletes,
    DeletesLock,
}

/// Treats states as equal if they differ only in details that no later step depends on.
impl Hash for State {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        let Self { outside, nodes, running, surprises, refused_ticks, wrong } = self;
        (outside, running, surprises, refused_ticks, wrong).hash(hasher);
        for node in nodes {
            (node.process.is_some(), node.bad_passes, node.hungry_passes).hash(hasher);
            if let Some(process) = &node.process {
                process.hash_essence(outside, hasher);
            }
        }
    }
}

/// One search.
pub(crate) struct Cluster {
    pub bound: Bound,
    pub sights: Sights,
    pub healing: Healing,
    pub most_issued: AtomicU16,
    pub most_hungry: AtomicU16,
}

impl Bound {
    fn ends(&self) -> u16 {
        self.begins + self.trouble.map_or(0, |(_, ticks)| ticks) + self.ticks
    }
}

impl Cluster {
    pub(crate) fn new(bound: Bound) -> Self {
        Self {
            bound,
            sights: Sights::default(),
            healing: Healing::default(),
            most_issued: AtomicU16::new(0),
            most_hungry: AtomicU16::new(0),
        }
    }

    /// Makes one step of a node.
    pub(crate) fn step(&self, state: &mut State, node: usize, outcome: Outcome, see: &dyn Fn(Sight)) {
        let mut stepping = (*state.nodes[node]).clone();
        let Some(process) = &mut stepping.process else { return };
        let State { outside, wrong, .. } = state;
        Step { process, outside, wrong, see }.make(outcome);
        let process = &*process;
        if process.is_done() {
            let is_bad = !outside.file_is_good()
                && process.is_in_order()
                && process.is_good(outside)
                && outside
                    .file
                    .as_ref()
                    .is_none_or(|file| !file.is_believable(outside.now()) || process.rejects(file));
            let is_hungry = !process.is_good(outside) && !outside.has(Trouble::NoEcr);
            stepping.hungry_passes = if is_hungry { stepping.hungry_passes + 1 } else { 0 };
            self.most_hungry.fetch_max(stepping.hungry_passes.into(), Ordering::Relaxed);
            stepping.bad_passes = if is_bad { stepping.bad_passes + 1 } else { 0 };
        }
        state.running = (!process.is_done()).then_some(node);
        state.nodes[node] = Arc::new(stepping);
    }

    pub(crate) fn start(&self, state: &mut State, node: usize) {
        let process = Some(Process::new(node, state.outside.tick));
        state.nodes[node] = Arc::new(Node { process, bad_passes: 0, hungry_passes: 0 });
    }

    pub(crate) fn tick(state: &mut State) {
        let is_refused = state.outside.file.as_ref().is_some_and(|file| {
            state.nodes.iter().filter_map(|node| node.process.as_ref()).any(|process| process.rejects(file))
        });
        let can_help = !state.outside.has(Trouble::NoEcr) && !state.outside.has(Trouble::NoHdfs);
        state.refused_ticks = if is_refused && can_help { state.refused_ticks + 1 } else { 0 };
        state.outside.tick();
        for node in &mut state.nodes {
            if let Some(process) = &mut Arc::make_mut(node).process {
                process.begin_tick();
            }
        }
    }

    fn disrupt(&self, state: &mut State, disruption: Disruption) {
        state.surprises += 1;
        let see = |sight| self.sights.note(sight);
        match disruption {
            Disruption::Crash(node) => {
                state.nodes[node] = Arc::new(Node { process: None, bad_passes: 0, hungry_passes: 0 });
                state.running = state.running.filter(|running| *running != node);
            }
            Disruption::HdfsIsLate(node) => self.step(state, node, Outcome::Late, &see),
            Disruption::Begins(trouble) => state.outside.begin(trouble),
            Disruption::Plants(plant) => state.outside.plant(plant),
            Disruption::Deletes => state.outside.file = None,
            Disruption::DeletesLock => state.outside.lock = None,
        }
    }

    fn disruptions(state: &State, actions: &mut Vec<Action>) {
        let mut push = |disruption| actions.push(Action::Disrupt(disruption));
        for (index, node) in state.nodes.iter().enumerate() {
            let Some(process) = &node.process else { continue };
            // A crash at rest has the same effect as one at the beginning of the next pass.
            let is_next = state.running.is_none_or(|running| running == index);
            if !process.is_done() && is_next {
                push(Disruption::Crash(index));
            }
            if !is_next {
                continue;
            }
            if process.calls_hdfs() && state.outside.late.is_none() {
                push(Disruption::HdfsIsLate(index));
            }
        }
        for trouble in Trouble::ALL.into_iter().filter(|trouble| !state.outside.has(*trouble)) {
            push(Disruption::Begins(trouble));
        }
        for plant in [Plant::Forged, Plant::EndsJustAfter, Plant::Impossible, Plant::Poison] {
            push(Disruption::Plants(plant));
        }
        if !state.outside.issued.is_empty() {
            push(Disruption::Plants(Plant::Replayed));
        }
        if state.outside.file.is_some() {
            push(Disruption::Deletes);
        }
        if state.outside.lock.is_some() {
            push(Disruption::DeletesLock);
        }
    }

    /// The most tokens that ECR may have issued. Undisturbed, one for each half of a life. A surprise can make every
    /// other node call ECR, and each further one costs a call. Nodes that cannot see each other all call.
    fn most_issued(state: &State) -> u16 {
        let halves = 1 + state.outside.tick / (LIFE / 2);
        let (nodes, surprises) = (NODES as u16, u16::from(state.surprises));
        match surprises {
            0 => halves,
            _ if state.outside.were_apart => nodes * halves + surprises,
            _ => nodes - 1 + halves + surprises - 1,
        }
    }
}

impl Model for Cluster {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let nothing = Arc::new(Node { process: None, bad_passes: 0, hungry_passes: 0 });
        let nodes = std::array::from_fn(|_| Arc::clone(&nothing));
        let mut state = State {
            outside: Outside::new(),
            nodes,
            running: None,
            surprises: 0,
            refused_ticks: 0,
            wrong: None,
        };
        for node in 0..NODES {
            self.start(&mut state, node);
        }
        let run = |state: &mut State, ticks| {
            for _ in 0..ticks {
                self.pass_of_all(state);
                Self::tick(state);
            }
        };
        run(&mut state, self.bound.begins);
        if let Some((trouble, ticks)) = self.bound.trouble {
            state.outside.begin(trouble);
            run(&mut state, ticks);
        }
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.wrong.is_some() {
            return;
        }
        let is_running = |node: &Arc<Node>| node.process.as_ref().is_some_and(|process| !process.is_done());
        for (index, node) in state.nodes.iter().enumerate() {
            match &node.process {
                _ if state.running.is_some_and(|running| running != index) => {}
                None => actions.push(Action::Start(index)),
                Some(process) if !process.is_done() => actions.push(Action::Step(index)),
                Some(_) => {}
            }
        }
        if !state.nodes.iter().any(is_running) && state.outside.tick < self.bound.ends() {
            actions.push(Action::Tick);
        }
        if state.outside.late.is_some() {
            actions.push(Action::LateAnswer);
        }
        let present = Trouble::ALL.into_iter().filter(|trouble| state.outside.has(*trouble));
        actions.extend(present.map(Action::Ends));
        if state.surprises < self.bound.surprises {
            if state.running.is_some() {
                actions.push(Action::Interrupt);
            }
            Self::disruptions(state, actions);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Step(node) => {
                self.step(&mut state, node, Outcome::Fine, &|sight| self.sights.note(sight));
            }
            Action::Start(node) => self.start(&mut state, node),
            Action::Tick => Self::tick(&mut state),
            Action::LateAnswer => state.outside.apply_late(),
            Action::Ends(trouble) => state.outside.end(trouble),
            Action::Interrupt => (state.running, state.surprises) = (None, state.surprises + 1),
            Action::Disrupt(disruption) => self.disrupt(&mut state, disruption),
        }
        self.most_issued.fetch_max(state.outside.calls(), Ordering::Relaxed);
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no living proven credential is displaced", |_, state: &State| {
                !matches!(state.wrong, Some(Wrong::TokenDisplaced | Wrong::FileDisplaced))
            }),
            Property::always("no node publishes what only others vouch for", |_, state: &State| {
                state.wrong != Some(Wrong::HearsayPublished)
            }),
            Property::always("no node leaves a bad file for more than two passes", |_, state: &State| {
                state.nodes.iter().all(|node| node.bad_passes <= MOST_BAD_PASSES)
            }),
            Property::always(
                "a node that lacks a token asks in time, whoever holds the lock",
                |_, state: &State| state.nodes.iter().all(|node| node.hungry_passes <= MOST_HUNGRY_PASSES),
            ),
            Property::always(
                "nothing known as rejected stays for more than two ticks",
                |_, state: &State| state.refused_ticks <= MOST_BAD_PASSES,
            ),
            Property::always("ECR is asked a bounded number of times", |_, state: &State| {
                state.wrong != Some(Wrong::AskedAgain) && state.outside.calls() <= Self::most_issued(state)
            }),
            Property::always("all heals once the disruptions stop", |cluster: &Self, state: &State| {
                cluster.heals(state)
            }),
        ]
    }
}
