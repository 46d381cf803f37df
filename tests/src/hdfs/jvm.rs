//! Starts Hadoop's programs from the installed part with one configuration directory.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::parts::Part;
use crate::process;

#[derive(Debug, Clone)]
pub(crate) struct Jvm {
    part: Part,
    conf_dir: PathBuf,
    krb5_conf: Option<PathBuf>,
    within: Vec<OsString>,
}

impl Jvm {
    pub(crate) fn new(part: Part, conf_dir: PathBuf) -> Self {
        Self { part, conf_dir, krb5_conf: None, within: Vec::new() }
    }

    /// For programs that log in to the realm configured in this file.
    pub(crate) fn in_realm(self, krb5_conf: PathBuf) -> Self {
        Self { krb5_conf: Some(krb5_conf), ..self }
    }

    /// Prefixes every command with `words`, which run a program in another environment.
    pub(crate) fn within(self, words: Vec<OsString>) -> Self {
        Self { within: words, ..self }
    }

    pub(crate) fn conf_dir(&self) -> &PathBuf {
        &self.conf_dir
    }

    /// Returns a command that runs `class` as the Hadoop user `user`, without arguments.
    pub(crate) fn command(&self, user: &str, class: &str) -> Command {
        self.command_with(&[], user, class)
    }

    /// Like [`Jvm::command`], with JVM options that override the part's.
    pub(crate) fn command_with(&self, options: &[&str], user: &str, class: &str) -> Command {
        // An unreadable class path shows up at once as a missing class.
        let jars = fs::read_to_string(self.part.path("classpath")).unwrap_or_default();
        let web = self.part.path("web");
        let temp = self.conf_dir.with_file_name("tmp");

        let mut command = process::bound_to_parent_words(&self.within);
        command.arg(self.part.path("java"));
        let realm = self.krb5_conf.iter().map(|path| format!("-Djava.security.krb5.conf={}", path.display()));
        command
            .args(realm)
            .arg(format!("@{}", self.part.path("jvm.options").display()))
            .arg(format!("-Djava.io.tmpdir={}", temp.display()))
            .arg("-cp")
            .arg(format!("{jars}:{}:{}", web.display(), self.conf_dir.display()))
            .args(options)
            .arg(class)
            .env("HADOOP_USER_NAME", user);
        command
    }
}
