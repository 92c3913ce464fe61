//! How the program ends.

use std::fmt;

/// Exit codes, after BSD's `sysexits.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done, or stopped by a signal and everything flushed or counted.
    Ok = 0,
    /// A probed factory is degraded or unhealthy.
    Unhealthy = 1,
    /// The command line was wrong.
    Usage = 64,
    /// Something needed is not there: the broker, the port.
    Unavailable = 69,
    /// A file cannot be read or written, other than the configuration.
    Io = 74,
    /// Try again later: another instance runs, or records were left behind by a second signal.
    TempFail = 75,
    /// The configuration is wrong or cannot be read.
    Config = 78,
}

impl Exit {
    /// For `--help` and the manual.
    pub const TABLE: [(Self, &str); 7] = [
        (Self::Ok, "done, or stopped by SIGINT or SIGTERM"),
        (Self::Unhealthy, "health: the factory is degraded or unhealthy"),
        (Self::Usage, "the command line is wrong"),
        (Self::Unavailable, "the broker, the health port or the probed factory is not to be had"),
        (Self::Io, "orders, the log or the data folder cannot be read or written"),
        (Self::TempFail, "another instance uses the data folder, or a second signal cut the shutdown short"),
        (Self::Config, "the configuration is wrong or cannot be read"),
    ];
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed: one clear line (or one a problem) and the exit code it means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What a person is told.
    pub message: String,
}

impl Failure {
    /// A failure that ends the program with `exit`.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
