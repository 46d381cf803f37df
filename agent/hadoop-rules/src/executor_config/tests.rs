use alloc::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn parse(text: &str, rules: Rules) -> Result<ExecutorConfig, ParseError> {
    ExecutorConfig::parse(text, rules)
}

fn check_value(text: &str, expected: Option<&str>) {
    let config = parse(text, Rules::V3_3).expect("a good configuration");
    let value = config.get(DOCKER, "k").map(lossy);
    assert_eq!(value.as_deref(), expected, "{text:?}");
}

#[test]
fn values_are_cut_trimmed_and_dropped_as_the_native_code_does() {
    check_value("[docker]\nk=v", Some("v"));
    check_value("[docker]\n \t k \x0b=\x0c v\r \n", Some("v"));
    check_value("[docker]#x\nk=v", Some("v"));
    check_value("[docker]\0x\nk=v", Some("v"));
    check_value("[docker]\nk=a=b", Some("a"));
    check_value("[docker]\nk==a", Some("a"));
    check_value("[docker]\n=k=a=b", Some("a"));
    check_value("[docker]\nk= =a", Some(""));
    check_value("[docker]\nk=a b # c", Some("a b"));
    check_value("[docker]\nk=a\0b", Some("a"));
    check_value("[docker]\nk= ", Some(""));
    check_value("[docker]\nk= #c", Some(""));
    check_value("[docker]\nk=", None);
    check_value("[docker]\nk=#c", None);
    check_value("[docker]\nk==", None);
    check_value("[docker]\n#k=v", None);
    check_value("[docker]\nK=v", None);
    check_value("[Docker]\nk=v", None);
    check_value("[ docker ]\nk=v", None);
    check_value("k=v\n[docker]", None);
    check_value("[docker]\nk=1\nk=2", Some("1"));
    check_value("[docker]\n[a]\nk=2\n[docker]\nk=1\n", Some("1"));
    check_value("[docker]\nk=\u{a0}v", Some("\u{a0}v"));
    check_value("\0\n[docker]\n\0junk\nk=v", Some("v"));
}

fn check_fault(text: &str, variant: &str, line: Option<u32>, exit: Option<u8>) {
    for rules in Rules::ALL {
        let error = parse(text, rules).expect_err(text);
        let name = format!("{error:?}");
        let name = name.split(' ').next().unwrap_or_default();
        assert_eq!((name, error.line(), error.exit_code()), (variant, line, exit), "{text:?}");
    }
}

#[test]
fn faults_have_a_line_and_an_exit_code() {
    check_fault("a=b\n ", "WhitespaceLine", Some(2), Some(24));
    check_fault("\r\n", "WhitespaceLine", Some(1), Some(24));
    check_fault("a=b\n  # c", "WhitespaceLine", Some(2), Some(24));
    check_fault("[docker] \n", "BrokenHeader", Some(1), Some(24));
    check_fault("[docker]\r\n", "BrokenHeader", Some(1), Some(24));
    check_fault(" [docker]", "BrokenHeader", Some(1), Some(24));
    check_fault("[", "BrokenHeader", Some(1), Some(24));
    check_fault("\n\nfoo", "NoEqualsSign", Some(3), Some(24));
    check_fault("\u{feff}#", "NoEqualsSign", Some(1), Some(24));
    check_fault("==", "OnlyEqualsSigns", Some(1), Some(24));
    check_fault("a=b\n[]", "EmptySectionName", Some(2), Some(24));
    check_fault("", "NothingConfigured", None, Some(24));
    check_fault("# c\nk=\n", "NothingConfigured", None, Some(24));
    let repeated = "RepeatedEmptySection";
    check_fault("[a]\nk=\n[a]", repeated, Some(3), Some(18));
    check_fault("[a]\n[a]\n[b]\n[a]\n", repeated, Some(4), Some(18));
    check_fault("[a]\nk=\n[a]\n[]", repeated, Some(3), Some(18));
    check_fault("[a]\nk=\n[a]\nfoo", "NoEqualsSign", Some(4), Some(24));
    check_fault("[a]\nk=v\n[a]\n[a]\nk=\n[a]\n[b]\n[b]\n[b]", repeated, Some(9), Some(18));
    check_fault(&sections(20), "TooManySections", Some(20), None);
    let with_head = format!("k=v\n{}", sections(19));
    check_fault(&with_head, "TooManySections", Some(20), None);
}

#[test]
fn nineteen_sections_may_be_repeated() {
    let text = format!("k=\n{}k=v\n{}", sections(19), sections(19).replace('\n', "\nk=v\n"));
    let config = parse(&text, Rules::V3_2).expect("a good configuration");
    assert_eq!(config.sections().count(), 19);
    assert!(config.sections().all(|name| name != HEAD.as_bytes()));
}

fn sections(count: usize) -> String {
    (0..count).map(|number| format!("[s{number}]\n")).collect()
}

fn check_list(value: &str, rules: Rules, expected: &[&str]) {
    let found: Vec<_> = List::split(value.as_bytes(), rules).iter().map(lossy).collect();
    assert_eq!(found, expected, "{value:?} under {rules}");
}

#[test]
fn lists_keep_blanks_and_differ_when_empty() {
    for rules in Rules::ALL {
        check_list("a", rules, &["a"]);
        check_list(",a,, b,\"c\",", rules, &["a", " b", "\"c\""]);
    }
    check_list("", Rules::V3_2, &[]);
    check_list(",,", Rules::V3_2, &[]);
    check_list("", Rules::V3_3, &[""]);
    check_list(",,", Rules::V3_3, &[",,"]);
}

#[test]
fn features_are_switched_by_words_and_numbers() {
    let table = [
        ("TRUE", true),
        ("1", true),
        ("+01", true),
        ("4294967297", true),
        ("-4294967295", true),
        ("99999999999999999999", false),
        ("0", false),
        ("2", false),
        ("1x", false),
        ("1 ,", false),
        ("yes", false),
        ("+", false),
        (" ", false),
    ];
    for (value, expected) in table {
        let text = format!("{FEATURE_DOCKER_KEY}={value}\n");
        let config = parse(&text, Rules::V3_3).expect("a good configuration");
        assert_eq!(config.docker_supported(), expected, "{value}");
    }
}

#[test]
fn notes_tell_what_was_changed_or_ignored() {
    let text = "k=1 # c\n[a]\nk=\nx=1=2\nx=3\n[a]\nx=4\ny=\0\n#=\n";
    let config = parse(text, Rules::V3_3).expect("a good configuration");
    let notes: Vec<_> = config.notes().iter().map(|note| (note.line, note.kind)).collect();
    let expected = [
        (1, NoteKind::CutAtHash),
        (3, NoteKind::DroppedEntry),
        (4, NoteKind::CutAtEqualsSign),
        (5, NoteKind::Shadowed { by: 4 }),
        (6, NoteKind::RepeatedSection),
        (7, NoteKind::Shadowed { by: 4 }),
        (8, NoteKind::CutAtNul),
        (8, NoteKind::DroppedEntry),
    ];
    assert_eq!(notes, expected);
    assert_eq!(config.notes().left_out(), 0);
    let lines: Vec<_> = config.entries("a").map(|entry| entry.line).collect();
    assert_eq!(lines, [4]);
}

#[test]
fn a_large_hostile_file_is_read_in_bounds() {
    let text = "k=v=\n".repeat(50_000);
    let config = parse(&text, Rules::V3_3).expect("a good configuration");
    assert_eq!(config.entries(HEAD).count(), 1);
    assert_eq!((config.notes().iter().count(), config.notes().left_out()), (1_000, 48_999));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(text: Vec<u8>) {
        for rules in Rules::ALL {
            let parsed = ExecutorConfig::parse(text.clone(), rules);
            if let Err(error) = parsed {
                error.native_message("path");
            }
        }
    }

    #[test]
    fn lines_of_the_grammars_own_bytes_do_not_either(text in r"[k=#\[\]\n ,\x00\r]{0,60}") {
        let outcomes = Rules::ALL.map(|rules| parse(&text, rules).is_ok());
        prop_assert_eq!(outcomes[0], outcomes[1]);
    }

    #[test]
    fn what_is_rendered_is_read_back(
        sections in prop::collection::btree_map(
            "[a-z]{1,8}",
            prop::collection::btree_map("[a-z.]{1,12}", "[!-\"$-<>-~]{1,20}", 1..5),
            1..8,
        ),
    ) {
        let text = render(&sections);
        let config = parse(&text, Rules::V3_3).expect("a good configuration");
        for (section, entries) in &sections {
            for (key, value) in entries {
                prop_assert_eq!(config.get(section, key), Some(value.as_bytes()));
            }
            prop_assert_eq!(config.entries(section).count(), entries.len());
        }
        prop_assert_eq!(config.notes().iter().count(), 0);
    }
}

fn render(sections: &BTreeMap<String, BTreeMap<String, String>>) -> String {
    let mut text = String::new();
    for (section, entries) in sections {
        text.extend(["[", section, "]\n"]);
        for (key, value) in entries {
            text.extend([key, " = ", value, "\n"]);
        }
    }
    text
}
