//! Which of Hadoop's rules apply to a release.

use hadoop_rules::Rules;

/// The version of Hadoop whose rules apply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HadoopVersion {
    pub rules: Rules,
    /// Neither named nor detected.
    pub assumed: bool,
}

impl HadoopVersion {
    pub fn named(rules: Rules) -> Self {
        Self { rules, assumed: false }
    }

    /// From Hadoop's jar names, else from EMR's release label, as in `emr-6.9.0`: what is installed is more
    /// reliable than a label.
    pub fn find<'n>(release: Option<&str>, mut jars: impl Iterator<Item = &'n str>) -> Self {
        let by_jar = jars.find_map(hadoop_version).map(|version| rules_since((3, 3), (3, 4), version));
        let by_release = || {
            let version = release.and_then(emr_version)?;
            Some(rules_since(EMR_WITH_3_3, EMR_WITH_3_4, version))
        };
        match by_jar.or_else(by_release) {
            Some(rules) => Self::named(rules),
            None => Self { rules: Rules::V3_3, assumed: true },
        }
    }
}

/// The first EMR release that runs Docker containers.
const EMR_WITH_DOCKER: (u32, u32) = (6, 0);
/// The first EMR releases with Hadoop 3.3 and 3.4: 6.8.1 still has 3.2.1, 7.3 has 3.3.6.
const EMR_WITH_3_3: (u32, u32) = (6, 9);
const EMR_WITH_3_4: (u32, u32) = (7, 4);

/// The rules of a version, given the first versions with the rules of 3.3 and 3.4.
fn rules_since(first_3_3: (u32, u32), first_3_4: (u32, u32), version: (u32, u32)) -> Rules {
    if version < first_3_3 {
        Rules::V3_2
    } else if version < first_3_4 {
        Rules::V3_3
    } else {
        Rules::V3_4
    }
}

/// Whether the text is a release label, as in `emr-7.3.0`.
pub fn is_release(label: &str) -> bool {
    emr_version(label).is_some()
}

/// Whether the release is older than those that run Docker containers.
pub(super) fn lacks_docker(label: &str) -> bool {
    emr_version(label).is_some_and(|version| version < EMR_WITH_DOCKER)
}

/// Major and minor of a release label such as `emr-6.9.0`.
pub(super) fn emr_version(label: &str) -> Option<(u32, u32)> {
    let text = label.strip_prefix("emr-")?;
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split('.').all(is_number).then(|| version(text))?
}

/// Major and minor of a jar such as `hadoop-common-3.2.1-amzn-3.jar`.
fn hadoop_version(jar: &str) -> Option<(u32, u32)> {
    version(jar.strip_prefix("hadoop-common-")?)
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_follow_the_jars_then_the_release() {
        let check = |release: Option<&str>, jar: &str, expected: (Rules, bool)| {
            let hadoop = HadoopVersion::find(release, [jar].into_iter());
            assert_eq!((hadoop.rules, hadoop.assumed), expected, "{release:?} {jar}");
        };
        for release in ["emr-6.0.0", "emr-6.5.0", "emr-6.6.0", "emr-6.7.0", "emr-6.8.0", "emr-6.8.1"] {
            check(Some(release), "", (Rules::V3_2, false));
        }
        for release in ["emr-6.9.0", "emr-6.14.0", "emr-6.15.0", "emr-7.0.0", "emr-7.3.0"] {
            check(Some(release), "", (Rules::V3_3, false));
        }
        for release in ["emr-7.4.0", "emr-7.10.0", "emr-7.13.0"] {
            check(Some(release), "", (Rules::V3_4, false));
        }
        check(Some("emr-6.6.0"), "hadoop-common-3.3.6.jar", (Rules::V3_3, false));
        check(Some("emr-7.4.0"), "hadoop-common-3.2.1-amzn-3.jar", (Rules::V3_2, false));
        check(None, "hadoop-common-3.3.6-amzn-0.jar", (Rules::V3_3, false));
        check(None, "hadoop-common-3.4.1-amzn-0.jar", (Rules::V3_4, false));
        check(None, "hadoop-common-3.10.0.jar", (Rules::V3_4, false));
        check(Some("nightly"), "hadoop-common-tests.jar", (Rules::V3_3, true));
        check(None, "", (Rules::V3_3, true));
        check(Some("emr-6.foo"), "", (Rules::V3_3, true));
    }

    #[test]
    fn a_release_label_has_only_numbers() {
        for (label, expected) in [
            ("emr-7.3.0", true),
            ("emr-7.3", true),
            ("emr-7.3.foo", false),
            ("emr-7", false),
            ("7.3.0", false),
        ] {
            assert_eq!(is_release(label), expected, "{label}");
        }
    }
}
