//! The one table of findings: name, subject, severity and effect.

use super::{Effect, Severity};

/// A kind of finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Code {
    /// Stable, in kebab case.
    pub name: &'static str,
    pub subject: Subject,
    pub severity: Severity,
    pub effect: Effect,
    /// The effect as a sentence without its full stop.
    pub effect_text: &'static str,
}

/// What a code is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// How container-executor.cfg is written.
    Syntax,
    /// Whether container-executor.cfg exists, and names the NodeManager's group.
    ConfigFile,
    /// Owners, modes and accounts around container-executor.cfg and the container-executor binary.
    Installation,
    /// What container-executor.cfg sets.
    Contents,
    Registries,
    /// What a launch requests.
    Launch,
    YarnSite,
    Credentials,
    Node,
    /// What the registry returns for an image.
    Image,
    EmrConfiguration,
}

const NODE_LOST: &str = "container-executor exits with 24: no container starts on this node, and the NodeManager reports it unhealthy or does not start";
const NODE_LOST_22: &str = "container-executor exits with 22: no container starts on this node, and the NodeManager reports it unhealthy or does not start";
const NOT_TRUSTED: &str = "the container loses its mounts and capabilities without an error and ends with exit code 127, or the pull fails first; with a runtime, devices or privileges it is refused";
const NO_MATCH: &str = "no image name starts like this, so the entry trusts nothing";
const REFUSED: &str =
    "container-executor exits with 29 (`Error constructing docker command`), so the container does not start";
const NODE_MANAGER_REFUSES: &str = "the NodeManager refuses the launch, with exit code -1";
const NODE_MANAGER_DEAD: &str = "the NodeManager does not start";
const LAUNCH_FAILS: &str =
    "every launch that names this file in YARN_CONTAINER_RUNTIME_DOCKER_CLIENT_CONFIG fails";

macro_rules! codes {
    ($($constant:ident: $name:literal, $subject:ident, $severity:ident, $effect:ident, $text:expr;)*) => {
        $(pub const $constant: Code = Code {
            name: $name,
            subject: Subject::$subject,
            severity: Severity::$severity,
            effect: Effect::$effect,
            effect_text: $text,
        };)*

        /// Every code, by subject.
        pub const ALL: &[Code] = &[$($constant),*];
    };
}

codes! {
    // How container-executor.cfg is written.
    WHITESPACE_LINE: "whitespace-line", Syntax, Error, NodeLaunchesFail, NODE_LOST;
    INDENTED_COMMENT: "indented-comment", Syntax, Error, NodeLaunchesFail, NODE_LOST;
    BROKEN_SECTION_HEADER: "broken-section-header", Syntax, Error, NodeLaunchesFail, NODE_LOST;
    CRLF: "crlf", Syntax, Error, NodeLaunchesFail, NODE_LOST;
    BYTE_ORDER_MARK: "byte-order-mark", Syntax, Error, NodeLaunchesFail, NODE_LOST;
    NO_EQUALS_SIGN: "no-equals-sign", Syntax, Error, NodeLaunchesFail, NODE_LOST;
    ONLY_EQUALS_SIGNS: "only-equals-signs", Syntax, Error, NodeLaunchesFail, NODE_LOST;
    EMPTY_SECTION_NAME: "empty-section-name", Syntax, Error, NodeLaunchesFail, NODE_LOST;
    REPEATED_EMPTY_SECTION: "repeated-empty-section", Syntax, Error, NodeLaunchesFail, "container-executor exits with 18: no container starts on this node";
    TOO_MANY_SECTIONS: "too-many-sections", Syntax, Error, NodeLaunchesFail, "container-executor is killed by its C library: no container starts on this node";
    NOTHING_CONFIGURED: "nothing-configured", Syntax, Error, NodeLaunchesFail, NODE_LOST;

    // The file itself, its directories, and the binary.
    CONFIG_MISSING: "config-missing", ConfigFile, Error, NodeLaunchesFail, NODE_LOST;
    CONFIG_UNREADABLE: "config-unreadable", ConfigFile, Error, Degraded, "the file cannot be checked, and the node counts as not ready";
    CONFIG_OWNER: "config-owner", Installation, Error, NodeLaunchesFail, NODE_LOST;
    CONFIG_WRITABLE: "config-writable", Installation, Error, NodeLaunchesFail, NODE_LOST;
    CONFIG_IS_DIRECTORY: "config-is-directory", ConfigFile, Error, NodeLaunchesFail, NODE_LOST;
    GROUP_MISSING: "group-missing", ConfigFile, Error, NodeLaunchesFail, NODE_LOST;
    GROUP_BELOW_SECTION: "group-below-section", ConfigFile, Error, NodeLaunchesFail, NODE_LOST;
    GROUP_UNKNOWN: "group-unknown", Installation, Error, NodeLaunchesFail, NODE_LOST;
    BINARY_OWNER: "binary-owner", Installation, Error, NodeLaunchesFail, NODE_LOST_22;
    BINARY_GROUP: "binary-group", Installation, Error, NodeLaunchesFail, NODE_LOST_22;
    BINARY_OPEN_TO_OTHERS: "binary-open-to-others", Installation, Error, NodeLaunchesFail, NODE_LOST_22;
    BINARY_NOT_SETUID: "binary-not-setuid", Installation, Error, NodeLaunchesFail, NODE_LOST_22;
    BINARY_MISSING: "binary-missing", Installation, Error, NodeLaunchesFail, NODE_MANAGER_DEAD;
    CONFIG_CLOSED: "config-closed", Installation, Error, NodeLaunchesFail, "container-executor looks for the file as the NodeManager's user and exits with 29 (`docker error code=52`)";

    // What the file sets.
    DOCKER_OFF: "docker-off", Contents, Error, NodeLaunchesFail, "container-executor exits with 32 at every Docker launch";
    DOCKER_NOT_EXACTLY_TRUE: "docker-not-exactly-true", Contents, Error, NodeLaunchesFail, "container-executor exits with 32 at every Docker launch";
    MINIMUM_ID_INVALID: "min-user-id-invalid", Contents, Error, NodeLaunchesFail, "container-executor exits with 255 at every launch";
    DUPLICATE_KEY: "duplicate-key", Contents, Warning, Degraded, "the first line counts and this one is ignored";
    REPEATED_SECTION: "repeated-section", Contents, Info, None, "the sections are merged; if both set a key, the first value counts";
    VALUE_CUT_AT_HASH: "value-cut-at-hash", Contents, Info, Degraded, "everything after the `#` is cut off, even within a value";
    VALUE_CUT_AT_EQUALS: "value-cut-at-equals", Contents, Warning, Degraded, "everything after the second `=` is cut off";
    VALUE_CUT_AT_NUL: "value-cut-at-nul", Contents, Warning, Degraded, "everything after the NUL byte is cut off";
    KEY_WITHOUT_VALUE: "key-without-value", Contents, Info, Degraded, "the line is dropped, as if the key were not there";
    SWITCH_OFF_AS_WRITTEN: "switch-off-as-written", Contents, Warning, Degraded, "the feature is off";
    ITEM_WITH_WHITESPACE: "item-with-whitespace", Contents, Warning, Degraded, "the item matches nothing";
    DEVICE_UNUSABLE: "device-unusable", Contents, Warning, Degraded, "the entry allows no device";
    UNKNOWN_KEY: "unknown-key", Contents, Warning, Degraded, "Hadoop ignores the key without an error";
    KEY_IN_WRONG_SECTION: "key-in-wrong-section", Contents, Warning, Degraded, "Hadoop does not read the key there and ignores it without an error";
    MODULE_WITHOUT_CGROUPS: "module-without-cgroups", Contents, Warning, Degraded, "containers outside Docker do not start if the module has to deny them a device";

    // Registries.
    TRUSTED_LIST_MISSING: "trusted-list-missing", Registries, Error, NodeLaunchesFail, NOT_TRUSTED;
    REGISTRY_NOT_TRUSTED: "registry-not-trusted", Registries, Error, ImageLaunchesFail, NOT_TRUSTED;
    ENTRY_WITH_WHITESPACE: "entry-with-whitespace", Registries, Error, ImageLaunchesFail, NO_MATCH;
    ENTRY_WITH_QUOTE: "entry-with-quote", Registries, Error, ImageLaunchesFail, NO_MATCH;
    ENTRY_WITH_SCHEME: "entry-with-scheme", Registries, Error, ImageLaunchesFail, NO_MATCH;
    ENTRY_WITH_WILDCARD: "entry-with-wildcard", Registries, Error, ImageLaunchesFail, NO_MATCH;
    ENTRY_WITH_PLACEHOLDER: "entry-with-placeholder", Registries, Error, ImageLaunchesFail, NO_MATCH;
    ENTRY_WITH_TAG: "entry-with-tag", Registries, Error, ImageLaunchesFail, NO_MATCH;
    ENTRY_MATCHES_NOTHING: "entry-matches-nothing", Registries, Error, ImageLaunchesFail, NO_MATCH;
    ENTRY_NEARLY_ECR: "entry-nearly-ecr", Registries, Warning, ImageLaunchesFail, "the entry trusts no ECR image";
    ENTRY_IS_REPOSITORY: "entry-is-repository", Registries, Warning, ImageLaunchesFail, "the entry trusts only what is below it, not the repository of that name";
    LIBRARY_TRUSTS_MORE: "library-trusts-more", Registries, Warning, Degraded, "since Hadoop 3.3 an entry that starts with `library` trusts every image without a `/`, from any registry";
    PRIVILEGED_LIST_IGNORED: "privileged-list-ignored", Registries, Info, None, "Hadoop 3.2 does not read the list: docker.trusted.registries applies to privileged containers too";
    PRIVILEGED_LIST_DIFFERS: "privileged-list-differs", Registries, Info, None, "some images are trusted in one kind of container but not in the other";
    EMR_DEFAULTS_LOST: "emr-defaults-lost", Registries, Warning, ImageLaunchesFail, "images that relied on EMR's default entries are no longer trusted";

    // What a launch requests.
    NETWORK_REFUSED: "network-refused", Launch, Error, NodeLaunchesFail, REFUSED;
    CAPABILITY_REFUSED: "capability-refused", Launch, Error, NodeLaunchesFail, REFUSED;
    GPU_RUNTIME_REFUSED: "gpu-runtime-refused", Launch, Warning, Degraded, "containers that get a GPU do not start in Docker: container-executor exits with 29";
    DEFAULT_MOUNT_REFUSED: "default-mount-refused", Launch, Error, NodeLaunchesFail, REFUSED;
    MOUNT_LIST_BREAKS_LAUNCHES: "mount-list-breaks-launches", Launch, Error, NodeLaunchesFail, "no container of a trusted image starts, whatever it mounts: container-executor exits with 29";
    MOUNT_LIST_TOO_LONG: "mount-list-too-long", Launch, Error, Degraded, "every launch resolves each entry on the node before any mount; mounts were not checked";
    IMAGE_INVALID: "image-invalid", Launch, Error, ImageLaunchesFail, REFUSED;
    IMAGE_BY_DIGEST: "image-by-digest", Launch, Error, ImageLaunchesFail, REFUSED;
    IMAGE_NOT_TRUSTED: "image-not-trusted", Launch, Error, ImageLaunchesFail, NOT_TRUSTED;
    MOUNT_REFUSED: "mount-refused", Launch, Error, ImageLaunchesFail, REFUSED;
    PRIVILEGED_REFUSED: "privileged-refused", Launch, Error, ImageLaunchesFail, REFUSED;
    NETWORK_NOT_ALLOWED: "network-not-allowed", Launch, Error, ImageLaunchesFail, NODE_MANAGER_REFUSES;
    NETWORK_UNKNOWN: "network-unknown", Launch, Error, ImageLaunchesFail, "container-executor queries docker for the network and exits with 29 (`docker error code=-1`)";
    PRIVILEGED_NOT_ALLOWED: "privileged-not-allowed", Launch, Error, ImageLaunchesFail, NODE_MANAGER_REFUSES;
    USER_REFUSED: "user-refused", Launch, Error, ImageLaunchesFail, "no container of this user starts on this node";
    JOB_SETTING_REFUSED: "job-setting-refused", Launch, Error, ImageLaunchesFail, NODE_MANAGER_REFUSES;
    JOB_OUTSIDE_DOCKER: "job-outside-docker", Launch, Error, ImageLaunchesFail, "the job's containers start without Docker and without the image";
    JOB_WITHOUT_IMAGE: "job-without-image", Launch, Error, ImageLaunchesFail, "the NodeManager refuses the launch: `YARN_CONTAINER_RUNTIME_DOCKER_IMAGE not set!`";
    SPARK_PREFIX_UNKNOWN: "spark-prefix-unknown", Launch, Warning, Degraded, "Spark passes the variable to no container";
    JOB_VARIABLE_UNKNOWN: "job-variable-unknown", Launch, Warning, Degraded, "YARN ignores the variable";
    SPARK_OPTION_IGNORED: "spark-option-ignored", Launch, Warning, Degraded, "Spark passes the option to the application, and its variable to no container";
    SPARK_CONTAINERS_DIFFER: "spark-containers-differ", Launch, Warning, Degraded, "executors and the application master, which is the driver in cluster mode, run in different environments";
    CLIENT_CONFIG_ELSEWHERE: "client-config-elsewhere", Launch, Warning, Degraded, "launches read a file that the agent does not keep fresh";
    MOUNT_NOT_UNDERSTOOD: "mount-not-understood", Launch, Error, ImageLaunchesFail, NODE_MANAGER_REFUSES;
    MOUNT_IMPOSSIBLE: "mount-impossible", Launch, Error, ImageLaunchesFail, "docker does not start the container, and container-executor exits with 7";
    LAUNCH_REFUSED: "launch-refused", Launch, Error, ImageLaunchesFail, REFUSED;

    // yarn-site.xml.
    SITE_UNREADABLE: "site-unreadable", YarnSite, Error, NodeLaunchesFail, NODE_MANAGER_DEAD;
    RUNTIME_NOT_ALLOWED: "runtime-not-allowed", YarnSite, Error, NodeLaunchesFail, "the NodeManager refuses every Docker container";
    RUNTIME_UNKNOWN: "runtime-unknown", YarnSite, Error, NodeLaunchesFail, NODE_MANAGER_DEAD;
    WRONG_EXECUTOR_CLASS: "wrong-executor-class", YarnSite, Error, NodeLaunchesFail, "the NodeManager runs every container without Docker, whatever a job requests";
    DEFAULT_NETWORK_NOT_ALLOWED: "default-network-not-allowed", YarnSite, Error, NodeLaunchesFail, NODE_MANAGER_DEAD;
    CAPABILITIES_MIXED: "capabilities-mixed-with-none", YarnSite, Error, NodeLaunchesFail, NODE_MANAGER_DEAD;
    CAPABILITY_UNKNOWN: "capability-unknown", YarnSite, Error, NodeLaunchesFail, "docker does not start the container, and container-executor exits with 7 or 29";
    DEFAULT_MOUNT_INVALID: "default-mount-invalid", YarnSite, Error, NodeLaunchesFail, "every Docker launch on this node fails";
    LOCAL_USER_REFUSED: "local-user-refused", YarnSite, Error, NodeLaunchesFail, "no container starts on this node";
    IMAGE_UPDATE_ON: "image-update-on", YarnSite, Warning, Degraded, "each launch pulls first, without the job's credentials: private images need those of root on the node";
    IMAGE_UPDATE_WITHOUT_CREDENTIAL: "image-update-without-credential", YarnSite, Error, ImageLaunchesFail, "the pull before each launch fails, and with it the launch, even if the image is on the node";
    SITE_KEY_UNKNOWN: "site-key-unknown", YarnSite, Warning, Degraded, "the NodeManager ignores the property without an error";
    SITE_VALUE_UNRESOLVABLE: "site-value-unresolvable", YarnSite, Error, NodeLaunchesFail, "Hadoop throws an IllegalStateException when it reads the property";
    DEFAULT_IMAGE_MISSING: "default-image-missing", YarnSite, Warning, Degraded, "containers whose jobs name no image do not start";
    DEFAULT_IMAGE_REFUSED: "default-image-refused", YarnSite, Error, ImageLaunchesFail, "containers whose jobs name no image are refused, or lose their mounts and end with exit code 127";
    HEALTH_SCRIPTS_IGNORED: "health-scripts-ignored", YarnSite, Warning, Degraded, "the NodeManager of every version up to 3.4 runs only the first script";
    ECR_AUTO_AUTH_ON: "ecr-auto-auth-on", YarnSite, Info, None, "EMR itself fetches credentials for registries in the cluster's Region";
    ECR_AUTO_AUTH_OFF: "ecr-auto-auth-off", YarnSite, Info, None, "credentials come only from the file in YARN_CONTAINER_RUNTIME_DOCKER_CLIENT_CONFIG or from the node's own Docker config";
    ECR_AUTO_AUTH_SUSPECT: "ecr-auto-auth-suspect", YarnSite, Warning, Degraded, "users report that EMR's own ECR authentication fails since EMR 6.9.0 unless its provider class is set";
    ECR_AUTO_AUTH_INSUFFICIENT: "ecr-auto-auth-insufficient", YarnSite, Warning, Degraded, "EMR's own ECR authentication covers only the cluster's Region: pulls from other registries need the published file";
    ECR_AUTO_AUTH_BESIDE_FILE: "ecr-auto-auth-beside-file", YarnSite, Info, None, "if a registry has two credentials, which one Docker gets is undefined";

    // Credentials.
    CLIENT_CONFIG_MISSING: "client-config-missing", Credentials, Error, ImageLaunchesFail, LAUNCH_FAILS;
    CLIENT_CONFIG_UNREADABLE: "client-config-unreadable", Credentials, Error, ImageLaunchesFail, LAUNCH_FAILS;
    CLIENT_CONFIG_URI: "client-config-uri", Credentials, Error, ImageLaunchesFail, LAUNCH_FAILS;
    CLIENT_CONFIG_UNKNOWN: "client-config-unknown", Credentials, Warning, Degraded, "whether launches can read the file is not known";
    CLIENT_CONFIG_POISONOUS: "client-config-poisonous", Credentials, Error, ImageLaunchesFail, LAUNCH_FAILS;
    CLIENT_CONFIG_EMPTY: "client-config-empty", Credentials, Warning, ImageLaunchesFail, "YARN reads the file without an error and passes nothing to Docker, so pulls from private registries fail";
    CLIENT_CONFIG_DIRECTORY_OPEN: "client-config-directory-open", Credentials, Warning, Degraded, "any HDFS user can replace or delete the file and so break every launch";
    CREDENTIAL_EXPIRED: "credential-expired", Credentials, Error, ImageLaunchesFail, "the registry refuses the token, so pulls fail on every node that does not have the image yet";
    CREDENTIAL_EXPIRES_SOON: "credential-expires-soon", Credentials, Warning, Degraded, "unless the credential is renewed, pulls will soon fail on every node that does not have the image yet";
    IMAGE_WITHOUT_CREDENTIAL: "image-without-credential", Credentials, Warning, ImageLaunchesFail, "if the registry is private, the pull fails with `no basic auth credentials`";
    ECR_CREDENTIAL_MISSING: "ecr-credential-missing", Credentials, Error, ImageLaunchesFail, "the pull fails with `no basic auth credentials`";
    CREDENTIAL_INVALID: "credential-invalid", Credentials, Error, ImageLaunchesFail, "docker drops this entry and any that it happens to read after it, so pulls fail";
    CREDENTIAL_SUSPECT: "credential-suspect", Credentials, Warning, ImageLaunchesFail, "registries refuse such a credential, or clients other than docker cannot read it";
    CREDENTIAL_HELPER_FIRST: "credential-helper-first", Credentials, Warning, Degraded, "pulls that use this file get the helper's credential, not the one that the agent keeps";
    NO_AWS_CREDENTIALS: "no-aws-credentials", Credentials, Error, Degraded, "no authorization token can be fetched, and the published one will expire";
    IAM_ACTION_MISSING: "iam-action-missing", Credentials, Error, Degraded, "no authorization token can be fetched, and the published one will expire";
    CLOCK_SKEW: "clock-skew", Credentials, Warning, Degraded, "AWS rejects signed calls beyond five minutes, and log times are wrong";

    // This node.
    DOCKER_BINARY_MISSING: "docker-binary-missing", Node, Error, NodeLaunchesFail, "every Docker launch on this node fails";
    DOCKER_UNREACHABLE: "docker-unreachable", Node, Error, NodeLaunchesFail, "container-executor cannot query docker for the network and exits with 29 (`docker error code=-1`)";
    DOCKER_DATA_ROOT_FULL: "docker-data-root-full", Node, Error, NodeLaunchesFail, "docker can neither pull an image nor create a container: `no space left on device`";
    CGROUP_DRIVER_DIFFERS: "cgroup-driver-differs", Node, Error, NodeLaunchesFail, "docker does not start the container, and container-executor exits with 7: `cgroup-parent for systemd cgroup should be a valid slice`";
    CLOCK_AHEAD: "clock-ahead", Node, Error, NodeLaunchesFail, "the NodeManager considers each container's token expired and refuses the container: `This token is expired`";
    RULES_ASSUMED: "rules-assumed", Node, Info, None, "Hadoop 3.2 decides some cases differently";
    RELEASE_WITHOUT_DOCKER: "release-without-docker", Node, Error, NodeLaunchesFail, "YARN starts no Docker container";

    // The registry's answer.
    IMAGE_NOT_FOUND: "image-not-found", Image, Error, ImageLaunchesFail, "the pull fails, and so does the launch";
    PULL_REFUSED: "pull-refused", Image, Error, ImageLaunchesFail, "the pull fails, and so does the launch";
    REGISTRY_UNREACHABLE: "registry-unreachable", Image, Warning, Degraded, "whether the image exists is not known; if nodes cannot reach the registry either, pulls fail";
    ARCHITECTURE_DIFFERS: "architecture-differs", Image, Error, ImageLaunchesFail, "the container ends with `exec format error`";
    JAVA_NOT_FOUND: "java-not-found", Image, Warning, ImageLaunchesFail, "Spark starts Java in the container; without it, the container exits at once";

    // EMR configuration JSON.
    EMR_CONFIG_UNREADABLE: "emr-config-unreadable", EmrConfiguration, Error, Degraded, "nothing in the file was checked";
    EMR_CONFIG_MALFORMED: "emr-config-malformed", EmrConfiguration, Error, ClusterCreationFails, "the AWS CLI or EMR refuses the configuration";
    EMR_CONFIG_WITHOUT_REGISTRIES: "emr-config-without-registries", EmrConfiguration, Warning, ImageLaunchesFail, "the cluster keeps EMR's default trusted registries, `local` and `centos`: none of your registries is trusted";
    EMR_VALUE_NOT_TEXT: "emr-value-not-text", EmrConfiguration, Error, ClusterCreationFails, "the AWS CLI refuses the configuration";
    EMR_MEMBER_REPEATED: "emr-member-repeated", EmrConfiguration, Error, ImageLaunchesFail, "the first value is silently dropped";
    EMR_CLASSIFICATION_REPEATED: "emr-classification-repeated", EmrConfiguration, Warning, Degraded, "which of the two EMR writes is not documented";
    DEFAULT_FS_NOT_HDFS: "default-fs-not-hdfs", EmrConfiguration, Error, ImageLaunchesFail, "launches that name `hdfs:///...` fail: `Incomplete HDFS URI, no host`";
    SINGLE_REPLICA: "single-replica", EmrConfiguration, Info, None, "files that use the default, such as a config.json uploaded by hand, are lost with the DataNode that holds them";
    EMR_VALUE_UNRESOLVED: "emr-value-unresolved", EmrConfiguration, Warning, Degraded, "its effect on launches is unknown";
    EMR_CLASSIFICATION_MISPLACED: "emr-classification-misplaced", EmrConfiguration, Error, ImageLaunchesFail, "EMR does not write the properties into the `[docker]` section of container-executor.cfg";
}

impl Code {
    /// The code with that name.
    pub fn named(name: &str) -> Option<Self> {
        ALL.iter().copied().find(|code| code.name == name)
    }
}
