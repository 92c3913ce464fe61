//! The only room that reads the operating system's clock or sleeps.

#![expect(clippy::disallowed_methods, reason = "this is the room the other rooms are sent to")]

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic now.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Wall-clock now, milliseconds since 1970 UTC.
#[must_use]
pub fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Sleeps.
pub fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}
