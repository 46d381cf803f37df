use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Watcher;

/// Longest that inotify may take; only a failing test waits that long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether `change` of the folder is noticed by somebody who watches `target` in it.
fn noticed(prepare: impl Fn(&Path), target: &str, change: impl Fn(&Path)) -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    prepare(folder.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut watcher = Watcher::start().expect("inotify");
        watcher.settle(&[folder.path().join(target)]);
        let change_after_start = async {
            tokio::task::yield_now().await;
            change(folder.path());
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
    let file = |folder: &Path| write(folder.join("f"));
    assert!(noticed(nothing, "f", file));
    assert!(noticed(file, "f", |folder| fs::write(folder.join("f"), "longer").expect("written")));
    assert!(noticed(file, "f", |folder| fs::remove_file(folder.join("f")).expect("removed")));
    assert!(noticed(file, "f", |folder| {
        write(folder.join("g"));
        fs::rename(folder.join("g"), folder.join("f")).expect("renamed");
    }));
}

#[test]
fn a_file_is_noticed_in_folders_that_do_not_exist_yet() {
    assert!(noticed(nothing, "a/b/f", |folder| {
        fs::create_dir_all(folder.join("a/b")).expect("folders");
        write(folder.join("a/b/f"));
    }));
}

#[test]
fn changes_behind_symbolic_links_are_noticed() {
    let linked = |folder: &Path| {
        fs::create_dir_all(folder.join("conf.empty")).expect("a folder");
        fs::create_dir_all(folder.join("conf.other")).expect("a folder");
        symlink("conf.empty", folder.join("alternative")).expect("a link");
        symlink("alternative", folder.join("conf")).expect("a link");
        write(folder.join("conf.other/f"));
    };
    assert!(noticed(linked, "conf/f", |folder| write(folder.join("conf.empty/f"))));
    assert!(noticed(linked, "conf/f", |folder| {
        symlink("conf.other", folder.join("new")).expect("a link");
        fs::rename(folder.join("new"), folder.join("alternative")).expect("renamed");
    }));
}

#[test]
fn what_was_settled_on_and_what_lies_beside_wake_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let target = folder.path().join("f");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut watcher = Watcher::start().expect("inotify");
        watcher.settle(std::slice::from_ref(&target));
        write(target.clone());
        watcher.settle(std::slice::from_ref(&target));
        write(folder.path().join("beside"));
        // The later, true change is what ends the wait; an earlier return would have seen `target` as it was.
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
fn a_folder_above_that_was_exchanged_is_noticed_after_the_next_settling() {
    let folder = tempfile::tempdir().expect("a folder");
    let (way, target) = (folder.path().join("above"), folder.path().join("above/conf/f"));
    fs::create_dir_all(way.join("conf")).expect("folders");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut watcher = Watcher::start().expect("inotify");
        watcher.settle(std::slice::from_ref(&target));
        fs::rename(&way, folder.path().join("aside")).expect("renamed");
        fs::create_dir_all(way.join("conf")).expect("folders");
        watcher.settle(std::slice::from_ref(&target));
        let change = async {
            tokio::task::yield_now().await;
            write(target.clone());
        };
        let (changed, ()) = tokio::join!(tokio::time::timeout(PATIENCE, watcher.changed()), change);
        assert!(changed.is_ok());
    });
}
