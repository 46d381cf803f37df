//! The loop with places in memory and a clock that only the test moves.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;

use domain::check::{AwsOutcome, Content, HadoopVersion, Inputs, TextFile};
use domain::credentials::{EntryName, Holder, Issuer, Origin, Secret, StaticCredentials, Token};
use domain::documents::plan::{Attributes, Found, Plan};
use domain::documents::{Document, PublishedDocument};
use domain::problem::Problem;
use domain::refresh::{Probed, Verdict};
use domain::registry::HostName;
use domain::settings::Settings;
use domain::status::{PlaceKind, Report};
use domain::time::Moment;
use hadoop_rules::Rules;
use jiff::{SignedDuration, Timestamp};

use super::{Agent, Fetched, Parts, PassReport, RegistryProbe, TokenSource, Wake, World};
use crate::io::metrics::Metrics;
use crate::place::{Change, Intent, Place, Planner, SharedPlace, Turn, Visit};

const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);
const TRUSTING: &str = "yarn.nodemanager.linux-container-executor.group=yarn\n[docker]\nmodule.enabled=true\ndocker.trusted.registries=local,123456789123.dkr.ecr.us-east-1.amazonaws.com,210987654321.dkr.ecr.us-east-1.amazonaws.com\n";
const HOST: &str = "123456789123.dkr.ecr.us-east-1.amazonaws.com";

/// What the test moves and looks at.
#[derive(Default)]
struct Stage {
    uptime: Cell<Duration>,
    executor_cfg: RefCell<Option<String>>,
    /// What ECR will do next; a token that lives for 12 h once empty.
    answers: RefCell<VecDeque<Problem>>,
    /// Server clock minus local clock, before the latter jumped.
    skew: Cell<SignedDuration>,
    jump: Cell<SignedDuration>,
    calls: RefCell<Vec<String>>,
    holder: RefCell<Option<Holder>>,
    trials: RefCell<Vec<String>>,
    /// What registries say; that they accept if nothing is set.
    verdict: RefCell<Option<Verdict>>,
    local: Shared,
    hdfs: Shared,
}

/// A file in memory, and what stands against visiting it.
#[derive(Default)]
struct File {
    found: RefCell<Option<Found>>,
    refusal: RefCell<Option<Problem>>,
    visits: Cell<usize>,
    turn_is_others: Cell<bool>,
    turns_ended: Cell<usize>,
}

type Shared = Rc<File>;

struct Theatre(Rc<Stage>);

struct MemoryPlace(PlaceKind, Shared);

struct Source(Rc<Stage>);

impl Stage {
    fn now(&self) -> Moment {
        let uptime = self.uptime.get();
        Moment { wall: Timestamp::constant(1_700_000_000, 0) + uptime + self.jump.get(), uptime }
    }

    fn issue(&self) -> Token {
        let now = self.now().wall + self.skew.get() - self.jump.get();
        Token {
            auth: Secret::new(format!("token-{}", now.as_second())),
            issued_at: now,
            expires_at: now + 12 * HOUR,
            origin: Origin { ends_at: None, holder: self.holder.borrow().clone() },
            predecessor: None,
        }
    }
}

impl World for Theatre {
    fn now(&self) -> Moment {
        self.0.now()
    }

    fn random(&self) -> f64 {
        0.5
    }

    fn node_name(&self) -> String {
        "node-1".to_owned()
    }

    fn read_settings(&self) -> Result<Settings, String> {
        Ok(Settings::default())
    }

    fn static_credentials(&self, path: &Path) -> Result<StaticCredentials, Problem> {
        unreachable!("{} is not set", path.display())
    }

    fn parts(&self, _: &Settings) -> Parts {
        Parts {
            tokens: Box::new(Source(Rc::clone(&self.0))),
            registries: Box::new(Source(Rc::clone(&self.0))),
            local: vec![Box::new(MemoryPlace(PlaceKind::Local, Rc::clone(&self.0.local)))],
            published: Box::new(MemoryPlace(PlaceKind::Hdfs, Rc::clone(&self.0.hdfs))),
        }
    }

    fn facts(&self, settings: &Settings) -> Inputs<'_> {
        let text = self.0.executor_cfg.borrow().clone();
        let content = text.map_or(Content::Absent, |text| Content::Bytes(text.into_bytes()));
        let path = settings.executor_cfg().display().to_string();
        let nothing = Inputs::nothing(HadoopVersion::named(Rules::V3_3), self.0.now().wall);
        Inputs { executor_cfg: Some(TextFile { path, content }), ..nothing }
    }

    fn settle(&mut self, _: &Settings) {}

    fn changed(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        Box::pin(std::future::pending())
    }
}

impl TokenSource for Source {
    fn fetch(&self, issuer: Issuer) -> Pin<Box<dyn Future<Output = Fetched> + Send>> {
        self.0.calls.borrow_mut().push(issuer.to_string());
        let refusal = self.0.answers.borrow_mut().pop_front();
        let token = refusal.map_or_else(|| Ok(self.0.issue()), Err);
        let outcome = if token.is_ok() { AwsOutcome::Token } else { AwsOutcome::Service };
        let clock_skew = Some(self.0.skew.get() - self.0.jump.get());
        Box::pin(std::future::ready(Fetched { token, outcome, clock_skew }))
    }

    fn holder(&self, _: Issuer) -> Pin<Box<dyn Future<Output = Option<Holder>> + Send>> {
        Box::pin(std::future::ready(self.0.holder.borrow().clone()))
    }
}

impl RegistryProbe for Source {
    fn probe(&self, name: HostName, _: Token) -> Pin<Box<dyn Future<Output = Probed> + Send>> {
        self.0.trials.borrow_mut().push(name.to_string());
        let verdict = self.0.verdict.borrow().clone().unwrap_or(Verdict::Accepted);
        let clock_skew = Some(self.0.skew.get() - self.0.jump.get());
        Box::pin(std::future::ready(Probed { verdict, clock_skew }))
    }
}

impl SharedPlace for MemoryPlace {
    fn take_turn(&mut self) -> Pin<Box<dyn Future<Output = Result<Turn, Problem>> + '_>> {
        let turn = if self.1.turn_is_others.get() { Turn::Others } else { Turn::Ours };
        Box::pin(std::future::ready(Ok(turn)))
    }

    fn end_turn(&mut self) -> Pin<Box<dyn Future<Output = ()> + '_>> {
        self.1.turns_ended.set(self.1.turns_ended.get() + 1);
        Box::pin(std::future::ready(()))
    }
}

impl Place for MemoryPlace {
    fn kind(&self) -> PlaceKind {
        self.0
    }

    fn path(&self) -> String {
        "/config.json".to_owned()
    }

    fn visit(
        &mut self,
        planner: Planner,
        intent: Intent,
    ) -> Pin<Box<dyn Future<Output = Result<Visit, Problem>> + '_>> {
        assert_eq!(intent, Intent::CarryOut);
        self.1.visits.set(self.1.visits.get() + 1);
        if let Some(problem) = self.1.refusal.borrow().clone() {
            return Box::pin(std::future::ready(Err(problem)));
        }
        let at_first = self.1.found.borrow().clone().unwrap_or(Found::Absent);
        let (found, changes) = match planner(&at_first) {
            Plan::Keep => (at_first.clone(), Vec::new()),
            Plan::Replace { document, .. } => {
                (Found::File { document, attributes: Attributes::AS_SET }, vec![Change::Replaced])
            }
            other => unreachable!("{other:?} is not played here"),
        };
        *self.1.found.borrow_mut() = Some(found.clone());
        Box::pin(std::future::ready(Ok(Visit { at_first, found, changes })))
    }
}

struct Play {
    stage: Rc<Stage>,
    agent: Agent,
    metrics: Metrics,
    runtime: tokio::runtime::Runtime,
}

impl Play {
    fn new() -> Self {
        let stage = Rc::new(Stage::default());
        *stage.executor_cfg.borrow_mut() = Some(TRUSTING.to_owned());
        let metrics = Metrics::new().expect("metrics");
        let world = Box::new(Theatre(Rc::clone(&stage)));
        let agent = Agent::new(Settings::default(), world, metrics.clone());
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        Self { stage, agent, metrics, runtime }
    }

    fn pass(&mut self, wake: Wake) -> PassReport {
        self.runtime.block_on(self.agent.pass(wake, Intent::CarryOut))
    }

    /// Lets time go by as the loop would, from timer to timer.
    fn live_for(&mut self, span: Duration) {
        let end = self.stage.uptime.get() + span;
        loop {
            let next = self.stage.uptime.get() + self.agent.quiet_for();
            if next > end {
                self.stage.uptime.set(end);
                return;
            }
            self.stage.uptime.set(next);
            self.pass(Wake::Timer);
        }
    }

    fn report(&self) -> Report {
        Report::new(&self.agent.status().borrow(), self.stage.now())
    }

    fn calls(&self) -> usize {
        self.stage.calls.borrow().len()
    }

    fn published(&self) -> Option<Document> {
        match &*self.stage.hdfs.found.borrow() {
            Some(Found::File { document, .. }) => Some(document.clone()),
            _ => None,
        }
    }
}

fn down() -> Problem {
    Problem::waiting("ECR in us-east-1", "down")
}

#[test]
fn one_pass_makes_ready_and_the_next_does_nothing() {
    let mut play = Play::new();
    let first = play.pass(Wake::Start);
    assert_eq!((first.changes.len(), first.errors.len()), (2, 0));
    assert!(play.report().ready, "{:?}", play.report().checks);
    assert_eq!(*play.stage.calls.borrow(), ["ECR in us-east-1"], "one call for two hosts of a Region");
    let second = play.pass(Wake::Reload);
    assert_eq!((second.changes.len(), second.errors.len()), (0, 0));
    assert_eq!(play.calls(), 1);
}

#[test]
fn for_days_nothing_published_is_ever_near_its_end() {
    let mut play = Play::new();
    play.pass(Wake::Start);
    for _ in 0..2 * 24 * 4 {
        play.live_for(15 * MINUTE);
        assert!(play.report().ready, "{:?}", play.report().checks);
        let (published, poison) = PublishedDocument::read(&play.published().expect("published"));
        let ends = published.expires_at(&EntryName::parse(HOST).expect("a name")).expect("known");
        assert_eq!(poison, None);
        assert!(ends.duration_since(play.stage.now().wall) > SignedDuration::from_hours(4));
    }
    let calls = play.calls();
    assert!((7..=9).contains(&calls), "half of the life to 0.6 of it: {calls}");
}

#[test]
fn somebody_else_behind_the_credentials_means_a_new_token_at_a_reload_or_soon() {
    for (wake, wait) in [(Wake::Reload, Duration::ZERO), (Wake::Timer, 10 * MINUTE)] {
        let mut play = Play::new();
        let role = |name: &str| Some(Holder::instance_role(name));
        play.stage.holder.replace(role("first"));
        play.pass(Wake::Start);
        play.pass(wake);
        assert_eq!(play.calls(), 1);
        play.stage.holder.replace(role("second"));
        play.live_for(wait);
        let report = play.pass(wake);
        assert_eq!(play.calls(), 2, "{wake:?} {report:?}");
        play.stage.holder.replace(None);
        play.pass(Wake::Reload);
        assert_eq!(play.calls(), 2, "what cannot be told is no change");
    }
}

#[test]
fn an_outage_of_ecr_is_survived_while_the_token_lives_and_then_told() {
    let mut play = Play::new();
    play.pass(Wake::Start);
    let before = play.published();
    play.stage.answers.borrow_mut().extend(std::iter::repeat_n(down(), 10_000));
    play.live_for(11 * HOUR);
    assert!(play.report().ready);
    assert_eq!(play.published(), before);
    assert!(play.report().registries[0].consecutive_failures > 10);
    play.live_for(31 * MINUTE);
    assert!(!play.report().ready, "less than the minimum validity is left");
    assert_eq!(play.report().waiting_for, ["ECR in us-east-1"]);
    assert_eq!(play.published(), before, "what lives is never taken away");
    play.stage.answers.borrow_mut().clear();
    play.live_for(6 * MINUTE);
    assert!(play.report().ready);
}

#[test]
fn an_outage_of_hdfs_costs_no_call_to_ecr() {
    let mut play = Play::new();
    play.pass(Wake::Start);
    *play.stage.hdfs.refusal.borrow_mut() = Some(Problem::waiting("HDFS", "refused"));
    play.live_for(2 * HOUR);
    assert_eq!(play.calls(), 1);
    let report = play.report();
    assert_eq!((report.ready, report.live), (false, true));
    assert_eq!(report.waiting_for, ["HDFS"]);
    assert!(report.places[0].fresh && !report.places[1].fresh);
    play.stage.hdfs.refusal.borrow_mut().take();
    play.live_for(MINUTE);
    assert!(play.report().ready);
    assert_eq!(play.calls(), 1);
}

#[test]
fn a_failure_that_leaves_readers_nothing_is_not_ready_at_once() {
    for (leaves_nothing, ready) in [(false, true), (true, false)] {
        let mut play = Play::new();
        play.pass(Wake::Start);
        let problem = Problem { leaves_nothing, ..Problem::waiting("quota on HDFS", "refused") };
        *play.stage.hdfs.refusal.borrow_mut() = Some(problem);
        play.live_for(MINUTE);
        let report = play.report();
        assert!(report.places[1].error.is_some());
        assert_eq!(report.ready, ready, "leaves nothing: {leaves_nothing}");
    }
}

#[test]
fn a_node_that_sees_no_hdfs_asks_ecr_for_itself_but_not_at_once() {
    let mut play = Play::new();
    *play.stage.hdfs.refusal.borrow_mut() = Some(Problem::waiting("HDFS", "refused"));
    play.pass(Wake::Start);
    assert_eq!(play.calls(), 0);
    play.live_for(9 * MINUTE);
    assert_eq!(play.calls(), 1);
    assert!(play.report().places[0].fresh);
}

#[test]
fn what_another_node_published_is_as_good_as_a_token_of_ones_own() {
    let mut first = Play::new();
    first.pass(Wake::Start);
    let mut second = Play::new();
    *second.stage.hdfs.found.borrow_mut() = first.stage.hdfs.found.borrow().clone();
    let pass = second.pass(Wake::Start);
    assert_eq!((pass.adopted.len(), second.calls()), (1, 0), "{pass:?}");
    assert_eq!(second.stage.trials.borrow().len(), 2, "once at each registry, which tells the time");
    second.live_for(HOUR);
    assert_eq!(second.stage.trials.borrow().len(), 2);
    let report = second.report();
    assert!(report.ready, "{:?}", report.checks);
    assert_eq!(report.registries[0].source.as_deref(), Some("published"));
    assert_eq!(second.published(), first.published());
}

#[test]
fn while_another_node_has_the_turn_nothing_is_asked() {
    let mut play = Play::new();
    play.stage.hdfs.turn_is_others.set(true);
    assert!(play.pass(Wake::Start).yields);
    play.live_for(MINUTE);
    assert_eq!(play.calls(), 0);
    play.stage.hdfs.turn_is_others.set(false);
    play.live_for(MINUTE);
    assert_eq!((play.calls(), play.stage.hdfs.turns_ended.get()), (1, 1));
    assert!(play.report().ready);
}

#[test]
fn a_turn_that_failed_is_left_to_end_by_itself() {
    let mut play = Play::new();
    play.stage.answers.borrow_mut().push_back(down());
    play.pass(Wake::Start);
    assert_eq!(play.stage.hdfs.turns_ended.get(), 0, "others would only fail as well");
    play.live_for(MINUTE);
    assert_eq!((play.calls(), play.stage.hdfs.turns_ended.get()), (2, 1));
}

#[test]
fn a_token_that_its_registry_refuses_is_not_published() {
    let mut play = Play::new();
    play.pass(Wake::Start);
    let before = play.published();
    *play.stage.verdict.borrow_mut() = Some(Verdict::Refused(401));
    play.live_for(8 * HOUR);
    assert_eq!(play.calls(), 2);
    assert_eq!(play.published(), before, "what lives stays");
    let report = play.report();
    assert!(!report.ready);
    assert_eq!(report.registries[0].verified.as_deref(), Some("refused"));
    *play.stage.verdict.borrow_mut() = None;
    play.live_for(10 * MINUTE);
    assert!(play.report().ready);
    assert_ne!(play.published(), before);
    assert_eq!(play.calls(), 2);
}

#[test]
fn a_registry_out_of_reach_holds_nothing_up() {
    let mut play = Play::new();
    *play.stage.verdict.borrow_mut() = Some(Verdict::Unknown("no route".to_owned()));
    play.pass(Wake::Start);
    assert!(play.report().ready);
    assert_eq!(play.report().registries[0].verified.as_deref(), Some("unknown"));
}

#[test]
fn a_reload_tries_tokens_again_and_replaces_a_refused_one() {
    let mut play = Play::new();
    play.pass(Wake::Start);
    play.live_for(HOUR);
    let before = play.published();
    *play.stage.verdict.borrow_mut() = Some(Verdict::Refused(403));
    play.pass(Wake::Reload);
    *play.stage.verdict.borrow_mut() = None;
    play.live_for(MINUTE);
    assert_eq!(play.calls(), 2);
    assert!(play.report().ready);
    assert_ne!(play.published(), before, "published at once, though the one before still lives");
}

#[test]
fn what_others_did_to_a_place_is_counted_by_kind() {
    let mut play = Play::new();
    play.pass(Wake::Start);
    let count = |play: &Play, kind: &str| {
        let line = format!("emr_ecr_agent_drift_total{{kind=\"{kind}\",sink=\"hdfs\"}} 1");
        play.metrics.render(&play.report()).lines().any(|l| l == line)
    };
    assert!(!count(&play, "content") && !count(&play, "missing"));
    let document = Document::new(b"{}".to_vec());
    *play.stage.hdfs.found.borrow_mut() = Some(Found::File { document, attributes: Attributes::AS_SET });
    play.live_for(MINUTE);
    assert!(count(&play, "content") && !count(&play, "missing"));
    *play.stage.hdfs.found.borrow_mut() = None;
    play.live_for(MINUTE);
    assert!(count(&play, "content") && count(&play, "missing"));
}

#[test]
fn hdfs_is_not_visited_more_often_than_the_interval() {
    let mut play = Play::new();
    play.pass(Wake::Start);
    play.stage.answers.borrow_mut().extend(std::iter::repeat_n(down(), 10_000));
    play.live_for(10 * HOUR);
    // Before each retry, and once it is our turn, it is looked whether another node was luckier.
    assert!(play.stage.hdfs.visits.get() <= 601 + 2 * play.calls(), "{}", play.stage.hdfs.visits.get());
}

#[test]
fn a_node_without_anything_waits_and_needs_no_restart() {
    let mut play = Play::new();
    let cfg = play.stage.executor_cfg.borrow_mut().take();
    play.pass(Wake::Start);
    let report = play.report();
    assert_eq!((report.ready, report.live, report.registries.len()), (false, true, 0));
    assert!(report.waiting_for[0].contains("container-executor.cfg"));
    *play.stage.executor_cfg.borrow_mut() = cfg;
    play.pass(Wake::Changed);
    assert!(play.report().ready);
}

#[test]
fn a_fatal_executor_cfg_is_not_ready_but_costs_no_credential() {
    let mut play = Play::new();
    play.pass(Wake::Start);
    let before = play.published();
    *play.stage.executor_cfg.borrow_mut() = Some(format!("{TRUSTING} \n"));
    let report = play.pass(Wake::Changed);
    assert_eq!(report.errors.len(), 1);
    assert!(!play.report().ready);
    assert_eq!((play.report().findings.len(), play.report().registries.len()), (1, 2));
    assert_eq!(play.published(), before);
    *play.stage.executor_cfg.borrow_mut() = Some(TRUSTING.to_owned());
    play.pass(Wake::Changed);
    assert!(play.report().ready);
    assert_eq!(play.calls(), 1);
}

#[test]
fn a_wrong_local_clock_misleads_nobody() {
    for hours in [-13, 13] {
        let mut play = Play::new();
        play.stage.skew.set(SignedDuration::from_hours(hours));
        play.pass(Wake::Start);
        assert!(play.report().ready, "{hours}");
        play.live_for(20 * HOUR);
        assert!(play.report().ready, "{hours}");
        assert!(play.calls() <= 4, "{}", play.calls());
    }
}

#[test]
fn a_local_clock_that_jumps_misleads_nobody() {
    for hours in [-12, 12] {
        let mut play = Play::new();
        play.pass(Wake::Start);
        play.live_for(HOUR);
        play.stage.jump.set(SignedDuration::from_hours(hours));
        play.live_for(4 * HOUR);
        assert_eq!(play.calls(), 1, "{hours}: nothing was due");
        for _ in 0..24 {
            play.live_for(HOUR);
            assert!(play.report().ready, "{hours}");
        }
        assert!(play.calls() <= 6, "{}", play.calls());
    }
}

#[test]
fn what_another_writer_did_is_mended_at_the_next_pass() {
    let mut play = Play::new();
    play.pass(Wake::Start);
    let disturbances: [&[u8]; 4] = [b"", b"{", br#"{"auths":{"x":{}}}"#, br#"{"auths":{}}"#];
    for disturbance in disturbances {
        let document = Document::new(disturbance.to_vec());
        *play.stage.hdfs.found.borrow_mut() = Some(Found::File { document, attributes: Attributes::AS_SET });
        play.live_for(MINUTE);
        let (published, poison) = PublishedDocument::read(&play.published().expect("published"));
        assert_eq!(poison, None);
        assert!(published.expires_at(&EntryName::parse(HOST).expect("a name")).is_some());
        assert!(play.report().ready);
    }
}
