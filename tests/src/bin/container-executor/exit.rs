//! How container-executor fails: a native exit code and a line on standard error.

pub(crate) const INVALID_ARGUMENT_NUMBER: u8 = 1;
pub(crate) const SETUID_OPER_FAILED: u8 = 6;
pub(crate) const UNABLE_TO_EXECUTE_CONTAINER_SCRIPT: u8 = 7;
pub(crate) const INVALID_CONTAINER_PID: u8 = 9;
pub(crate) const INVALID_CONTAINER_EXEC_PERMISSIONS: u8 = 22;
pub(crate) const INVALID_CONFIG_FILE: u8 = 24;
pub(crate) const WRITE_PIDFILE_FAILED: u8 = 26;
pub(crate) const DOCKER_RUN_FAILED: u8 = 29;
pub(crate) const FEATURE_DISABLED: u8 = 32;
pub(crate) const COULD_NOT_CREATE_WORK_DIRECTORIES: u8 = 35;
/// The code for a user who may not run containers: -1 in C.
pub(crate) const USER_REFUSED: u8 = 255;

#[derive(Debug)]
pub(crate) struct Failure {
    pub code: u8,
    pub message: String,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The native code's name for an exit code, which may be the container's own. Covers those that occur in tests.
pub(crate) fn message(code: i32) -> &'static str {
    match code {
        7 => "Unable to execute container script",
        9 => "Invalid container PID",
        26 => "Write to pidfile failed",
        29 => "Docker run failed",
        32 => "Feature disabled",
        35 => "Could not create work dirs",
        77 => "runC run failed",
        _ => "Unknown error code",
    }
}
