//! Configurations found in public, reduced to what matters and with other account numbers, and their expected
//! findings.

#![expect(clippy::disallowed_methods, reason = "the configurations are files")]

use std::fs;
use std::path::Path;

use domain::check::{
    self, Content, EmrNode, HadoopVersion, Inputs, Report, Request, SiteContent, SiteFile, TextFile,
};
use domain::findings::Severity;
use hadoop_rules::Rules;
use hadoop_rules::site::{NoIncludes, NoVariables, Site};
use jiff::Timestamp;

const US: &str = "123456789012.dkr.ecr.us-east-1.amazonaws.com";
const EU: &str = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";

fn bytes(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/public").join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn text_file(name: &str) -> TextFile {
    TextFile { path: name.to_owned(), content: Content::Bytes(bytes(name)) }
}

fn site(name: &str) -> SiteFile {
    let mut site = Site::new();
    site.load(name, &bytes(name), &NoIncludes).expect("a site file");
    let content = SiteContent::Loaded { resolved: site.resolve(&NoVariables), site };
    SiteFile { path: name.to_owned(), content }
}

/// Checks files, named by their endings, without a node.
fn check(rules: Rules, files: &[&str], images: &[String], mounts: &[&str]) -> Report {
    let named = |ending: &str| files.iter().find(|name| name.ends_with(ending));
    let request = Request {
        images: images.iter().map(|image| image.clone().into_bytes()).collect(),
        mounts: mounts.iter().map(|mount| mount.as_bytes().to_vec()).collect(),
        ..Request::default()
    };
    check::run(&Inputs {
        executor_cfg: named(".cfg").map(|name| text_file(name)),
        yarn_site: named(".xml").map(|name| site(name)),
        emr_config: named(".json").map(|name| text_file(name)),
        request,
        machine: &EmrNode,
        ..Inputs::nothing(HadoopVersion::named(rules), Timestamp::UNIX_EPOCH)
    })
}

/// Severity, code and line of the errors and warnings.
fn weighty(report: &Report) -> Vec<(Severity, &'static str, Option<u32>)> {
    let weighty = report.findings.iter().filter(|finding| finding.severity() > Severity::Info);
    weighty.map(|finding| (finding.severity(), finding.code.name, finding.line)).collect()
}

fn error(code: &'static str, line: u32) -> (Severity, &'static str, Option<u32>) {
    (Severity::Error, code, Some(line))
}

fn warning(code: &'static str, line: u32) -> (Severity, &'static str, Option<u32>) {
    (Severity::Warning, code, Some(line))
}

fn would_launch(report: &Report) -> Vec<Option<bool>> {
    report.images.iter().map(|image| image.would_launch).collect()
}

fn fix_of(report: &Report, code: &str) -> String {
    let finding = report.findings.iter().find(|finding| finding.code.name == code).expect("the finding");
    finding.fix.as_ref().expect("a fix").text.clone()
}

#[test]
fn a_repositorys_uri_trusts_only_what_lies_below_it() {
    for keys in ["cdk-keys", "cfn-synth", "cli-keys", "console-keys"] {
        // The image comes from spark-defaults.
        let report = check(Rules::V3_2, &[&format!("repository-uri-{keys}.json")], &[], &[]);
        assert_eq!(would_launch(&report), [Some(false)], "{keys}");
        let expected = [error("image-not-trusted", 10), warning("entry-is-repository", 10)];
        assert_eq!(weighty(&report), expected, "{keys}");
        let host = format!("\"docker.trusted.registries\": \"local,centos,{EU}\"");
        assert!(fix_of(&report, "image-not-trusted").ends_with(&host), "{keys}");
    }
    let both = check(Rules::V3_3, &["repository-uri-cli-keys.json"], &[], &[]);
    assert_eq!(weighty(&both)[2], warning("entry-is-repository", 9));
}

#[test]
fn of_a_member_given_twice_the_last_counts() {
    let report = check(Rules::V3_3, &["duplicate-classification.json"], &[format!("{US}/app:1")], &[]);
    assert_eq!(weighty(&report)[0], error("emr-member-repeated", 5));
    assert_eq!(would_launch(&report), [Some(false)]);
    assert_eq!(report.images[0].trusted, Some(false));
    assert!(fix_of(&report, "emr-member-repeated").contains("one object for each classification"));
}

#[test]
fn what_is_no_json_gets_no_verdict_on_emr() {
    for (name, line, place) in [
        ("trailing-comma.json", 11, "line 11, column 10"),
        ("markdown-emphasis.json", 8, "line 8, column 107"),
    ] {
        let report = check(Rules::V3_3, &[name], &[format!("{US}/app:1")], &[]);
        assert_eq!(weighty(&report), [error("emr-config-unreadable", line)]);
        assert!(report.findings[0].message.contains(place), "{}", report.findings[0].message);
        assert!(report.unread);
        assert_eq!(would_launch(&report), [None]);
    }
}

#[test]
fn placeholders_are_told_from_templates() {
    let image = [format!("{US}/graphstorm-processing-emr:latest-x86_64")];
    let report = check(Rules::V3_3, &["placeholder-angle.json"], &[], &[]);
    let expected = [error("entry-with-placeholder", 8), error("entry-with-placeholder", 9)];
    assert_eq!(weighty(&report), expected);
    assert_eq!(would_launch(&check(Rules::V3_3, &["placeholder-angle.json"], &image, &[])), [Some(false)]);
    // The entry does not trust the repository's own name.
    let filled = check(Rules::V3_3, &["placeholder-filled.json"], &image, &[]);
    assert_eq!(weighty(&filled)[0], error("image-not-trusted", 8));
    let below = [format!("{US}/graphstorm-processing-emr/x:1")];
    assert_eq!(would_launch(&check(Rules::V3_3, &["placeholder-filled.json"], &below, &[])), [Some(true)]);
    let template = check(Rules::V3_3, &["placeholder-terraform.json"], &image, &[]);
    let expected = [warning("emr-value-unresolved", 8), warning("emr-value-unresolved", 9)];
    assert_eq!(weighty(&template), expected);
    assert_eq!((would_launch(&template), template.images[0].trusted), (vec![None], None));
    let entry = check(Rules::V3_3, &["placeholder-entry.cfg"], &[], &[]);
    assert_eq!(weighty(&entry)[0], error("entry-with-wildcard", 4));
}

#[test]
fn given_mounts_replace_those_of_the_node_manager() {
    let report = check(Rules::V3_3, &["gpu-python.json"], &[format!("{US}/app:1")], &[]);
    assert_eq!(would_launch(&report), [Some(false)]);
    let expected = [
        error("network-refused", 11),
        error("capability-refused", 12),
        error("default-mount-refused", 9),
        error("default-mount-refused", 10),
        warning("device-unusable", 8),
    ];
    assert_eq!(weighty(&report), expected);
    let fix = fix_of(&report, "default-mount-refused");
    assert!(fix.ends_with("\"/home/hadoop,/etc/passwd,/usr/lib,/usr/share\""), "{fix}");
    let report = check(Rules::V3_3, &["gpu-best-practices.json"], &[], &[]);
    assert_eq!(weighty(&report)[0], error("docker-not-exactly-true", 22));
    let codes: Vec<_> = weighty(&report).iter().map(|(_, code, _)| *code).collect();
    assert_eq!(codes, ["docker-not-exactly-true", "library-trusts-more", "emr-defaults-lost"]);
    let off = check(Rules::V3_3, &["gpu-docker-off.json"], &[], &[]);
    let codes: Vec<_> = weighty(&off).iter().map(|(_, code, _)| *code).collect();
    for code in ["docker-off", "default-network-not-allowed", "capability-refused", "default-mount-refused"] {
        assert!(codes.contains(&code), "{code}: {codes:?}");
    }
}

#[test]
fn a_finding_has_the_line_of_its_own_member() {
    let report = check(Rules::V3_3, &["lines.json"], &[], &[]);
    let whitespace = error("entry-with-whitespace", 15);
    assert_eq!(weighty(&report)[..2], [whitespace, whitespace]);
    assert!(weighty(&report).contains(&warning("unknown-key", 28)));
}

#[test]
fn hadoops_own_template_has_no_warning() {
    let report = check(Rules::V3_3, &["template-untouched.cfg"], &[], &[]);
    let codes: Vec<_> = weighty(&report).iter().map(|(severity, code, _)| (*severity, *code)).collect();
    assert_eq!(codes, [(Severity::Error, "group-missing"), (Severity::Error, "docker-off")]);
    let report = check(Rules::V3_3, &["template-uncommented.cfg"], &[], &[]);
    assert_eq!(weighty(&report)[0], error("indented-comment", 19));
    // The faults that it hides are reported at once.
    assert!(weighty(&report).contains(&error("entry-with-whitespace", 18)), "{:?}", weighty(&report));
    let dropped = report.findings.iter().filter(|finding| finding.code.name == "key-without-value");
    assert!(dropped.count() > 3);
}

#[test]
fn users_are_checked_as_far_as_a_file_tells() {
    let image = format!("{EU}/app:1");
    let check = |user: &str, expected: Option<bool>| {
        let inputs = Inputs {
            executor_cfg: Some(text_file("krb5-after.cfg")),
            request: Request {
                images: vec![image.clone().into_bytes()],
                user: Some(user.to_owned()),
                ..Request::default()
            },
            ..Inputs::nothing(HadoopVersion::named(Rules::V3_3), Timestamp::UNIX_EPOCH)
        };
        assert_eq!(would_launch(&check::run(&inputs)), [expected], "{user}");
    };
    // Banned by default.
    check("hdfs", Some(false));
    check("root", Some(false));
    check("hadoop", None);
}

#[test]
fn keys_of_the_head_do_nothing_in_a_section() {
    let report = check(Rules::V3_3, &["sections-appended.cfg"], &[], &[]);
    let misplaced =
        (12..=17).filter(|line| weighty(&report).contains(&warning("key-in-wrong-section", *line)));
    assert_eq!(misplaced.collect::<Vec<_>>(), [12, 13, 14, 15, 17], "{:?}", weighty(&report));
    // Trailing spaces do no harm.
    let report = check(Rules::V3_3, &["sections-spaces.cfg"], &[], &[]);
    assert_eq!(weighty(&report), [(Severity::Error, "docker-off", None)]);
    let report = check(Rules::V3_3, &["sections-hdp.cfg"], &[], &[]);
    assert!(weighty(&report).contains(&warning("key-in-wrong-section", 5)));
}

#[test]
fn library_trusts_its_own_images_in_every_release() {
    for rules in Rules::ALL {
        let files = ["playbook.cfg", "playbook-yarn-site.xml"];
        let report = check(
            rules,
            &files,
            &["library/openjdk:8".to_owned()],
            &["/usr/local/hadoop:/usr/local/hadoop:ro"],
        );
        assert_eq!(would_launch(&report), [Some(true)], "{rules} {:?}", weighty(&report));
        // Not an EMR cluster.
        assert!(weighty(&report).iter().all(|(_, code, _)| !code.starts_with("emr-")), "{rules}");
        let mounts = ["/etc/hosts:/etc/hosts:ro"];
        let report = check(rules, &files, &["library/openjdk:8".to_owned()], &mounts);
        assert_eq!(would_launch(&report), [Some(false)], "{rules}");
    }
}

#[test]
fn a_mount_that_no_list_has_is_added_to_one() {
    let krb5 = "/etc/krb5.conf:/etc/krb5.conf:ro";
    let image = [format!("{EU}/app:1")];
    let check = |name: &str, expected: Option<&str>, fix: &str| {
        let report = check(Rules::V3_2, &[name, "krb5-yarn-site.xml"], &image, &[krb5]);
        let found = expected.map(|code| fix_of(&report, code));
        assert!(found.as_deref().is_none_or(|text| text.ends_with(fix)), "{name}: {found:?}");
        assert_eq!(would_launch(&report), [Some(expected.is_none())], "{name}: {:?}", weighty(&report));
    };
    let defaults = "docker.allowed.ro-mounts=/sys/fs/cgroup,/etc/passwd,/usr/lib,/usr/share";
    check("krb5-before.cfg", Some("mount-refused"), &format!("{defaults},/etc/krb5.conf"));
    check("krb5-after.cfg", None, "");
    check("krb5-space.cfg", Some("mount-list-breaks-launches"), &format!("{defaults},/etc/krb5.conf"));
    check("krb5-colon-ro.cfg", Some("mount-list-breaks-launches"), &format!("{defaults},/usr/lib64/nvidia"));
    let whole = "docker.allowed.ro-mounts=/etc/krb5.conf,/etc/passwd,/usr/lib,/usr/share";
    check("krb5-lost-defaults.cfg", Some("default-mount-refused"), whole);
    check("krb5-applied.cfg", Some("default-mount-refused"), whole);
    check("krb5-here.cfg", Some("default-mount-refused"), "/tmp,/mnt/yarn,/var/log/hadoop-yarn/containers");
}

#[test]
fn image_update_pulls_with_roots_own_credentials() {
    let report = check(Rules::V3_3, &["yarn-site-full.json"], &[], &[]);
    assert_eq!(would_launch(&report), [Some(false)]);
    let expected = [
        (Severity::Error, "image-update-without-credential", None),
        warning("entry-is-repository", 23),
        warning("entry-is-repository", 24),
        warning("image-update-on", 15),
        warning("spark-prefix-unknown", 5),
        warning("spark-prefix-unknown", 6),
    ];
    assert_eq!(weighty(&report), expected);
    assert!(report.findings.iter().any(|finding| finding.code.name == "ecr-auto-auth-beside-file"));
}
