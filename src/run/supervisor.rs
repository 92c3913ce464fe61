//! The service manager, where there is one: it is told when the factory is ready, and that it still ticks.

use crate::clock;
use sd_notify::NotifyState;
use std::time::{Duration, Instant};

/// systemd's notify protocol (`sd_notify(3)`); without `NOTIFY_SOCKET` in the environment nothing is sent.
#[derive(Debug)]
pub(super) struct Supervisor {
    /// Half of what the watchdog allows.
    interval: Option<Duration>,
    due: Instant,
}

impl Supervisor {
    /// Says that the factory runs.
    pub(super) fn ready() -> Self {
        send(&[NotifyState::Ready]);
        Self { interval: sd_notify::watchdog_enabled().map(|limit| limit / 2), due: clock::now() }
    }

    /// Called at each tick: feeds the watchdog in time.
    pub(super) fn tick(&mut self, now: Instant) {
        if let Some(interval) = self.interval.filter(|_| self.due <= now) {
            self.due = now + interval;
            send(&[NotifyState::Watchdog]);
        }
    }

    /// Says that the factory is about to leave.
    pub(super) fn stopping() {
        send(&[NotifyState::Stopping]);
    }
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        log::debug!("the service manager cannot be told: {error}");
    }
}
