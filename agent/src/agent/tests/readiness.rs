//! Readiness, and the notes that nodes leave for each other.

use super::*;

#[test]
fn an_empty_node_waits_and_needs_no_restart() {
    let mut harness = Harness::new();
    let cfg = harness.env.executor_cfg.borrow_mut().take();
    harness.pass(Wake::Start);
    let report = harness.report();
    assert_eq!((report.ready, report.live, report.registries.len()), (false, true, 0));
    assert!(report.waiting_for[0].contains("container-executor.cfg"));
    *harness.env.executor_cfg.borrow_mut() = cfg;
    harness.pass(Wake::Changed);
    assert!(harness.report().ready);
}

#[test]
fn a_fatal_executor_cfg_ends_readiness_and_keeps_credentials() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    let before = harness.published();
    *harness.env.executor_cfg.borrow_mut() = Some(format!("{TRUSTING} \n"));
    let report = harness.pass(Wake::Changed);
    assert_eq!(report.errors.len(), 1);
    assert!(!harness.report().ready);
    let codes: Vec<&str> = harness.report().findings.iter().map(|finding| finding.code.name).collect();
    assert_eq!(
        (codes.first(), harness.report().registries.len()),
        (Some(&"whitespace-line"), 2),
        "{codes:?}"
    );
    assert_eq!(harness.published(), before);
    *harness.env.executor_cfg.borrow_mut() = Some(TRUSTING.to_owned());
    harness.pass(Wake::Changed);
    assert!(harness.report().ready);
    assert_eq!(harness.calls(), 1);
}

#[test]
fn a_registry_that_is_not_trusted_for_a_space_ends_readiness() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    assert!(harness.report().ready);
    let spaced = TRUSTING.replace("local,123", "local, 123");
    *harness.env.executor_cfg.borrow_mut() = Some(spaced);
    harness.pass(Wake::Changed);
    let report = harness.report();
    let failing = report.checks.iter().filter(|check| !check.ok).map(|check| check.name.as_str());
    assert_eq!(failing.collect::<Vec<_>>(), ["launches"]);
    *harness.env.executor_cfg.borrow_mut() = Some(TRUSTING.to_owned());
    harness.pass(Wake::Changed);
    assert!(harness.report().ready);
}

#[test]
fn a_directory_closed_to_the_node_manager_ends_readiness() {
    let mut harness = Harness::new();
    let permissions = |path: &str, mode| Permissions {
        path: path.to_owned(),
        owner: "hadoop".to_owned(),
        group: "hdfsadmingroup".to_owned(),
        mode,
    };
    let access = |mode| Access {
        file: permissions("/user/hadoop/config.json", 0o644),
        is_directory: false,
        directories: vec![
            permissions("/user/hadoop", 0o755),
            permissions("/user", mode),
            permissions("/", 0o755),
        ],
    };
    *harness.env.hdfs.access.borrow_mut() = Some(access(0o755));
    harness.pass(Wake::Start);
    assert!(harness.report().ready);
    *harness.env.hdfs.access.borrow_mut() = Some(access(0o700));
    harness.live_for(MINUTE / 2);
    harness.pass(Wake::Reload);
    let failing = harness.report().checks.into_iter().filter(|check| !check.ok);
    let failing: Vec<(String, Option<String>)> = failing.map(|check| (check.name, check.why)).collect();
    let why = "the directory /user is owned by hadoop:hdfsadmingroup with mode 0700: the NodeManager's user yarn cannot enter it";
    assert_eq!(failing, [(format!("hdfs:{}", harness.report().sinks[1].path), Some(why.to_owned()))]);
    *harness.env.hdfs.access.borrow_mut() = Some(access(0o755));
    harness.live_for(2 * MINUTE);
    assert!(harness.report().ready);

    // An agent that reads as that user rereads owners and modes only once it is denied.
    harness.env.hdfs.is_denied_to_node_manager.set(Some(false));
    let accesses = harness.env.hdfs.accesses.get();
    harness.live_for(60 * MINUTE);
    assert_eq!(harness.env.hdfs.accesses.get(), accesses);
    harness.env.hdfs.is_denied_to_node_manager.set(Some(true));
    harness.live_for(2 * MINUTE);
    let why = harness.report().checks.into_iter().find_map(|check| check.why);
    let expected = "the NameNode denies the NodeManager's user yarn the file";
    assert_eq!(why.as_deref(), Some(expected), "the modes permit it");
    *harness.env.hdfs.access.borrow_mut() = Some(access(0o700));
    harness.live_for(2 * MINUTE);
    let why = harness.report().checks.into_iter().find_map(|check| check.why);
    assert!(why.is_some_and(|why| why.contains("cannot enter it")));
    harness.env.hdfs.is_denied_to_node_manager.set(Some(false));
    *harness.env.hdfs.access.borrow_mut() = Some(access(0o755));
    harness.live_for(2 * MINUTE);
    assert!(harness.report().ready);
}

#[test]
fn docker_counts_as_down_when_it_misses_twice() {
    let mut harness = Harness::new();
    let answers = |failure: Option<&str>| {
        let data_root = failure.is_none().then(|| DataRoot { path: "/var/lib/docker".to_owned(), free: 0 });
        Some(DockerEngine { failure: failure.map(str::to_owned), data_root, ..DockerEngine::default() })
    };
    *harness.env.docker.borrow_mut() = answers(None);
    harness.pass(Wake::Start);
    let has =
        |harness: &Harness, code: Code| harness.report().findings.iter().any(|finding| finding.code == code);
    let fails = |harness: &Harness| has(harness, codes::DOCKER_UNREACHABLE);
    let is_full = |harness: &Harness| has(harness, codes::DOCKER_DATA_ROOT_FULL);
    assert!(!fails(&harness) && is_full(&harness));
    *harness.env.docker.borrow_mut() = answers(Some("refused"));
    harness.pass(Wake::Timer);
    assert!(!fails(&harness), "one miss");
    assert!(is_full(&harness), "its last answer counts");
    assert!(harness.agent.quiet_for() <= Duration::from_secs(5), "it asks again soon");
    harness.pass(Wake::Timer);
    assert!(fails(&harness), "two misses");
    *harness.env.docker.borrow_mut() = answers(None);
    harness.pass(Wake::Timer);
    *harness.env.docker.borrow_mut() = answers(Some("refused"));
    harness.pass(Wake::Timer);
    *harness.env.docker.borrow_mut() = None;
    harness.pass(Wake::Timer);
    assert!(harness.agent.quiet_for() > Duration::from_secs(5), "it has no engine to ask again");
    *harness.env.docker.borrow_mut() = answers(None);
    harness.pass(Wake::Timer);
    assert!(!fails(&harness));
}

#[test]
fn readiness_speaks_of_the_entry_that_lies_in_the_file() {
    let mut harness = Harness::new();
    harness.env.answers.borrow_mut().extend(std::iter::repeat_n(down(), 1_000));
    let planted = plant(&harness.env, "planted", 12 * HOUR);
    harness.env.rejected.borrow_mut().push(planted.clone());
    harness.pass(Wake::Start);
    let report = harness.report();
    let failing: Vec<&str> = report.checks.iter().filter(|c| !c.ok).map(|c| c.name.as_str()).collect();
    assert!(failing.contains(&"hdfs:/config.json"), "{failing:?}");
    assert_eq!(report.sinks[1].entries[HOST].probe.as_deref(), Some("rejected"));
    assert_eq!(auth_in(&harness.env.local), None);
    harness.env.answers.borrow_mut().clear();
    harness.live_for(5 * MINUTE);
    assert!(harness.report().ready, "{:?}", harness.report().checks);
}

#[test]
fn each_lasting_state_leaves_one_note() {
    let mut harness = Harness::new();
    let pass_after = |harness: &mut Harness, span: Duration| {
        harness.env.uptime.set(harness.env.uptime.get() + span);
        harness.runtime.block_on(harness.agent.logged_pass(Wake::Timer));
        harness.env.hdfs.notes.borrow().iter().map(|note| note.ready).collect::<Vec<_>>()
    };
    assert!(pass_after(&mut harness, Duration::ZERO).is_empty());
    assert_eq!(pass_after(&mut harness, MINUTE), [true]);
    assert_eq!(pass_after(&mut harness, 10 * MINUTE), [true]);
    *harness.env.executor_cfg.borrow_mut() = None;
    *harness.env.hdfs.note_refusal.borrow_mut() = Some(down());
    assert_eq!(pass_after(&mut harness, MINUTE), [true]);
    assert_eq!(pass_after(&mut harness, MINUTE), [true, false], "tried, in vain");
    assert!(harness.report().sinks.iter().all(|sink| sink.error.is_none()), "no error of the pass");
    *harness.env.hdfs.note_refusal.borrow_mut() = None;
    assert_eq!(pass_after(&mut harness, MINUTE).len(), 2);
    assert_eq!(pass_after(&mut harness, 5 * MINUTE), [true, false, false]);
    let (_hangups, receiver) = tokio::sync::mpsc::channel(1);
    let Harness { agent, runtime, env, .. } = harness;
    runtime.block_on(agent.run(receiver, ready(()))).expect("it stops");
    assert!(env.hdfs.notes.borrow().is_empty());
}
