use std::path::Path;
use std::time::Duration;

use super::effective::WITHOUT_DEFAULT;
use super::{LogFormat, Mistake, Settings};
use crate::registry::EcrRegistry;

const EXAMPLE: &str = include_str!("../../agent.toml");

/// The example's keys, uncommented, without those that have no default.
fn uncommented() -> String {
    let is_setting = |line: &&str| {
        let setting = line.strip_prefix('#').unwrap_or_default();
        setting.starts_with('[') || setting.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
    };
    let settings = EXAMPLE.lines().filter(is_setting).map(|line| &line[1..]);
    let is_optional =
        |line: &&str| line.split_once(" = ").is_some_and(|(key, _)| WITHOUT_DEFAULT.contains(&key));
    settings.filter(|line| !is_optional(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_annotated_example_is_all_defaults() {
    assert_eq!(Settings::parse(EXAMPLE), Ok(Settings::default()));
    let mut expected = Settings::default();
    let parsed = Settings::parse(&uncommented()).expect("the example is right");
    expected.registries = parsed.registries.clone();
    assert_eq!(parsed, expected);
    assert_eq!(parsed.registries.len(), 1);
}

#[test]
fn the_annotated_example_has_every_key() {
    let refused = Settings::parse(
        "x = 1\n[published]\nx = 1\n[refresh]\nx = 1\n[deadlines]\nx = 1\n[log]\nx = 1\n[health]\nx = 1\n[hadoop]\nx = 1\n[node]\nx = 1\n[[registries]]\nx = 1\n[[docker_configs]]\nx = 1\n",
    );
    for mistake in
        refused.expect_err("x is no key").iter().filter(|mistake| mistake.message.contains("known here"))
    {
        let (_, known) = mistake.message.split_once("known here: ").expect("a list of keys");
        for key in known.split(", ") {
            let documented = [format!("#{key} = "), format!("#[{key}]"), format!("#[[{key}]]")];
            assert!(documented.iter().any(|form| EXAMPLE.contains(form)), "{key} is not in the example");
        }
    }
}

#[test]
fn every_value_is_taken_over() {
    let settings = Settings::parse(
        r#"
        discover_registries = false
        [[registries]]
        host = "123456789123.dkr.ecr.eu-west-1.amazonaws.com"
        aliases = ["127.0.0.1:5000"]
        [[docker_configs]]
        path = "/home/hadoop/.docker/config.json"
        mode = "0640"
        owner = "hadoop:hadoop"
        [published]
        path = "hdfs://nn:8020/x/config.json"
        group = "yarn"
        replication = 1
        keep_entries = ["https://index.docker.io/v1/"]
        principal = "hadoop@EXAMPLE.COM"
        keytab = "/etc/hadoop.keytab"
        [refresh]
        renew_at = 0.25
        jitter = 0
        pass_interval = "1h"
        minimum_validity = "1h 30m"
        [health]
        listen = "[::1]:1"
        [log]
        format = "json"
        "#,
    )
    .expect("all is right");
    assert!(!settings.discover_registries);
    assert_eq!(settings.registries[0].aliases[0].as_str(), "127.0.0.1:5000");
    assert_eq!(settings.docker_configs.len(), 1);
    assert_eq!(settings.docker_configs[0].mode.bits(), 0o640);
    assert_eq!(settings.published.path.file_system(), Some("hdfs://nn:8020"));
    assert_eq!(settings.published.group.as_deref(), Some("yarn"));
    let kept = settings.published.keep_entries.as_ref().expect("a list");
    assert_eq!(kept[0].as_str(), "https://index.docker.io/v1/");
    let kerberos = settings.published.kerberos.expect("a login");
    assert_eq!(kerberos.principal, "hadoop@EXAMPLE.COM");
    assert_eq!(kerberos.keytab.as_deref(), Some(Path::new("/etc/hadoop.keytab")));
    assert_eq!(settings.refresh.minimum_validity, Duration::from_secs(5400));
    assert_eq!((settings.refresh.renew_at, settings.refresh.jitter), (0.25, 0.0));
    assert_eq!(settings.log.format, LogFormat::Json);
}

#[test]
fn a_registry_is_asked_for_as_its_table_says() {
    let settings = Settings::parse(
        r#"
        [[registries]]
        host = "210987654321.dkr.ecr.eu-west-1.amazonaws.com"
        region = "eu-west-3"
        role_arn = "arn:aws:iam::210987654321:role/ecr-reader"
        external_id = "agreed"
        profile = "base"
        endpoint = "https://ecr.example.com"
        [[registries]]
        host = "public.ecr.aws"
        "#,
    )
    .expect("all is right");
    let [private, public] = settings.registries.as_slice() else { panic!("two registries") };
    assert_eq!(
        private.scope.to_string(),
        "ECR in eu-west-3 at https://ecr.example.com as arn:aws:iam::210987654321:role/ecr-reader by the profile base"
    );
    let role = private.scope.identity.role.as_ref().expect("a role");
    assert_eq!(role.external_id.as_ref().map(|id| id.as_str()), Some("agreed"));
    assert_eq!(role.session_name.as_str(), "emr-ecr-agent");
    assert_eq!(public.scope.to_string(), "ECR Public");
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let check = |text: &str, expected: &[(usize, &str, &str)]| {
        let mistakes = Settings::parse(text).expect_err(text);
        let found: Vec<_> = mistakes.iter().map(|Mistake { line, key, .. }| (*line, key.as_str())).collect();
        assert_eq!(found, expected.iter().map(|(line, key, _)| (*line, *key)).collect::<Vec<_>>(), "{text}");
        for (mistake, (_, _, words)) in mistakes.iter().zip(expected) {
            assert!(mistake.message.contains(words), "{mistake}");
        }
    };
    check(
        "[refresh]\nrenew_at = 2\njiter = 0.1\n",
        &[(2, "refresh.renew_at", "0.1 to 0.9"), (3, "refresh.jiter", "jitter")],
    );
    check("[[registries]]\naliases = []\n", &[(2, "registries.host", "required")]);
    let tables = |aliases: &str, host: &str, role: &str| {
        format!(
            "[[registries]]\nhost = \"123456789123.dkr.ecr.us-east-1.amazonaws.com\"\naliases = [\"proxy.example\", \"987654321987.dkr.ecr.us-east-1.amazonaws.com\"]\n[[registries]]\nhost = \"{host}.dkr.ecr.us-east-1.amazonaws.com\"\n{aliases}\n{role}"
        )
    };
    let shared = "aliases = [\"proxy.example\"]";
    let role = "role_arn = \"arn:aws:iam::210987654321:role/ecr-reader\"\n";
    check(&tables(shared, "210987654321", role), &[(6, "registries.aliases", "a name in a table above")]);
    check(&tables("", "987654321987", role), &[(5, "registries.host", "is an alias of a table above")]);
    let same = Settings::parse(&tables(shared, "210987654321", "")).expect("one identity, one token");
    let discovered = EcrRegistry::parse("987654321987.dkr.ecr.us-east-1.amazonaws.com").expect("a registry");
    assert_eq!(same.wanted_registries(&[discovered]).len(), 2, "an alias is served already");
    let table = |rest: &str| {
        format!("[[registries]]\nhost = \"123456789123.dkr.ecr.us-east-1.amazonaws.com\"\n{rest}\n")
    };
    for (rest, key, words) in [
        ("role_arn = \"ecr-reader\"", "registries.role_arn", "arn:aws:iam::"),
        ("external_id = \"agreed\"", "registries.external_id", "requires role_arn"),
        ("session_name = \"agent\"", "registries.session_name", "requires role_arn"),
        ("profile = \"\"", "registries.profile", "profile of ~/.aws/config"),
        ("endpoint = \"ecr.example.com\"", "registries.endpoint", "https://"),
        ("region = \"US East\"", "registries.region", "us-east-1"),
    ] {
        check(&table(rest), &[(3, key, words)]);
    }
    check(&table(&table("")), &[(4, "registries.host", "table above")]);
    check(
        "[[registries]]\nhost = \"public.ecr.aws\"\nregion = \"eu-west-1\"\n",
        &[(3, "registries.region", "us-east-1")],
    );
    check("static_credentials = \"credentials.json\"\n", &[(1, "static_credentials", "absolute path")]);
    check("[[registries]]\nhost = \"docker.io\"\n", &[(2, "registries.host", "12-digit account")]);
    check("registries = 1\n", &[(1, "registries", "[[registries]]")]);
    check("published = 1\n", &[(1, "published", "[published]")]);
    check(
        "[published]\nmode = \"0044\"\nreplication = 0\n",
        &[(2, "published.mode", "0600"), (3, "published.replication", "1 to 512")],
    );
    check("[published]\npath = \"s3://bucket/config.json\"\n", &[(2, "published.path", "hdfs://")]);
    check("[published]\nkeytab = \"/x\"\n", &[(2, "published.principal", "required")]);
    check("[published]\nprincipal = \"hadoop\"\n", &[(2, "published.principal", "hadoop/host@EXAMPLE.COM")]);
    check("[health]\nlisten = \"localhost\"\n", &[(2, "health.listen", "127.0.0.1:9470")]);
    check("[refresh]\npass_interval = \"0s\"\n", &[(2, "refresh.pass_interval", "1s")]);
    check("a = \n[published\n", &[(1, "", "is not TOML"), (2, "", "is not TOML")]);
    for (level, words) in [("debug", "print secrets"), ("trace", "print secrets"), ("all", "\"info\"")] {
        check(&format!("[log]\nlibraries = \"{level}\"\n"), &[(2, "log.libraries", words)]);
    }
    check("discover_registries = \"yes\"\n", &[(1, "discover_registries", "true or false")]);
}
