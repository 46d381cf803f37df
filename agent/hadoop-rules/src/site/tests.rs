use alloc::collections::BTreeMap;
use std::error::Error;

use proptest::prelude::*;

use super::*;

/// Included files by name.
struct Files(BTreeMap<&'static str, &'static str>);

impl Includes for Files {
    fn load(&self, href: &str, base: &str) -> Option<Vec<u8>> {
        assert_eq!(base, "core-site.xml", "names are relative to the loaded file");
        self.0.get(href).map(|text| text.as_bytes().to_vec())
    }
}

struct Node;

impl Variables for Node {
    fn environment(&self, name: &str) -> Option<String> {
        match name {
            "HOME" => Some("/home/yarn".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn system_property(&self, name: &str) -> Option<String> {
        let is_known = ["user.name", "env."].contains(&name);
        is_known.then(|| "yarn".to_owned())
    }
}

fn load(properties: &str) -> Result<Site, SiteError> {
    let text = format!(
        "<?xml version=\"1.0\"?>\n<configuration xmlns:xi=\"http://www.w3.org/2001/XInclude\">\n{properties}\n</configuration>\n"
    );
    let files = Files(BTreeMap::from([
        ("one.xml", "<c><property name='i' value='1'/></c>"),
        ("final.xml", "<c>\n<property name='k' value='inc' final='true'/></c>"),
        ("nested.xml", "<c><include href='one.xml'/></c>"),
        ("loop.xml", "<c><include href='loop.xml'/></c>"),
        ("broken.xml", "<c>\n</d>"),
    ]));
    let mut site = Site::new();
    site.load("core-site.xml", text.as_bytes(), &files)?;
    Ok(site)
}

fn check_value(properties: &str, expected: Option<&str>) {
    let site = load(properties).expect("a good file");
    let value = site.property("k").map(|property| property.value.as_str());
    assert_eq!(value, expected, "{properties}");
}

#[test]
fn properties_are_read_as_a_stream_of_tags() {
    check_value("<property><name>k</name><value>v</value></property>", Some("v"));
    check_value("<property><name> \tk\n</name><value> v\n</value></property>", Some(" v\n"));
    check_value("<property name='k' value='v'/>", Some("v"));
    check_value("<property name='k'><value>v</value></property>", Some("v"));
    check_value("<property name='k' value='a'><value></value></property>", Some("a"));
    check_value("<property><name>k</name><value></value></property>", None);
    check_value("<property><name>k</name></property>", None);
    check_value("<property name=' k' value='v'/>", None);
    check_value("<property name='k' value='v'><name></name></property>", Some("v"));
    check_value(
        "<property name='k' value='1'/><property final='true'/><property name='k' value='2'/>",
        Some("2"),
    );
    check_value("<property name='k'><value>a<!-- b --><![CDATA[<]]>&amp;</value></property>", Some("a<&"));
    check_value("<property name='k'><value>a<b>c</b>d</value></property>", Some("acd"));
    check_value("<property name='k' value='1'/><property name='k' value='2'/>", Some("2"));
    check_value("<property name='k' value='1' final='true'/><property name='k' value='2'/>", Some("1"));
    check_value(
        "<property><name>k</name><value>1</value><final> true </final></property><property name='k' value='2'/>",
        Some("2"),
    );
    check_value(
        "<property><name>k</name><value>1</value><final>true</final></property><property name='k' value='2'/>",
        Some("1"),
    );
    check_value(
        "<property name='k' value='1' final='true'><final/></property><property name='k' value='2'/>",
        Some("2"),
    );
    check_value("<property name='k' final='true'/><property name='k' value='2'/>", None);
    check_value("<xi:include href='final.xml'/><property name='k' value='2'/>", Some("inc"));
    check_value(
        "<xi:include href='none.xml'><xi:fallback><property name='k' value='f'/></xi:fallback></xi:include>",
        Some("f"),
    );
    check_value(
        "<xi:include href='one.xml'><xi:fallback><property name='k' value='f'/></xi:fallback></xi:include>",
        None,
    );
    check_value("<xi:include/><property name='k' value='2'/>", Some("2"));
}

#[test]
fn origins_name_file_and_line() {
    let site = load(
        "<property name='a' value='1'/>\n<xi:include href='final.xml'/>\n<xi:include href='nested.xml'/>",
    )
    .expect("a good file");
    let origin = |name| {
        let origin = &site.property(name).expect("the property").origin;
        (origin.file.as_str(), origin.line)
    };
    assert_eq!(origin("a"), ("core-site.xml", 3));
    assert_eq!(origin("k"), ("final.xml", 2));
    assert_eq!(origin("i"), ("one.xml", 1));
}

#[test]
fn later_files_override_unless_final() {
    let mut site = load("<property name='a' value='1'/><property name='b' value='1' final='true'/>")
        .expect("a good file");
    let later = "<c><property name='a' value='2'/><property name='b' value='2'/></c>";
    site.load("hdfs-site.xml", later.as_bytes(), &NoIncludes).expect("a good file");
    let values = ["a", "b"].map(|name| {
        let property = site.property(name).expect(name);
        (property.value.as_str(), property.origin.file.as_str())
    });
    assert_eq!(values, [("2", "hdfs-site.xml"), ("1", "core-site.xml")]);
}

fn check_fault(properties: &str, message: &str, has_cause: bool) {
    let error = load(properties).expect_err(properties);
    assert_eq!(error.to_string(), message);
    assert_eq!(error.source().is_some(), has_cause);
}

#[test]
fn faults_name_file_and_line() {
    check_fault("<property>", "core-site.xml is not well-formed XML at line 4", true);
    check_fault(
        "\n<xi:include href='none.xml'/>",
        "core-site.xml includes none.xml at line 4, which does not exist and has no fallback",
        false,
    );
    check_fault(
        "<xi:include href='broken.xml'><xi:fallback/></xi:include>",
        "broken.xml is not well-formed XML at line 2",
        true,
    );
    check_fault(
        "<xi:include href='loop.xml'/>",
        "loop.xml includes loop.xml at line 1, more than 32 levels deep",
        false,
    );
    let fault = |text: &[u8]| Site::new().load("core-site.xml", text, &NoIncludes).expect_err("a fault");
    let encoding = fault(b"<c>\n\xff</c>");
    assert_eq!(encoding.to_string(), "core-site.xml is not in the encoding that it declares, at line 2");
    assert_eq!(encoding.line(), 2);
    let include = fault(b"<c>\n\n\n<include href='one.xml'/></c>");
    assert!(matches!(include, SiteError::IncludeNotFound { .. }), "{include}");
    assert_eq!(include.line(), 4);
}

/// Each of five levels includes the next one ten times.
struct Wide;

impl Includes for Wide {
    fn load(&self, href: &str, _base: &str) -> Option<Vec<u8>> {
        let level: usize = href.parse().ok()?;
        let include = format!("<include href='{}'/>", level + 1);
        let next = if level < 5 { include.repeat(10) } else { String::new() };
        Some(format!("<c>{next}</c>").into_bytes())
    }
}

#[test]
fn includes_are_bounded_by_their_number() {
    let error = Site::new().load("core-site.xml", b"<c><include href='0'/></c>", &Wide);
    let error = error.expect_err("too many");
    assert!(matches!(error, SiteError::IncludesTooLarge { .. }), "{error}");
}

#[test]
fn a_file_has_no_more_tags_than_the_bound() {
    let file = format!("<c>{}</c>", "<a/>".repeat(200_000));
    let error = Site::new().load("f", file.as_bytes(), &NoIncludes).expect_err("too many nodes");
    assert!(matches!(error, SiteError::Xml { cause: roxmltree::Error::NodesLimitReached, .. }), "{error:?}");
}

/// Each include yields as many bytes as its name states, none of them XML.
struct Zeros;

impl Includes for Zeros {
    fn load(&self, href: &str, _base: &str) -> Option<Vec<u8>> {
        Some(vec![0; href.parse().ok()?])
    }
}

#[test]
fn includes_are_bounded_by_their_size_in_total() {
    let load = |more: usize| {
        let file = "<c><include href='SIZE'/></c>";
        let size = parser::MOST_BYTES - "<c><include href='33554432'/></c>".len() + more;
        let file = file.replace("SIZE", &size.to_string());
        Site::new().load("f", file.as_bytes(), &Zeros).expect_err("zeros")
    };
    assert!(matches!(load(0), SiteError::Xml { line: 1, .. }));
    assert!(matches!(load(1), SiteError::IncludesTooLarge { line: 1, .. }));
}

#[test]
fn as_many_includes_as_the_bound_are_read() {
    let load = |count: usize| {
        let file = format!("<c>{}</c>", "<include href='5'/>".repeat(count));
        Site::new().load("f", file.as_bytes(), &Wide)
    };
    assert!(load(parser::MOST_FILES).is_ok());
    assert!(matches!(load(parser::MOST_FILES + 1), Err(SiteError::IncludesTooLarge { .. })));
}

fn load_with_entities(entities: &str, value: &str) -> Result<Site, SiteError> {
    let file = format!("<!DOCTYPE c [{entities}]>\n<c><property name='k' value='{value}'/></c>");
    let mut site = Site::new();
    site.load("core-site.xml", file.as_bytes(), &NoIncludes)?;
    Ok(site)
}

#[test]
fn entities_are_bounded_by_what_they_expand_to() {
    let site = load_with_entities("<!ENTITY h 'nn.example'><!ENTITY u 'hdfs://&h;'>", "&u;/&u;");
    let property = site.expect("a good file");
    assert_eq!(property.property("k").map(|k| k.value.as_str()), Some("hdfs://nn.example/hdfs://nn.example"));

    let large = format!("<!ENTITY e '{}'>", "e".repeat(400_000));
    let error = load_with_entities(&large, &"&e;".repeat(100_000)).expect_err("40 GB");
    assert!(matches!(error, SiteError::EntitiesTooLarge { line: 1, .. }), "{error}");
    let laughs = "<!ENTITY a 'ha'>".to_owned() + &format!("<!ENTITY b '{}'>", "&a;".repeat(255));
    let error = load_with_entities(&laughs, &"&b;".repeat(10_000)).expect_err("too many");
    assert!(matches!(error, SiteError::EntitiesTooLarge { line: 1, .. }), "{error}");
}

#[test]
fn entities_may_expand_to_as_much_as_the_bound() {
    let load = |more: usize| {
        let dtd = format!("{:1$}", "<!DOCTYPE c [<!ENTITY e 'x'>", 32 * 1024 + more);
        let file = format!("\n\n{dtd}] ><c>{}</c>", "&e;".repeat(1024));
        Site::new().load("f", file.as_bytes(), &NoIncludes)
    };
    assert!(load(0).is_ok());
    assert!(matches!(load(1), Err(SiteError::EntitiesTooLarge { line: 3, .. })));
}

fn check_expansion(value: &str, expected: &str) {
    let site = load(&format!(
        "<property name='k' value='{value}'/><property name='o' value='other'/><property name='p' value='${{o}}!'/>"
    ))
    .expect("a good file");
    let resolved = site.resolve(&Node);
    assert_eq!(resolved.get("k"), Some(expected), "{value}");
}

#[test]
fn variables_are_expanded_leftmost_first() {
    check_expansion("a${o}b", "aotherb");
    check_expansion("${p}", "other!");
    check_expansion("${o}${p}", "otherother!");
    check_expansion("${user.name}", "yarn");
    check_expansion("${env.HOME}/x", "/home/yarn/x");
    check_expansion("${env.NONE}", "${env.NONE}");
    check_expansion("${env.NONE:-d}", "d");
    check_expansion("${env.NONE-d}", "d");
    check_expansion("${env.EMPTY:-d}", "d");
    check_expansion("${env.EMPTY-d}", "");
    check_expansion("${env.NONE-}", "");
    check_expansion("${unknown}${o}", "${unknown}${o}");
    check_expansion("${k}", "${k}");
    check_expansion("${o}${k}", "${o}${k}");
    check_expansion("${}", "${}");
    check_expansion("${}${o}", "${}other");
    check_expansion("${env.}", "yarn");
    check_expansion("${a b}${a b}${o}x", "${a b}${a b}otherx");
    check_expansion("${a b}${o}", "${a b}other");
    check_expansion("${a${o}", "${aother");
    check_expansion("${o", "${o");
    check_expansion("$${o}", "$other");
    check_expansion(&"${o}".repeat(19), &"other".repeat(19));
}

#[test]
fn too_many_variables_spoil_one_property_only() {
    let many = "${o}".repeat(21);
    let site = load(&format!("<property name='k' value='{many}'/><property name='o' value='v'/>"))
        .expect("a good file");
    let resolved = site.resolve(&NoVariables);
    assert_eq!(resolved.get("k"), None);
    assert_eq!(resolved.get("o"), Some("v"));
    assert_eq!(resolved.faults(), [("k".to_owned(), SubstitutionError::TooDeep)]);
}

#[test]
fn nothing_is_known_outside_without_variables() {
    let site =
        load("<property name='k' value='${env.HOME}${user.name}'/><property name='l' value='${user.name}'/>");
    let resolved = site.expect("a good file").resolve(&NoVariables);
    assert_eq!(resolved.get("k"), Some("${env.HOME}${user.name}"));
    assert_eq!(resolved.get("l"), Some("${user.name}"));
}

#[test]
fn values_come_whole_trimmed_and_as_lists() {
    let site = load("<property name='k'><value> a , b </value></property>").expect("a good file");
    let resolved = site.resolve(&NoVariables);
    assert_eq!(resolved.values().iter().collect::<Vec<_>>(), [(&"k".to_owned(), &" a , b ".to_owned())]);
    assert_eq!((resolved.trimmed("k"), resolved.trimmed("l")), (Some("a , b"), None));
    assert_eq!((resolved.list("k"), resolved.list("l")), (vec!["a", "b"], vec![]));
}

fn check_list(value: &str, expected: &[&str]) {
    assert_eq!(trimmed_strings(value), expected, "{value:?}");
}

#[test]
fn lists_are_trimmed_and_lose_empty_items_at_the_end() {
    check_list("a", &["a"]);
    check_list(" a , b\n c ", &["a", "b", "c"]);
    check_list("a,,b,,", &["a", "", "b"]);
    check_list(",a", &["", "a"]);
    check_list("a \n\n b", &["a", "b"]);
    check_list("a b", &["a b"]);
    check_list("", &[]);
    check_list(" \n", &[]);
    check_list(",", &[]);
}

#[test]
fn booleans_are_two_words_in_any_case() {
    let table = [(" TRUE ", Some(true)), ("false", Some(false)), ("1", None), (" ", None)];
    for (value, expected) in table {
        let site = load(&format!("<property name='k' value='{value}'/>")).expect("a good file");
        assert_eq!(site.resolve(&NoVariables).boolean("k"), expected, "{value}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(
        text in "(<property>|</property>|<name>|</name>|<value>|</value>|<include href='x'/>|<fallback>|</fallback>|k|[$][{]|[}]|env[.]|-|:| |\n){0,12}",
    ) {
        let text = format!("<c>{text}</c>");
        let mut site = Site::new();
        if site.load("f", text.as_bytes(), &NoIncludes).is_ok() {
            site.resolve(&Node);
        }
    }
}
