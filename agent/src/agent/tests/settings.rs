//! Edits of agent.toml while the agent runs.

use super::*;

#[test]
fn an_edit_at_any_moment_of_a_pass_is_seen() {
    let interval = |minutes: u32| {
        let mut settings = Settings::default();
        settings.refresh.pass_interval = minutes * MINUTE;
        settings
    };
    for wake in [Wake::Start, Wake::Timer, Wake::Changed, Wake::Reload, Wake::Renew] {
        let mut harness = Harness::new();
        harness.env.settings.replace(interval(2));
        // The last edit follows the second read.
        harness.env.edits.replace([interval(2), interval(3)].into());
        harness.runtime.block_on(harness.agent.logged_pass(wake));
        if harness.env.is_outdated.get() {
            harness.runtime.block_on(harness.agent.logged_pass(Wake::Changed));
        }
        assert_eq!(harness.agent.settings, interval(3), "{wake:?}");
    }
}

#[test]
fn changed_settings_of_the_published_file_are_applied_at_once() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    let before = harness.env.hdfs.reconciled.get();
    harness.env.settings.borrow_mut().published.replication = 2;
    harness.runtime.block_on(harness.agent.logged_pass(Wake::Changed));
    assert_eq!(harness.env.hdfs.reconciled.get(), before + 1);
}

#[test]
fn nothing_is_kept_of_another_file_or_cluster() {
    let mut harness = Harness::new();
    harness.pass(Wake::Start);
    assert!(harness.agent.state.sinks.published.is_in_order());
    let document = Document::new(br#"{"auths":{"example.com":{"auth":"YTpi"}}}"#.to_vec());
    let read = StaticCredentials::parse(&document, harness.env.now().wall);
    harness.agent.state.static_credentials = Some(read.expect("credentials"));
    harness.agent.settings.static_credentials = Some("/etc/emr-ecr-agent/one.json".into());

    let mut settings = harness.agent.settings.clone();
    settings.hadoop_conf_dir = "/etc/hadoop/other".into();
    harness.agent.take_settings(settings.clone());
    assert!(harness.agent.state.static_credentials.is_some());
    assert!(!harness.agent.state.sinks.published.is_in_order());

    settings.static_credentials = Some("/etc/emr-ecr-agent/two.json".into());
    harness.agent.take_settings(settings);
    assert_eq!(harness.agent.state.static_credentials, None);
}

#[test]
fn half_written_settings_are_not_taken() {
    let mut harness = Harness::new();
    let before = harness.agent.settings.clone();
    let mut half = Settings::default();
    half.docker_configs.clear();
    let mut whole = Settings::default();
    whole.refresh.pass_interval = 2 * MINUTE;
    harness.env.settings.replace(half);
    harness.env.edits.replace([whole.clone()].into());
    harness.runtime.block_on(harness.agent.logged_pass(Wake::Changed));
    assert_eq!(harness.agent.settings, before);
    assert!(harness.env.is_outdated.get(), "the watcher wakes the next pass");
    harness.runtime.block_on(harness.agent.logged_pass(Wake::Changed));
    assert_eq!(harness.agent.settings, whole);
}
