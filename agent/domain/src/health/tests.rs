use super::{Checks, KnownHosts, Resource};
use crate::registry::HostName;
use crate::status::{Check, CheckId};

#[test]
fn paths_and_queries_name_resources() {
    let check = |target: &str, expected: Option<Resource>| {
        let (path, query) =
            target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        assert_eq!(Resource::of(path, query), expected, "{target}");
    };
    let verbose = Checks { verbose: true, ..Checks::default() };
    let only = |name: &str| Checks { only: Some(name.to_owned()), ..Checks::default() };
    check("/", Some(Resource::Page));
    check("/livez", Some(Resource::Liveness(Checks::default())));
    check("/healthz?verbose=1&x", Some(Resource::Liveness(verbose.clone())));
    check("/readyz?verbose", Some(Resource::Readiness(verbose)));
    check("/readyz/launches", Some(Resource::Readiness(only("launches"))));
    check("/readyz/hdfs:/user/a", Some(Resource::Readiness(only("hdfs:/user/a"))));
    check("/readyz/hdfs%3A%2Fuser%2Fa", Some(Resource::Readiness(only("hdfs:/user/a"))));
    let exclude = vec!["sink".to_owned(), "token:a".to_owned()];
    let excluding = Checks { exclude, ..Checks::default() };
    check("/readyz?exclude=sink&exclude=token%3Aa", Some(Resource::Readiness(excluding)));
    for unknown in ["", "/readyz/", "/livez/", "/livez/loop", "/status/", "/../status"] {
        check(unknown, None);
    }
}

#[test]
fn checks_are_selected_by_id_or_name() {
    let check = |id, name: &str| Check { id, name: name.to_owned(), ok: true, why: None };
    let all = [
        check(CheckId::Token, "token:a"),
        check(CheckId::Token, "token:b"),
        check(CheckId::Launches, "launches"),
    ];
    let names = |only: Option<&str>, exclude: &[&str]| {
        let exclude = exclude.iter().map(|name| (*name).to_owned()).collect();
        let checks = Checks { only: only.map(str::to_owned), exclude, verbose: false };
        checks.select(&all).map(|chosen| chosen.iter().map(|check| check.name.clone()).collect::<Vec<_>>())
    };
    assert_eq!(names(None, &[]).map(|names| names.len()), Some(3));
    assert_eq!(names(Some("token"), &[]), Some(vec!["token:a".to_owned(), "token:b".to_owned()]));
    assert_eq!(names(Some("token:b"), &[]), Some(vec!["token:b".to_owned()]));
    assert_eq!(names(None, &["token", "nothing"]), Some(vec!["launches".to_owned()]));
    assert_eq!(names(Some("nothing"), &[]), None);
}

#[test]
fn only_this_machines_names_and_addresses_are_known() {
    let set = [HostName::parse("health.example.com").expect("a name")];
    let hosts = KnownHosts::new("ip-10-0-0-1.ec2.internal", &set);
    let address = Some("10.0.0.1".parse().expect("an address"));
    let check = |host: &str, expected: bool| assert_eq!(hosts.contain(host, address), expected, "{host}");
    for known in [
        "localhost",
        "LOCALHOST:9470",
        "127.0.0.1:9470",
        "[::1]:9470",
        "10.0.0.1:9470",
        "ip-10-0-0-1",
        "ip-10-0-0-1.ec2.internal:9470",
        "health.example.com:80",
    ] {
        check(known, true);
    }
    for unknown in ["", "evil.example.com", "localhost.evil.example", "10.0.0.2", "a b", "127.0.0.1.evil:1"] {
        check(unknown, false);
    }
}
