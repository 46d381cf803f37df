//! The one table of findings: name, severity, and what happens.

use super::Severity;

/// A kind of finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// Stable, in kebab case.
    pub name: &'static str,
    pub severity: Severity,
    /// What happens if nothing is done.
    pub consequence: &'static str,
}

const NODE_LOST: &str = "container-executor exits with 24: no container starts on this node, and the NodeManager reports it unhealthy or does not start";
const NODE_LOST_22: &str = "container-executor exits with 22: no container starts on this node, and the NodeManager reports it unhealthy or does not start";
const NOT_TRUSTED: &str = "the container loses its mounts and capabilities without an error and ends with exit code 127, or the pull fails first; with a runtime, devices or privileges it is refused";
const NO_MATCH: &str = "no image name begins like this, so the entry trusts nothing";
const REFUSED: &str =
    "container-executor exits with 29 (`Error constructing docker command`), so the container does not start";
const LAUNCH_FAILS: &str =
    "every launch that names this file in YARN_CONTAINER_RUNTIME_DOCKER_CLIENT_CONFIG fails";

macro_rules! codes {
    ($($constant:ident: $name:literal, $severity:ident, $consequence:expr;)*) => {
        $(pub const $constant: Code =
            Code { name: $name, severity: Severity::$severity, consequence: $consequence };)*

        /// Every code, by subject.
        pub const ALL: &[Code] = &[$($constant),*];
    };
}

codes! {
    // How container-executor.cfg is written.
    BLANK_LINE: "blank-line", Error, NODE_LOST;
    INDENTED_COMMENT: "indented-comment", Error, NODE_LOST;
    BROKEN_SECTION_HEADER: "broken-section-header", Error, NODE_LOST;
    CRLF: "crlf", Error, NODE_LOST;
    BYTE_ORDER_MARK: "byte-order-mark", Error, NODE_LOST;
    NO_EQUALS_SIGN: "no-equals-sign", Error, NODE_LOST;
    ONLY_EQUALS_SIGNS: "only-equals-signs", Error, NODE_LOST;
    EMPTY_SECTION_NAME: "empty-section-name", Error, NODE_LOST;
    REPEATED_EMPTY_SECTION: "repeated-empty-section", Error, "container-executor exits with 18: no container starts on this node";
    TOO_MANY_SECTIONS: "too-many-sections", Error, "container-executor is killed by its C library: no container starts on this node";
    NOTHING_CONFIGURED: "nothing-configured", Error, NODE_LOST;

    // The file itself, its folders, and the binary.
    CONFIG_MISSING: "config-missing", Error, NODE_LOST;
    CONFIG_UNREADABLE: "config-unreadable", Error, "the file cannot be judged";
    CONFIG_OWNER: "config-owner", Error, NODE_LOST;
    CONFIG_WRITABLE: "config-writable", Error, NODE_LOST;
    CONFIG_IS_DIRECTORY: "config-is-directory", Error, NODE_LOST;
    GROUP_MISSING: "group-missing", Error, NODE_LOST;
    GROUP_BELOW_SECTION: "group-below-section", Error, NODE_LOST;
    GROUP_UNKNOWN: "group-unknown", Error, NODE_LOST;
    BINARY_OWNER: "binary-owner", Error, NODE_LOST_22;
    BINARY_GROUP: "binary-group", Error, NODE_LOST_22;
    BINARY_OPEN_TO_OTHERS: "binary-open-to-others", Error, NODE_LOST_22;
    BINARY_NOT_SETUID: "binary-not-setuid", Error, NODE_LOST_22;

    // What the file says.
    DOCKER_OFF: "docker-off", Error, "container-executor exits with 32 at every Docker launch";
    DOCKER_NOT_EXACTLY_TRUE: "docker-not-exactly-true", Error, "container-executor exits with 32 at every Docker launch";
    DUPLICATE_KEY: "duplicate-key", Warning, "the first line counts and this one is ignored";
    REPEATED_SECTION: "repeated-section", Info, "the sections become one; of a key in both, the first counts";
    VALUE_CUT_AT_HASH: "value-cut-at-hash", Warning, "everything from the `#` on is cut off, also within a value";
    VALUE_CUT_AT_EQUALS: "value-cut-at-equals", Warning, "everything from the second `=` on is cut off";
    VALUE_CUT_AT_NUL: "value-cut-at-nul", Warning, "everything from the NUL byte on is cut off";
    KEY_WITHOUT_VALUE: "key-without-value", Warning, "the line is dropped, as if the key were not there";
    UNKNOWN_KEY: "unknown-key", Warning, "Hadoop ignores the key without a word";
    KEY_IN_WRONG_SECTION: "key-in-wrong-section", Warning, "Hadoop does not look for the key there and ignores it without a word";

    // Registries.
    TRUSTED_LIST_MISSING: "trusted-list-missing", Error, NOT_TRUSTED;
    REGISTRY_NOT_TRUSTED: "registry-not-trusted", Error, NOT_TRUSTED;
    ENTRY_WITH_BLANK: "entry-with-blank", Error, NO_MATCH;
    ENTRY_WITH_QUOTE: "entry-with-quote", Error, NO_MATCH;
    ENTRY_WITH_SCHEME: "entry-with-scheme", Error, NO_MATCH;
    ENTRY_WITH_WILDCARD: "entry-with-wildcard", Error, NO_MATCH;
    ENTRY_WITH_TAG: "entry-with-tag", Error, NO_MATCH;
    ENTRY_IS_REPOSITORY: "entry-is-repository", Warning, "the entry trusts only what lies below it, not the repository of that name itself";
    LIBRARY_TRUSTS_MORE: "library-trusts-more", Warning, "since Hadoop 3.3 an entry that begins with `library` trusts every image without a `/`, wherever it comes from";
    PRIVILEGED_LIST_IGNORED: "privileged-list-ignored", Info, "Hadoop 3.2 does not read the list: privileged containers go by docker.trusted.registries";
    PRIVILEGED_LIST_DIFFERS: "privileged-list-differs", Info, "some images are trusted in one kind of container and not in the other";
    EMR_DEFAULTS_LOST: "emr-defaults-lost", Warning, "images that relied on EMR's default entries are no longer trusted";

    // What a launch asks for.
    NETWORK_REFUSED: "network-refused", Error, REFUSED;
    CAPABILITY_REFUSED: "capability-refused", Error, REFUSED;
    DEFAULT_MOUNT_REFUSED: "default-mount-refused", Error, REFUSED;
    MOUNT_LIST_BREAKS_LAUNCHES: "mount-list-breaks-launches", Error, "no container of a trusted image starts, whatever it mounts: container-executor exits with 29";
    MOUNT_LIST_TOO_LONG: "mount-list-too-long", Error, "every launch resolves each entry on the node before it looks at a mount; what would be allowed was not judged";
    IMAGE_INVALID: "image-invalid", Error, REFUSED;
    IMAGE_BY_DIGEST: "image-by-digest", Error, REFUSED;
    IMAGE_NOT_TRUSTED: "image-not-trusted", Error, NOT_TRUSTED;
    MOUNT_REFUSED: "mount-refused", Error, REFUSED;
    PRIVILEGED_REFUSED: "privileged-refused", Error, REFUSED;

    // yarn-site.xml.
    SITE_UNREADABLE: "site-unreadable", Error, "the NodeManager does not start with such a file";
    RUNTIME_NOT_ALLOWED: "runtime-not-allowed", Error, "the NodeManager refuses every Docker container";
    WRONG_EXECUTOR_CLASS: "wrong-executor-class", Error, "the NodeManager runs every container without Docker, whatever a job asks for";
    DEFAULT_NETWORK_NOT_ALLOWED: "default-network-not-allowed", Error, "the NodeManager does not start";
    IMAGE_UPDATE_ON: "image-update-on", Warning, "each launch pulls first, without the job's credentials: private images need those of root on the node";
    ECR_AUTO_AUTH_ON: "ecr-auto-auth-on", Info, "EMR fetches credentials itself for registries of the cluster's own Region";
    ECR_AUTO_AUTH_OFF: "ecr-auto-auth-off", Info, "only what the job names in YARN_CONTAINER_RUNTIME_DOCKER_CLIENT_CONFIG, or the node's own Docker config, brings credentials";
    ECR_AUTO_AUTH_SUSPECT: "ecr-auto-auth-suspect", Warning, "users report that EMR's own ECR authentication fails from EMR 6.9.0 on unless its provider class is set";
    ECR_AUTO_AUTH_INSUFFICIENT: "ecr-auto-auth-insufficient", Warning, "EMR's own ECR authentication serves the cluster's Region only: pulls from the other registries need the published file";

    // Credentials.
    CLIENT_CONFIG_MISSING: "client-config-missing", Error, LAUNCH_FAILS;
    CLIENT_CONFIG_UNREADABLE: "client-config-unreadable", Error, LAUNCH_FAILS;
    CLIENT_CONFIG_UNKNOWN: "client-config-unknown", Warning, "whether launches can read the file could not be found out";
    CLIENT_CONFIG_POISONOUS: "client-config-poisonous", Error, LAUNCH_FAILS;
    CLIENT_CONFIG_EMPTY: "client-config-empty", Warning, "YARN reads the file without an error and hands nothing to Docker, so pulls from private registries fail";
    CLIENT_CONFIG_FOLDER_OPEN: "client-config-folder-open", Warning, "every user of HDFS can replace or delete the file, and with it break every launch";
    CREDENTIAL_EXPIRED: "credential-expired", Error, "pulls fail with `no basic auth credentials` or 401 on every node that does not have the image yet";
    CREDENTIAL_EXPIRES_SOON: "credential-expires-soon", Warning, "pulls soon fail on every node that does not have the image yet, unless the credential is renewed";
    IMAGE_WITHOUT_CREDENTIAL: "image-without-credential", Warning, "if the registry is private, the pull fails with `no basic auth credentials`";
    NO_AWS_CREDENTIALS: "no-aws-credentials", Error, "no authorization token can be fetched: what is published expires";
    IAM_ACTION_MISSING: "iam-action-missing", Error, "no authorization token can be fetched: what is published expires";
    CLOCK_SKEW: "clock-skew", Warning, "signed calls to AWS are refused from five minutes on, and log times mislead";

    // This node.
    DOCKER_BINARY_MISSING: "docker-binary-missing", Error, "every Docker launch on this node fails";
    RULES_ASSUMED: "rules-assumed", Info, "Hadoop 3.2, the Hadoop of EMR 6.0 to 6.5, decides some cases otherwise";

    // The registry's answer.
    IMAGE_NOT_FOUND: "image-not-found", Error, "the pull fails, and with it the launch";
    PULL_REFUSED: "pull-refused", Error, "the pull fails, and with it the launch";
    REGISTRY_UNREACHABLE: "registry-unreachable", Warning, "whether the image is there could not be asked; if nodes cannot reach the registry either, pulls fail";
    ARCHITECTURE_DIFFERS: "architecture-differs", Error, "the container ends with `exec format error`";
    JAVA_NOT_FOUND: "java-not-found", Warning, "Spark starts Java in the container: without it, the container ends at once";

    // EMR configuration JSON.
    EMR_CONFIG_MALFORMED: "emr-config-malformed", Error, "EMR refuses to create the cluster";
    EMR_CONFIG_WITHOUT_REGISTRIES: "emr-config-without-registries", Warning, "the cluster keeps EMR's default trusted registries, `local` and `centos`: no registry of yours is trusted";
    EMR_CLASSIFICATION_MISPLACED: "emr-classification-misplaced", Error, "EMR does not write the properties into the `[docker]` section of container-executor.cfg";
}

impl Code {
    /// The code of that name.
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().copied().find(|code| code.name == name)
    }

    /// Whether container-executor, or its `[docker]` section, fails every Docker launch by what is
    /// written in the file.
    pub fn ends_launches(self) -> bool {
        let by_effect = [NODE_LOST, DOCKER_OFF.consequence, REPEATED_EMPTY_SECTION.consequence];
        let effect = by_effect.contains(&self.consequence) || self == TOO_MANY_SECTIONS;
        effect && !self.is_of_chain()
    }

    /// Whether the fault is not in the file's text, but in owners, modes and accounts around it.
    pub fn is_of_chain(self) -> bool {
        let around = [CONFIG_OWNER, CONFIG_WRITABLE, GROUP_UNKNOWN];
        around.contains(&self) || self.consequence == NODE_LOST_22
    }
}
