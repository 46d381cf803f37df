//! The directories and files a container needs, with the owners and modes the NodeManager relies on.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use crate::accounts::{Account, NodeManager};
use crate::exit::{self, Failure};

/// One container of an application, and its directories.
pub(crate) struct App<'a> {
    user: &'a str,
    app: &'a str,
    container: &'a str,
    local_dirs: Vec<&'a Path>,
    log_dirs: Vec<&'a Path>,
}

impl<'a> App<'a> {
    /// The directories are separated by `%`.
    pub(crate) fn new(
        user: &'a str,
        app: &'a str,
        container: &'a str,
        local_dirs: &'a str,
        log_dirs: &'a str,
    ) -> Self {
        let split = |list: &'a str| list.split('%').filter(|path| !path.is_empty()).map(Path::new).collect();
        Self { user, app, container, local_dirs: split(local_dirs), log_dirs: split(log_dirs) }
    }

    pub(crate) fn container(&self) -> &str {
        self.container
    }

    /// Makes the user's own directories. Everything below them keeps the NodeManager's group.
    pub(crate) fn make_user_directories(&self, user: &Account, manager: &NodeManager) -> Result<(), Failure> {
        for directory in self.user_directories() {
            make_for_user(&directory, user, manager)?;
        }
        Ok(())
    }

    /// Docker mounts the file cache, so it must exist even if nothing was ever localized.
    pub(crate) fn make_file_caches(&self, user: &Account) -> Result<(), Failure> {
        let make =
            || self.user_directories().try_for_each(|directory| make(&directory.join("filecache"), 0o710));
        user.act(make)?
    }

    pub(crate) fn make_log_directories(&self, user: &Account, manager: &NodeManager) -> Result<(), Failure> {
        for directory in &self.log_dirs {
            make_for_user(&directory.join(self.app), user, manager)?;
        }
        Ok(())
    }

    /// Makes the files that a container with its own entry point writes to; every Docker launch has them.
    pub(crate) fn make_output_files(&self, user: &Account, manager: &NodeManager) -> Result<(), Failure> {
        let Some(directory) = self.log_dirs.first() else { return Ok(()) };
        let directory = directory.join(self.app).join(self.container);
        for name in ["stdout.txt", "stderr.txt"] {
            let path = directory.join(name);
            let failed = |error| {
                let message = format!("Failed to create file {} - {error}", path.display());
                Failure::new(exit::UNABLE_TO_EXECUTE_CONTAINER_SCRIPT, message)
            };
            fs::File::create(&path).map_err(failed)?;
            let (uid, gid) = (user.uid.as_raw(), manager.gid.as_raw());
            chown(&path, Some(uid), Some(gid)).map_err(failed)?;
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).map_err(failed)?;
        }
        Ok(())
    }

    /// Makes all of the application's directories and returns the first. Call this as the user.
    pub(crate) fn make_app_directories(&self) -> Result<PathBuf, Failure> {
        let directories: Vec<PathBuf> = self.app_directories().collect();
        for directory in &directories {
            make(directory, 0o750)?;
        }
        let none =
            || Failure::new(exit::COULD_NOT_CREATE_WORK_DIRECTORIES, "Did not create any app directories");
        directories.into_iter().next().ok_or_else(none)
    }

    /// Call this as the user.
    pub(crate) fn make_container_directories(&self, work_dir: &Path) -> Result<(), Failure> {
        for directory in self.app_directories() {
            make(&directory.join(self.container), 0o750)?;
        }
        for directory in &self.log_dirs {
            make(&directory.join(self.app).join(self.container), 0o750)?;
        }
        make(&work_dir.join("tmp"), 0o700)
    }

    fn user_directories(&self) -> impl Iterator<Item = PathBuf> {
        self.local_dirs.iter().map(|directory| directory.join("usercache").join(self.user))
    }

    fn app_directories(&self) -> impl Iterator<Item = PathBuf> {
        self.user_directories().map(|directory| directory.join("appcache").join(self.app))
    }
}

/// Writes a file, replacing any previous content.
pub(crate) fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), Failure> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(path)?;
        file.write_all(content)
    };
    write().map_err(|error| not_made(path, &error))
}

/// Removes a file, or a directory and its contents; a missing path is not an error.
pub(crate) fn delete(path: &Path) -> Result<(), Failure> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(Failure::new(exit::USER_REFUSED, format!("Couldn't delete {} - {error}", path.display())))
        }
        _ => Ok(()),
    }
}

pub(crate) fn names(directory: &Path) -> Result<Vec<OsString>, Failure> {
    let entries = fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.file_name())).collect());
    entries.map_err(|error| {
        Failure::new(exit::USER_REFUSED, format!("Error listing {} - {error}", directory.display()))
    })
}

fn make_for_user(path: &Path, user: &Account, manager: &NodeManager) -> Result<(), Failure> {
    let make = || {
        fs::create_dir_all(path)?;
        chown(path, Some(user.uid.as_raw()), Some(manager.gid.as_raw()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o2750))
    };
    make().map_err(|error| not_made(path, &error))
}

fn make(path: &Path, mode: u32) -> Result<(), Failure> {
    DirBuilder::new().recursive(true).mode(mode).create(path).map_err(|error| not_made(path, &error))
}

fn not_made(path: &Path, error: &io::Error) -> Failure {
    let message = format!("Could not create {} - {error}", path.display());
    Failure::new(exit::COULD_NOT_CREATE_WORK_DIRECTORIES, message)
}
