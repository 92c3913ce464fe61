//! SIGINT and SIGTERM ask the loop to leave; the second one leaves at once.

use crate::error::{Exit, Failure};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What signals do, for the manual.
pub const SIGNALS: [(&str, &str); 1] =
    [("SIGINT, SIGTERM", "flush what waits and leave within 3 seconds; a second one leaves at once")];

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
                .map_err(|error| Failure::new(Exit::Unavailable, format!("cannot listen for signal {signal}: {error}")))?;
        }
        Ok(Self(wanted))
    }

    /// Whether a signal came.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
