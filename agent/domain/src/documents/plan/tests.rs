use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hadoop_rules::client_config;
use jiff::Timestamp;
use proptest::prelude::*;

use super::{Attributes, Credentials, Document, Found, MergeContext, Plan, local, published};
use crate::credentials::{Credential, EntryName, Origin, Renewal, Secret, Token};
use crate::documents::{Contents, Keep, SinkKind};

const HALF: Renewal = Renewal { renew_at: 0.5, jitter: 0.0, jitter_fraction: 0.0 };
const NOW: Timestamp = Timestamp::constant(1_000_000, 0);

fn host(name: &str) -> EntryName {
    EntryName::parse(name).expect("a name")
}

fn wanted(names: &[&str]) -> Credentials {
    let token = |name: &str| Token {
        auth: Secret::new(STANDARD.encode(format!("AWS:token-of-{name}"))),
        issued_at: NOW,
        expires_at: Timestamp::constant(1_043_200, 0),
        origin: Origin::default(),
        predecessor: None,
    };
    names.iter().map(|name| (host(name), Credential::Token(token(name)))).collect()
}

fn file(text: &str) -> Found {
    Found::File { document: Document::new(text.as_bytes().to_vec()), attributes: Attributes::AS_SET }
}

/// What is there once the plan is carried out.
fn carried_out(found: Found, plan: Plan) -> Found {
    match (plan, found) {
        (Plan::Replace { document, .. }, _) => Found::File { document, attributes: Attributes::AS_SET },
        (Plan::SetAttributes, Found::File { document, .. }) => {
            Found::File { document, attributes: Attributes::AS_SET }
        }
        (_, found) => found,
    }
}

fn publish(found: &Found, wanted: &Credentials) -> Plan {
    published(found, wanted, "node-1", &MergeContext { renewal: HALF, now: NOW, ..MergeContext::default() })
}

#[test]
fn what_no_reader_gets_any_more_is_published_again() {
    let check = |last_known: Option<&str>, wanted: &Credentials, expected: &[&str]| {
        let last_known = last_known.map(|text| Document::new(text.as_bytes().to_vec()));
        let unreadable =
            Found::Unreadable { why: "no DataNode has it".to_owned(), last_known: last_known.clone() };
        for found in [unreadable, Found::Absent { last_known }] {
            let after = carried_out(found.clone(), publish(&found, wanted));
            if expected.is_empty() {
                assert_eq!(after, found);
                continue;
            }
            let names: Vec<String> =
                handed_over(&after).expect("YARN takes it").into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, expected);
            assert!(matches!(publish(&after, wanted), Plan::Keep));
        }
    };
    let strangers = r#"{"auths":{"hub.example":{"auth":"aHViOmh1Yg=="}}}"#;
    check(Some(strangers), &wanted(&["a"]), &["a", "hub.example"]);
    check(Some(strangers), &wanted(&[]), &["hub.example"]);
    check(None, &wanted(&["a"]), &["a"]);
    check(None, &wanted(&[]), &[]);
}

#[test]
fn drifted_attributes_are_set_without_writing() {
    let wanted = wanted(&["a"]);
    for plan in [local, publish] {
        let Found::File { document, .. } = carried_out(Found::NOTHING, plan(&Found::NOTHING, &wanted)) else {
            panic!("an absent file is written");
        };
        let drifted = Found::File { document, attributes: Attributes { mode: false, owner: true } };
        assert!(matches!(plan(&drifted, &wanted), Plan::SetAttributes));
    }
}

#[test]
fn poison_is_set_aside_when_published_and_left_alone_locally() {
    for poison in ["{", "", r#"{"auths":{"x":{}}}"#, r#"{"auths":{"x":{"auth":"eA=="}}}"#, "\u{feff}{}"] {
        let plan = publish(&file(poison), &wanted(&["a"]));
        assert!(matches!(plan, Plan::Replace { set_aside: true, .. }), "{poison}");
    }
    assert!(matches!(publish(&file("{}"), &wanted(&["a"])), Plan::Replace { set_aside: false, .. }));
    for not_mergeable in ["{", "[]", r#"{"auths":3}"#, "\u{feff}{}"] {
        assert!(matches!(local(&file(not_mergeable), &wanted(&["a"])), Plan::Leave(_)), "{not_mergeable}");
    }
}

#[test]
fn nothing_wanted_writes_nothing_but_heals_poison() {
    let none = Credentials::new();
    assert!(matches!(local(&Found::NOTHING, &none), Plan::Keep));
    assert!(matches!(publish(&Found::NOTHING, &none), Plan::Keep));
    assert!(matches!(publish(&file(r#"{"auths":{"x":{"auth":"eDp5"}}}"#), &none), Plan::Keep));
    let healed =
        carried_out(Found::NOTHING, publish(&file(r#"{"auths":{"x":{"auth":"eDp5"},"y":{}}}"#), &none));
    assert_eq!(handed_over(&healed), Ok(vec![("x".to_owned(), "eDp5".to_owned())]));
}

#[test]
fn entries_of_others_stay_unless_restricted() {
    let others = r#"{"auths":{"docker.io":{"auth":"eDp5"},"hub.example":{"auth":"eDp5"}}}"#;
    let check = |keep: Keep, expected: &[&str]| {
        let by = MergeContext { renewal: HALF, now: NOW, keep, ..MergeContext::default() };
        let plan = |found: &Found| published(found, &wanted(&["a"]), "node-1", &by);
        let after = carried_out(file(others), plan(&file(others)));
        let names: Vec<String> =
            handed_over(&after).expect("YARN takes it").into_iter().map(|e| e.0).collect();
        assert_eq!(names, expected);
        assert!(matches!(plan(&after), Plan::Keep));
        assert_eq!(Contents::read(&after, SinkKind::Hdfs).strangers(&[host("a")]), expected[1..]);
    };
    check(Keep::All, &["a", "docker.io", "hub.example"]);
    check(Keep::Only([host("a"), host("hub.example")].into()), &["a", "hub.example"]);
    check(Keep::Only([host("a")].into()), &["a"]);
}

#[test]
fn expiry_is_told_of_what_is_held() {
    let wanted = wanted(&["a"]);
    let names = [host("a"), host("b")];
    let expected = [(host("a"), Some(Timestamp::constant(1_043_200, 0)))].into();
    let local_file = carried_out(Found::NOTHING, local(&Found::NOTHING, &wanted));
    assert_eq!(Contents::read(&local_file, SinkKind::Local).held(&names, &wanted), expected);
    let published_file = carried_out(Found::NOTHING, publish(&Found::NOTHING, &wanted));
    assert_eq!(Contents::read(&published_file, SinkKind::Hdfs).held(&names, &wanted), expected);
    for poison in [r#"{"auths":{"x":{}}}"#, r#"{"auths":{"a":{"auth":"eDp5"},"x":{"auth":"eA=="}}}"#] {
        let held = Contents::read(&file(poison), SinkKind::Hdfs).held(&names, &wanted);
        assert_eq!(held, Default::default());
    }
}

/// What YARN would pass to Docker.
fn handed_over(found: &Found) -> Result<Vec<(String, String)>, String> {
    let Found::File { document, .. } = found else { return Err("no file".to_owned()) };
    let credentials = client_config::read(document.bytes()).map_err(|error| error.to_string())?;
    Ok(credentials.into_iter().map(|(registry, auth)| (registry, auth.expose().to_owned())).collect())
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        "[a-z=]{0,8}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let key = prop_oneof![
            Just("auths".to_owned()),
            Just("auth".to_owned()),
            Just("a".to_owned()),
            "[a-z]{0,4}"
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::vec((key, inner), 0..4)
                .prop_map(|pairs| serde_json::Value::Object(pairs.into_iter().collect())),
        ]
    })
}

fn any_found() -> impl Strategy<Value = Found> {
    let text = prop_oneof![
        any_json().prop_map(|value| value.to_string().into_bytes()),
        any_json().prop_map(|auths| serde_json::json!({ "auths": auths }).to_string().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..40),
    ];
    let attributes = (any::<bool>(), any::<bool>()).prop_map(|(mode, owner)| Attributes { mode, owner });
    prop_oneof![
        Just(Found::NOTHING),
        (text, attributes)
            .prop_map(|(text, attributes)| Found::File { document: Document::new(text), attributes }),
    ]
}

proptest! {
    /// The product in one line: whatever is found, after one pass the next plans nothing.
    #[test]
    fn a_second_plan_keeps_everything(found in any_found()) {
        let wanted = wanted(&["a", "b.example:5000"]);
        let after = carried_out(found.clone(), publish(&found, &wanted));
        prop_assert!(matches!(publish(&after, &wanted), Plan::Keep));
        let plan = local(&found, &wanted);
        if !matches!(plan, Plan::Leave(_)) {
            let after = carried_out(found, plan);
            prop_assert!(matches!(local(&after, &wanted), Plan::Keep));
        }
    }

    /// Whatever was found, YARN then passes on every wanted credential.
    #[test]
    fn yarn_reads_what_is_published(found in any_found()) {
        let wanted = wanted(&["a", "b.example:5000"]);
        let after = carried_out(found.clone(), publish(&found, &wanted));
        let handed_over = handed_over(&after).expect("YARN takes it");
        for name in wanted.keys() {
            prop_assert!(handed_over.iter().any(|(registry, _)| registry == name.as_str()));
        }
    }
}
