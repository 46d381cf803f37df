use serde_json::Value;

use super::*;

const CASES: &str = include_str!("../../testdata/setup.jsonl");

const GOOD: &str = "yarn.nodemanager.linux-container-executor.group=hadoop\n[docker]\nmodule.enabled=true\n";

/// What a case's name means: a change to an otherwise good installation under `$B`.
#[derive(Clone)]
struct Installation {
    file: (u32, u32),
    directory: (u32, u32),
    parent: (u32, u32),
    /// None if a directory replaces the file.
    text: Option<String>,
}

#[test]
fn checks_agree_with_hadoop() {
    for line in CASES.lines() {
        let case: Value = serde_json::from_str(line).expect("a case is JSON");
        let id = case["id"].as_str().expect("an id");
        for (version, rules) in [("3.2.1", Rules::V3_2), ("3.4.0", Rules::V3_3)] {
            check_case(installation(id), rules, &case[version], id);
        }
    }
}

fn check_case(installation: Installation, rules: Rules, expected: &Value, id: &str) {
    let chain = [
        ("$B/conf/container-executor.cfg", installation.file),
        ("$B/conf", installation.directory),
        ("$B", installation.parent),
    ]
    .map(|(path, (uid, mode))| Owned { path: path.into(), uid, mode });
    let parsed = installation.text.map(|text| ExecutorConfig::parse(text, rules));
    let content = match &parsed {
        Some(parsed) => ConfigTarget::File(parsed.as_ref()),
        None => ConfigTarget::Directory,
    };
    let binary = Some(Binary { uid: 0, gid: 7, mode: 0o6050 });
    let group = Some(7);
    let outcome = check(&Setup { chain: &chain, content, group, binary });
    let (exit, message) = match &outcome {
        Ok(()) => (0, String::new()),
        Err(fault) => (signed_exit(fault.ending()), fault.native_message()),
    };
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(expected["exit"], exit, "exit of {id}, {rules}");
    assert_eq!(expected["message"], message, "message of {id}, {rules}");
}

/// The cases record a signal as its negative number.
fn signed_exit(ending: Ending) -> i32 {
    match ending {
        Ending::Exit(code) => i32::from(code),
        Ending::Abort => -6,
    }
}

fn installation(id: &str) -> Installation {
    let good = Installation {
        file: (0, 0o644),
        directory: (0, 0o755),
        parent: (0, 0o755),
        text: Some(GOOD.to_owned()),
    };
    let with = |text: &str| Installation { text: Some(text.to_owned()), ..good.clone() };
    if let Some(mode) = id.strip_prefix("mode_") {
        let mode = u32::from_str_radix(mode, 8).expect("an octal mode");
        return Installation { file: (0, mode), ..good };
    }
    match id {
        "owner_other" => Installation { file: (1, 0o644), ..good },
        "dir_group_writable" => Installation { directory: (0, 0o775), ..good },
        "dir_other_writable" => Installation { directory: (0, 0o757), ..good },
        "dir_owner_other" => Installation { directory: (1, 0o755), ..good },
        "parent_world_writable" => Installation { parent: (0, 0o777), ..good },
        "parent_sticky_world_writable" => Installation { parent: (0, 0o1777), ..good },
        // The chain is that of the resolved file, so a link changes nothing.
        "file_symlink" => good,
        "is_directory" => Installation { text: None, ..good },
        "only_comments" => with("# nothing\n"),
        "group_empty" => with(&GOOD.replace("=hadoop", "=")),
        "group_after_section" => {
            with("[docker]\nmodule.enabled=true\nyarn.nodemanager.linux-container-executor.group=hadoop\n")
        }
        "group_with_comment" => with(&GOOD.replace("=hadoop", "=hadoop # the group")),
        "crlf" => with(&GOOD.replace('\n', "\r\n")),
        "section_trailing_blank" => with(&GOOD.replace("[docker]", "[docker] ")),
        "indented_comment" => with(&GOOD.replace("[docker]", "  # comment")),
        "line_without_eq" => with(&GOOD.replace("[docker]", "foo")),
        "bom" => with(&format!("\u{feff}{GOOD}")),
        "no_docker_section" => with(&GOOD.replace("[docker]\nmodule.enabled=true\n", "")),
        other => panic!("no installation is known for {other}"),
    }
}

#[test]
fn a_broken_file_ends_the_check_as_its_parser_ends() {
    let chain = [Owned { path: "/container-executor.cfg".into(), uid: 0, mode: 0o400 }];
    let check = |text: &str, rules, ending| {
        let parsed = ExecutorConfig::parse(text, rules);
        let content = ConfigTarget::File(parsed.as_ref());
        let fault = check(&Setup { chain: &chain, content, group: Some(7), binary: None });
        assert_eq!(fault.map_err(|fault| fault.ending()), Err(ending), "{text} under {rules}");
    };
    let twenty: String = (0..20).map(|number| format!("[s{number}]\n")).collect();
    for rules in Rules::ALL {
        check("a", rules, Ending::Exit(24));
        check("[a]\nk=\n[a]", rules, Ending::Exit(18));
        check(&twenty, rules, Ending::Abort);
    }
    check("", Rules::V3_2, Ending::Abort);
    check("", Rules::V3_3, Ending::Exit(24));
}

#[test]
fn groups_and_binary_are_checked_in_order() {
    let config = ExecutorConfig::parse(GOOD, Rules::V3_3).expect("a good configuration");
    let chain = [Owned { path: "/container-executor.cfg".into(), uid: 0, mode: 0o100_400 }];
    let good = Binary { uid: 0, gid: 7, mode: 0o106_050 };
    let ending_of = |group, binary| {
        let setup =
            Setup { chain: &chain, content: ConfigTarget::File(Ok(&config)), group, binary: Some(binary) };
        check(&setup).err().map(|fault| {
            let ending = fault.ending();
            (fault, ending)
        })
    };
    let table = [
        (Some(7), good, None),
        (None, good, Some((SetupFault::UnknownGroup { group: "hadoop".to_owned() }, Ending::Exit(24)))),
        (Some(8), good, Some((SetupFault::BinaryGroup { expected: 8, actual: 7 }, Ending::Exit(22)))),
        (Some(7), Binary { uid: 1, ..good }, Some((SetupFault::BinaryOwner, Ending::Exit(22)))),
        (Some(7), Binary { mode: 0o6051, ..good }, Some((SetupFault::BinaryOpen, Ending::Exit(22)))),
        (Some(7), Binary { mode: 0o2050, ..good }, Some((SetupFault::BinaryNotSetuid, Ending::Exit(22)))),
    ];
    for (group, binary, expected) in table {
        assert_eq!(ending_of(group, binary), expected, "{group:?} {binary:?}");
    }
}
