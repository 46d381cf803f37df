//! What Spark and the program in the container write.

use super::{Author, CHECK_IMAGE, Text, consequence, of};
use crate::findings::codes;

const LOGS: &str = "yarn logs -applicationId APPLICATION | emr-ecr-agent explain -";

pub(super) const TEXTS: &[Text] = &[
    of(
        Author::Container,
        "/bin/java: No such file or directory",
        "the image has no Java where Spark looks for it: JAVA_HOME of the node is not that of the image",
        Some(codes::JAVA_NOT_FOUND),
        CHECK_IMAGE,
    ),
    of(
        Author::Container,
        "java: command not found",
        "the image has no Java on its PATH",
        Some(codes::JAVA_NOT_FOUND),
        CHECK_IMAGE,
    ),
    of(
        Author::Container,
        "java: not found",
        "the image has no Java on its PATH",
        Some(codes::JAVA_NOT_FOUND),
        CHECK_IMAGE,
    ),
    of(
        Author::Spark,
        r#"Cannot run program "{program}": error=2, No such file or directory"#,
        "the image has no program {program}; for Python, set spark.pyspark.python to the image's interpreter",
        None,
        "docker run --rm --entrypoint {program} {image} --version",
    ),
    of(
        Author::Container,
        "LoginException: java.lang.NullPointerException: invalid null input: name",
        "the user of the job has no name within the container, as the node's /etc/passwd is not mounted",
        None,
        "emr-ecr-agent submit-args --image {image}",
    ),
    of(
        Author::Container,
        "Cannot locate default realm",
        "the container has no /etc/krb5.conf, which a cluster with Kerberos needs as a mount",
        None,
        "emr-ecr-agent check --image {image} --mount /etc/krb5.conf:/etc/krb5.conf:ro",
    ),
    of(
        Author::Spark,
        "Container killed by YARN for exceeding {limits} limits",
        "the container used more memory than it asked for: raise spark.executor.memoryOverhead",
        None,
        LOGS,
    ),
    consequence(
        Author::Spark,
        "Max number of executor failures ({failures}) reached",
        "{failures} executors failed, one after the other; the diagnostics of the first say why",
        LOGS,
    ),
    consequence(
        Author::Spark,
        "Container from a bad node: {container} on host: {host}. ",
        "the launch of an executor failed on {host}; the diagnostics after it say why",
        LOGS,
    ),
];
