use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::credentials::{Credential, Credentials, EntryName, Origin, Secret, Token};
use domain::documents::plan::local;
use domain::problem::Problem;
use domain::settings::Settings;

use super::{LocalSink, read};
use crate::io::blocking::BlockingCalls;
use crate::sink::{Change, Intent, Reconciled, Sink as _};

fn credentials() -> Credentials {
    let token = Token {
        auth: Secret::new("QVdTOnA="),
        issued_at: jiff::Timestamp::UNIX_EPOCH,
        expires_at: jiff::Timestamp::MAX,
        origin: Origin::default(),
        predecessor: None,
    };
    [(EntryName::parse("ecr.example").expect("a name"), Credential::Token(token))].into()
}

fn reconcile(path: &Path) -> Result<Reconciled, Problem> {
    reconcile_with(path, Intent::Apply)
}

fn reconcile_with(path: &Path, intent: Intent) -> Result<Reconciled, Problem> {
    let toml = format!("[[docker_configs]]\npath = {:?}\nmode = \"0640\"\n", path.to_str().expect("UTF-8"));
    let settings = Settings::parse(&toml).expect("right settings");
    let calls = BlockingCalls::new(Duration::from_secs(60));
    let mut sink = LocalSink::new(settings.docker_configs[0].clone(), calls);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(sink.reconcile(Box::new(|found| local(found, &credentials())), intent))
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().expect("a directory")
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("there").mode() & 0o7777
}

#[test]
fn writes_once_with_the_mode_set_and_then_keeps() {
    let directory = directory();
    let path = directory.path().join("docker/config.json");
    assert_eq!(reconcile(&path).expect("written").changes, [Change::Replaced]);
    assert_eq!((mode(&path), mode(&directory.path().join("docker"))), (0o640, 0o700));
    let inode = fs::metadata(&path).expect("there").ino();
    assert_eq!(reconcile(&path).expect("kept").changes, []);
    assert_eq!(fs::metadata(&path).expect("there").ino(), inode, "unchanged bytes are not written again");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("chmod");
    assert_eq!(reconcile(&path).expect("corrected").changes, [Change::AttributesSet]);
    assert_eq!(
        (mode(&path), names(&directory.path().join("docker"))),
        (0o640, vec!["config.json".to_owned()])
    );
}

#[test]
fn symbolic_links_stay_and_their_target_is_replaced() {
    let directory = directory();
    let (link, target) = (directory.path().join("config.json"), directory.path().join("real/target.json"));
    fs::create_dir(directory.path().join("real")).expect("a directory");
    symlink("hop.json", &link).expect("a link");
    symlink("real/target.json", directory.path().join("hop.json")).expect("a link");
    for existing in [None, Some(r#"{"credsStore":"x"}"#)] {
        if let Some(text) = existing {
            fs::write(&target, text).expect("written");
        }
        reconcile(&link).expect("written through the links");
        assert!(link.is_symlink());
        let text = fs::read_to_string(&target).expect("the target is there");
        assert!(text.contains("ecr.example") && text.contains("credsStore") == existing.is_some());
    }
}

#[test]
fn what_cannot_be_used_is_left_untouched_and_named() {
    let check = |prepare: fn(&Path), expected: &str| {
        let directory = directory();
        let path = directory.path().join("config.json");
        prepare(&path);
        let before = read(&path).ok();
        let problem = reconcile(&path).expect_err(expected);
        assert!(problem.message.contains(expected), "{}", problem.message);
        assert!(problem.message.contains("config.json"), "{}", problem.message);
        assert_eq!(read(&path).ok(), before);
        assert!(names(directory.path()).iter().all(|name| !name.contains("emr-ecr-agent")));
    };
    check(|path| fs::write(path, "{ hunter2").expect("written"), "not JSON at line 1");
    check(|path| fs::write(path, [0xff, 0, 1]).expect("written"), "not JSON");
    check(|path| fs::write(path, "[]").expect("written"), "not a JSON object");
    check(|path| fs::create_dir(path).expect("a directory"), "is a directory, not a regular file");
    check(|path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO"), "special file");
    check(|path| symlink("config.json", path).expect("a link"), "symbolic links");
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
}

#[test]
fn nothing_is_written_where_another_user_could_lead_elsewhere() {
    let check = |prepare: fn(&Path), expected: bool| {
        let directory = directory();
        let below = directory.path().join("home");
        fs::create_dir(&below).expect("a directory");
        prepare(&below);
        let outcome = reconcile(&below.join("config.json"));
        assert_eq!(outcome.is_ok(), expected, "{outcome:?}");
        if let Err(problem) = outcome {
            assert!(problem.message.contains("which other users can write to"), "{}", problem.message);
            assert!(names(directory.path()).iter().all(|name| name != "target.json"));
        }
    };
    check(|_| (), true);
    check(|home| chmod(home, 0o777), false);
    check(|home| chmod(home, 0o770), false);
    // In a sticky directory anyone can create a missing entry.
    check(|home| chmod(home, 0o1777), false);
    check(
        |home| {
            fs::write(home.join("config.json"), "{}").expect("written");
            chmod(home, 0o1777);
        },
        true,
    );
    check(
        |home| {
            symlink("../target.json", home.join("config.json")).expect("a link");
            chmod(home, 0o777);
        },
        false,
    );
    // Also behind our own link.
    check(
        |home| {
            let open = home.join("open");
            fs::create_dir(&open).expect("a directory");
            symlink("open/target.json", home.join("config.json")).expect("a link");
            chmod(&open, 0o777);
        },
        false,
    );
    if nix::unistd::geteuid().is_root() {
        check(|home| std::os::unix::fs::chown(home, Some(4321), None).expect("chown"), false);
    }
}

#[test]
fn a_missing_parent_is_waited_for() {
    let directory = directory();
    let problem = reconcile(&directory.path().join("home/.docker/config.json")).expect_err("no home yet");
    assert_eq!(problem.waits_for, Some(format!("the directory {}", directory.path().join("home").display())));
}

#[test]
fn temporary_files_of_dead_writers_are_swept() {
    let directory = directory();
    let left = |name: &str, age: u64| -> PathBuf {
        let path = directory.path().join(name);
        let file = fs::File::create(&path).expect("created");
        let written = std::time::SystemTime::now() - std::time::Duration::from_secs(age);
        file.set_modified(written).expect("dated");
        path
    };
    left(".config.json.emr-ecr-agent-abandoned", 3600);
    let (busy, foreign) = (left(".config.json.emr-ecr-agent-busy", 0), left(".config.json.other", 3600));
    let path = directory.path().join("config.json");
    reconcile_with(&path, Intent::DryRun).expect("previewed");
    assert_eq!(names(directory.path()).len(), 3, "a preview removes nothing");
    reconcile(&path).expect("written");
    assert!(busy.exists() && foreign.exists());
    assert_eq!(names(directory.path()).len(), 3);
}

#[test]
fn an_unknown_owner_is_waited_for() {
    let directory = directory();
    let path = directory.path().join("config.json");
    let toml = format!("[[docker_configs]]\npath = {path:?}\nowner = \"nobody-has-this-name\"\n");
    let settings = Settings::parse(&toml).expect("right settings");
    let calls = BlockingCalls::new(Duration::from_secs(60));
    let mut sink = LocalSink::new(settings.docker_configs[0].clone(), calls);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let reconciled =
        runtime.block_on(sink.reconcile(Box::new(|found| local(found, &credentials())), Intent::Apply));
    let problem = reconciled.expect_err("no such user");
    assert_eq!(problem.waits_for.as_deref(), Some("the user nobody-has-this-name"));
    assert!(!path.exists());
}

#[test]
fn reading_tells_absence_from_failure() {
    let directory = directory();
    let path = directory.path().join("x");
    assert!(matches!(read(&path), Ok(None)));
    fs::write(&path, "y").expect("written");
    assert_eq!(read(&path).expect("read"), Some(b"y".to_vec()));
    assert!(read(&path.join("below-a-file")).is_err());
}
