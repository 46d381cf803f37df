use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Watcher;

/// Deadline for inotify; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether a watcher of `target` in the directory detects `change`.
fn noticed(prepare: impl Fn(&Path), target: &str, change: impl Fn(&Path)) -> bool {
    let directory = tempfile::tempdir().expect("a directory");
    prepare(directory.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let watcher = Watcher::start().expect("inotify");
        watcher.settle(vec![directory.path().join(target)]).await;
        let change_after_start = async {
            tokio::task::yield_now().await;
            change(directory.path());
        };
        let (changed, ()) =
            tokio::join!(tokio::time::timeout(PATIENCE, watcher.changed()), change_after_start);
        changed.is_ok()
    })
}

fn write(path: PathBuf) {
    fs::write(path, "x").expect("written");
}

fn nothing(_: &Path) {}

#[test]
fn a_written_replaced_or_removed_file_is_noticed() {
    let file = |directory: &Path| write(directory.join("f"));
    assert!(noticed(nothing, "f", file));
    assert!(noticed(file, "f", |directory| fs::write(directory.join("f"), "longer").expect("written")));
    assert!(noticed(file, "f", |directory| fs::remove_file(directory.join("f")).expect("removed")));
    assert!(noticed(file, "f", |directory| {
        write(directory.join("g"));
        fs::rename(directory.join("g"), directory.join("f")).expect("renamed");
    }));
}

#[test]
fn a_file_is_noticed_in_directories_that_do_not_exist_yet() {
    assert!(noticed(nothing, "a/b/f", |directory| {
        fs::create_dir_all(directory.join("a/b")).expect("directories");
        write(directory.join("a/b/f"));
    }));
}

#[test]
fn changes_behind_symbolic_links_are_noticed() {
    let linked = |directory: &Path| {
        fs::create_dir_all(directory.join("conf.empty")).expect("a directory");
        fs::create_dir_all(directory.join("conf.other")).expect("a directory");
        symlink("conf.empty", directory.join("alternative")).expect("a link");
        symlink("alternative", directory.join("conf")).expect("a link");
        write(directory.join("conf.other/f"));
    };
    assert!(noticed(linked, "conf/f", |directory| write(directory.join("conf.empty/f"))));
    assert!(noticed(linked, "conf/f", |directory| {
        symlink("conf.other", directory.join("new")).expect("a link");
        fs::rename(directory.join("new"), directory.join("alternative")).expect("renamed");
    }));
}

#[test]
fn what_was_settled_on_and_what_lies_beside_wake_nobody() {
    let directory = tempfile::tempdir().expect("a directory");
    let target = directory.path().join("f");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let watcher = Watcher::start().expect("inotify");
        watcher.settle(vec![target.clone()]).await;
        write(target.clone());
        watcher.settle(vec![target.clone()]).await;
        write(directory.path().join("beside"));
        // The later, real change ends the wait; an earlier return would have seen the old `target`.
        let size_at_return = async {
            watcher.changed().await;
            fs::metadata(&target).expect("there").len()
        };
        let later = async {
            tokio::task::yield_now().await;
            fs::write(&target, "changed").expect("written");
        };
        let (size, ()) = tokio::join!(size_at_return, later);
        assert_eq!(size, 7);
    });
}

#[test]
fn an_exchanged_directory_above_is_noticed() {
    let directory = tempfile::tempdir().expect("a directory");
    let (way, target) = (directory.path().join("above"), directory.path().join("above/conf/f"));
    fs::create_dir_all(way.join("conf")).expect("directories");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let watcher = Watcher::start().expect("inotify");
        watcher.settle(vec![target.clone()]).await;
        fs::rename(&way, directory.path().join("aside")).expect("renamed");
        fs::create_dir_all(way.join("conf")).expect("directories");
        watcher.settle(vec![target.clone()]).await;
        let change = async {
            tokio::task::yield_now().await;
            write(target.clone());
        };
        let (changed, ()) = tokio::join!(tokio::time::timeout(PATIENCE, watcher.changed()), change);
        assert!(changed.is_ok());
    });
}
