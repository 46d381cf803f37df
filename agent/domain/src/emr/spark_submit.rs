//! A command that starts a Spark job: `spark-submit` or a relative, with the words before and after it.

use thiserror::Error;

use super::properties::SparkProperty;

/// Programs that take the options of spark-submit.
const PROGRAMS: [&str; 5] = ["spark-submit", "spark-shell", "spark-sql", "pyspark", "sparkR"];
/// Classes of Spark's shells and servers. With one of them, spark-submit too takes options behind arguments.
const MIXING_CLASSES: [&str; 5] = [
    "org.apache.spark.repl.Main",
    "org.apache.spark.sql.application.ConnectRepl",
    "org.apache.spark.sql.hive.thriftserver.SparkSQLCLIDriver",
    "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2",
    "org.apache.spark.sql.connect.service.SparkConnectServer",
];
/// Options with a value, as in Spark's `SparkSubmitOptionParser`.
const WITH_VALUE: [&str; 31] = [
    "--archives",
    "--class",
    "--conf",
    "-c",
    "--deploy-mode",
    "--driver-class-path",
    "--driver-cores",
    "--driver-default-class-path",
    "--driver-java-options",
    "--driver-library-path",
    "--driver-memory",
    "--exclude-packages",
    "--executor-cores",
    "--executor-memory",
    "--files",
    "--jars",
    "--keytab",
    "--kill",
    "--master",
    "--name",
    "--num-executors",
    "--packages",
    "--principal",
    "--properties-file",
    "--proxy-user",
    "--py-files",
    "--queue",
    "--remote",
    "--repositories",
    "--status",
    "--total-executor-cores",
];
/// The property that `--master` overrides.
pub const MASTER: &str = "spark.master";
/// Options without a value.
const FLAGS: [&str; 8] =
    ["--help", "-h", "--load-spark-defaults", "--supervise", "--usage-error", "--verbose", "-v", "--version"];

/// The command, split into words as by a shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SparkSubmit {
    words: Vec<String>,
    /// Index of the program's word.
    program: usize,
    /// What `--conf` and `--master` set, in order of precedence: the last one counts.
    conf: Vec<(String, String)>,
    /// What `--conf` would set if it were not behind the application.
    behind_application: Vec<(String, String)>,
    properties_file: Option<String>,
    proxy_user: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommandError {
    #[error("the command has a quote that does not end")]
    Quotes,
    #[error("the command names none of {}", PROGRAMS.join(", "))]
    NoProgram,
    #[error("the option {0} has no value")]
    NoValue(String),
    #[error("--conf {0} is not KEY=VALUE")]
    NotAProperty(String),
}

impl SparkSubmit {
    /// Parses a shell command. Expands nothing: what a shell would substitute in a property becomes `${...}`, which
    /// is unresolved to every check.
    pub fn parse(text: &str) -> Result<Self, CommandError> {
        // A backslash continues the line, but shlex reads it as an empty word.
        let words = shlex::split(&text.replace("\\\n", "")).ok_or(CommandError::Quotes)?;
        let mut command = Self::of_words(words)?;
        for (_, value) in command.conf.iter_mut().chain(&mut command.behind_application) {
            *value = with_braces(value);
        }
        Ok(command)
    }

    pub fn of_words(words: Vec<String>) -> Result<Self, CommandError> {
        let is_program = |word: &String| PROGRAMS.contains(&file_name(word));
        let program = words.iter().position(is_program).ok_or(CommandError::NoProgram)?;
        let (mut conf, mut behind_application) = (Vec::new(), Vec::new());
        let (mut master, mut properties_file, mut proxy_user) = (None, None, None);
        let mut mixes = !words[program].ends_with("spark-submit");
        let mut rest = words[program + 1..].iter().peekable();
        while let Some(word) = rest.next() {
            let (option, attached) = match word.split_once('=') {
                Some((option, value)) if option.starts_with("--") => (option, Some(value)),
                _ => (word.as_str(), None),
            };
            if FLAGS.contains(&option) {
                continue;
            }
            if !WITH_VALUE.contains(&option) {
                // An argument, which Spark passes on to its own program.
                if mixes {
                    continue;
                }
                // The application; what follows is its arguments.
                if !word.starts_with('-') {
                    behind_application = conf_of(rest);
                    break;
                }
                // Spark itself refuses it, unless a later version has that option; then it may have a value.
                if attached.is_none() {
                    rest.next_if(|next| !next.starts_with('-'));
                }
                continue;
            }
            let value = match attached {
                Some(value) => value,
                None => rest.next().ok_or_else(|| CommandError::NoValue(word.clone()))?,
            };
            match option {
                "--class" => mixes |= MIXING_CLASSES.contains(&value),
                "--conf" | "-c" => {
                    let property = value.split_once('=');
                    let (key, value) =
                        property.ok_or_else(|| CommandError::NotAProperty(value.to_owned()))?;
                    conf.push((key.to_owned(), value.to_owned()));
                }
                "--master" => master = Some(value),
                "--properties-file" => properties_file = Some(value.to_owned()),
                "--proxy-user" => proxy_user = Some(value.to_owned()),
                _ => {}
            }
        }
        conf.extend(master.map(|master| (MASTER.to_owned(), master.to_owned())));
        Ok(Self { words, program, conf, behind_application, properties_file, proxy_user })
    }

    /// The properties that the command itself sets, in order; if a key is set twice, the last one counts.
    pub fn properties(&self) -> Vec<SparkProperty> {
        self.named(&self.conf)
    }

    /// The properties that Spark passes to the application as arguments instead of setting them.
    pub fn behind_application(&self) -> Vec<SparkProperty> {
        self.named(&self.behind_application)
    }

    fn named(&self, pairs: &[(String, String)]) -> Vec<SparkProperty> {
        let property = |(key, value): &(String, String)| SparkProperty {
            key: key.clone(),
            value: value.clone(),
            file: file_name(&self.words[self.program]).to_owned(),
            line: None,
        };
        pairs.iter().map(property).collect()
    }

    /// The file that Spark reads instead of spark-defaults.conf.
    pub fn properties_file(&self) -> Option<&str> {
        self.properties_file.as_deref()
    }

    /// The job's user, if it is not the submitter.
    pub fn proxy_user(&self) -> Option<&str> {
        self.proxy_user.as_deref()
    }

    /// The keys that the command sets to other values than `with` does: key, its value, ours.
    pub fn conflicts<'s>(&'s self, with: &'s [(String, String)]) -> Vec<(&'s str, &'s str, &'s str)> {
        let last = |key: &str| self.conf.iter().rev().find(|(other, _)| other == key);
        let conflict = |(key, ours): &'s (String, String)| {
            let (_, theirs) = last(key)?;
            (theirs != ours).then_some((key.as_str(), theirs.as_str(), ours.as_str()))
        };
        with.iter().filter_map(conflict).collect()
    }

    /// The words with `--conf` for each property right after the program.
    pub fn with(&self, properties: &[(String, String)]) -> Vec<String> {
        let (before, behind) = self.words.split_at(self.program + 1);
        let options =
            properties.iter().flat_map(|(key, value)| ["--conf".to_owned(), format!("{key}={value}")]);
        before.iter().cloned().chain(options).chain(behind.iter().cloned()).collect()
    }
}

/// The pairs of each `--conf KEY=VALUE` among the words.
fn conf_of<'w>(mut words: impl Iterator<Item = &'w String>) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    while let Some(word) = words.next() {
        let pair = match word.as_str() {
            "--conf" | "-c" => words.next().and_then(|value| value.split_once('=')),
            word => word.strip_prefix("--conf=").and_then(|value| value.split_once('=')),
        };
        pairs.extend(pair.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
    pairs
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// The text with `$NAME` and `$(COMMAND)` as `${NAME}` and `${(COMMAND)}`.
fn with_braces(text: &str) -> String {
    let mut parts = text.split('$');
    let mut braced = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = if part.starts_with('(') {
            part.find(')').map_or(part.len(), |end| end + 1)
        } else {
            part.find(|c| !is_of_name(c)).unwrap_or(part.len())
        };
        let (name, rest) = part.split_at(length);
        braced += &if name.is_empty() { format!("${rest}") } else { format!("${{{name}}}{rest}") };
    }
    braced
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(command: &SparkSubmit) -> Vec<(&str, &str)> {
        command.conf.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }

    #[test]
    fn options_end_at_the_application() {
        let text = r#"sudo -u hadoop /usr/bin/spark-submit --master yarn -v --conf a=b=c -c d="e f" \
            --conf=g=h --class x.Main app.jar --conf not=ours"#;
        let command = SparkSubmit::parse(text).expect("a command");
        assert_eq!(pairs(&command), [("a", "b=c"), ("d", "e f"), ("g", "h"), (MASTER, "yarn")]);
        let behind = command.behind_application();
        assert_eq!((behind[0].key.as_str(), behind[0].value.as_str(), behind.len()), ("not", "ours", 1));
        assert_eq!((command.properties_file(), command.proxy_user()), (None, None));
        let named =
            SparkSubmit::parse("pyspark --properties-file p.conf --proxy-user ann").expect("a command");
        assert_eq!((named.properties_file(), named.proxy_user()), (Some("p.conf"), Some("ann")));
    }

    /// As Spark's `SparkSubmitCommandBuilder`, which then passes `--conf` on before the arguments.
    #[test]
    fn options_go_on_behind_arguments_of_a_shell() {
        let check = |text: &str| {
            let command = SparkSubmit::parse(text).expect("a command");
            assert_eq!(pairs(&command), [("a", "b")], "{text}");
        };
        check(r#"spark-sql -S -e "select 1" --conf a=b"#);
        check("spark-sql -f q.sql x --conf a=b");
        check("spark-sql --database d --hivevar=k=v --conf=a=b");
        check("spark-sql -f q.sql -v --name --conf -c a=b -i");
        check("/usr/bin/spark-shell -i init.scala --conf a=b");
        check("pyspark x -c a=b");
        check("sparkR --no-save --conf a=b");
        let class = "org.apache.spark.sql.hive.thriftserver.SparkSQLCLIDriver";
        check(&format!("spark-submit --class {class} -S -f q.sql --conf a=b"));
        check(&format!("spark-submit --conf a=b x.jar --class {class} --conf not=ours"));
    }

    #[test]
    fn an_option_of_a_later_spark_ends_nothing() {
        let check = |text: &str| {
            let command = SparkSubmit::parse(text).expect("a command");
            assert_eq!(pairs(&command), [("a", "b")], "{text}");
        };
        check("spark-submit --load-spark-defaults --conf a=b main.py --conf not=ours");
        check("spark-submit --later x --conf a=b main.py --conf not=ours");
        check("spark-submit --later=x --conf a=b main.py --conf not=ours");
        check("spark-submit --later --conf a=b main.py --conf not=ours");
    }

    #[test]
    fn what_a_shell_substitutes_is_in_braces() {
        let check = |text: &str, expected: &str| assert_eq!(with_braces(text), expected);
        check("$HOST/app:$TAG-1", "${HOST}/app:${TAG}-1");
        check("${A}$(cat b)c", "${A}${(cat b)}c");
        check("a$, b", "a$, b");
    }

    #[test]
    fn what_is_no_command_is_refused() {
        let check = |text: &str, expected: CommandError| assert_eq!(SparkSubmit::parse(text), Err(expected));
        check("hadoop jar x.jar", CommandError::NoProgram);
        check("", CommandError::NoProgram);
        check("spark-submit 'x", CommandError::Quotes);
        check("spark-submit --conf", CommandError::NoValue("--conf".to_owned()));
        check("spark-submit --conf x main.py", CommandError::NotAProperty("x".to_owned()));
    }

    #[test]
    fn options_go_behind_the_program() {
        let command = SparkSubmit::parse("env A=b spark-submit --conf a=1 main.py").expect("a command");
        let ours = [("a".to_owned(), "2".to_owned()), ("b".to_owned(), "x y".to_owned())];
        assert_eq!(command.conflicts(&ours), [("a", "1", "2")]);
        let words = command.with(&ours);
        let expected =
            ["env", "A=b", "spark-submit", "--conf", "a=2", "--conf", "b=x y", "--conf", "a=1", "main.py"];
        assert_eq!(words, expected);
    }
}
