//! How container-executor fails: a native exit code and a line on standard error.

pub const INVALID_ARGUMENT_NUMBER: u8 = 1;
pub const SETUID_OPER_FAILED: u8 = 6;
pub const UNABLE_TO_EXECUTE_CONTAINER_SCRIPT: u8 = 7;
pub const INVALID_CONTAINER_PID: u8 = 9;
pub const INVALID_CONTAINER_EXEC_PERMISSIONS: u8 = 22;
pub const INVALID_CONFIG_FILE: u8 = 24;
pub const WRITE_PIDFILE_FAILED: u8 = 26;
pub const DOCKER_RUN_FAILED: u8 = 29;
pub const FEATURE_DISABLED: u8 = 32;
pub const COULD_NOT_CREATE_WORK_DIRECTORIES: u8 = 35;
/// What a user who may not run containers gets: -1 in C.
pub const USER_REFUSED: u8 = 255;

#[derive(Debug)]
pub struct Failure {
    pub code: u8,
    pub message: String,
}

impl Failure {
    pub fn new(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}
