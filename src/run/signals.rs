//! Signals set flags that the loop looks at: SIGINT and SIGTERM ask it to leave, and the second one ends the process at once.

use crate::error::{Exit, Failure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGXFSZ};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What signals do, for the manual.
pub const SIGNALS: [(&str, &str); 3] = [
    ("SIGINT, SIGTERM", "flush what waits and leave within 3 seconds; a second one leaves at once"),
    (
        "SIGHUP",
        "open the log file anew, and read the configuration again for the keys that can change in flight; any other key that \
         has changed is named in the log and stays as it was",
    ),
    ("SIGUSR1", "write to the log how everything stands, whatever its level but off"),
];

/// The wish to leave.
#[derive(Clone, Debug)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Listens for the signals.
    ///
    /// # Errors
    /// The operating system refuses the handler.
    pub fn on_signal() -> Result<Self, Failure> {
        let wanted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the second signal finds the flag set and ends the process.
            flag::register_conditional_shutdown(signal, Exit::TempFail as i32, Arc::clone(&wanted))
                .and_then(|_| flag::register(signal, Arc::clone(&wanted)))
                .map_err(|error| cannot_listen(signal, &error))?;
        }
        // With a handler, a file that reaches `ulimit -f` is a failed write like that of a full disk; without one it is the end.
        flag::register(SIGXFSZ, Arc::default()).map_err(|error| cannot_listen(SIGXFSZ, &error))?;
        Ok(Self(wanted))
    }

    /// Whether a signal came.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A wish that is served and then forgotten.
#[derive(Debug)]
pub(super) struct Wish(Arc<AtomicBool>);

impl Wish {
    /// SIGHUP: open the log anew, read the configuration again.
    pub(super) fn to_reread() -> Result<Self, Failure> {
        Self::on(SIGHUP)
    }

    /// SIGUSR1: write the state to the log.
    pub(super) fn to_dump() -> Result<Self, Failure> {
        Self::on(SIGUSR1)
    }

    fn on(signal: i32) -> Result<Self, Failure> {
        let wanted = Arc::new(AtomicBool::new(false));
        flag::register(signal, Arc::clone(&wanted)).map_err(|error| cannot_listen(signal, &error))?;
        Ok(Self(wanted))
    }

    /// Whether a signal came since the last call.
    pub(super) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

fn cannot_listen(signal: i32, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Unavailable, format!("cannot listen for signal {signal}: {error}"))
}
