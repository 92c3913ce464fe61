//! The only room that reads the operating system's clock or sleeps: ticks, simulated time, lateness.

#![expect(clippy::disallowed_methods, reason = "this is the room the other rooms are sent to")]

use crate::units::SimTime;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Monotonic now.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Wall-clock now, milliseconds since 1970 UTC. Read once at start for the simulation, so a clock that is stepped later moves
/// nothing but the stamps of the log and of `/health`.
#[must_use]
pub fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Sleeps.
pub fn sleep(duration: Duration) {
    std::thread::sleep(duration);
}

/// Simulated time as a function of the monotonic clock: `start + elapsed * speed`.
#[derive(Clone, Copy, Debug)]
pub struct SimClock {
    origin: Instant,
    start: SimTime,
    speed: f64,
}

impl SimClock {
    /// Simulated time is `start` at `origin` and runs `speed` times as fast.
    #[must_use]
    pub fn new(origin: Instant, start: SimTime, speed: f64) -> Self {
        Self { origin, start, speed }
    }

    /// The simulated instant at `now`.
    #[must_use]
    pub fn at(&self, now: Instant) -> SimTime {
        let elapsed_ms = now.saturating_duration_since(self.origin).as_secs_f64() * 1000.0;
        SimTime(self.start.0.saturating_add((elapsed_ms * self.speed) as i64))
    }
}

/// Ticks anchored to an origin: the k-th is due at `origin + k * period`, so they do not drift. Ticks missed altogether (the
/// process was stopped) are skipped, and show as lateness of the one that follows.
#[derive(Clone, Debug)]
pub struct Ticker {
    due: Instant,
    period: Duration,
    lateness: Lateness,
}

impl Ticker {
    /// The first tick is due at `origin`.
    #[must_use]
    pub fn new(origin: Instant, period: Duration) -> Self {
        Self { due: origin, period, lateness: Lateness::default() }
    }

    /// When the next tick is due.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.due
    }

    /// Begins the tick that is due, notes how late it is, and sets the next one after `now`.
    pub fn begin(&mut self, now: Instant) {
        let late = now.saturating_duration_since(self.due);
        self.lateness.note(late);
        let missed = (late.as_nanos() / self.period.as_nanos().max(1)) as u32;
        self.due += self.period * missed.saturating_add(1);
    }

    /// How late the ticks began.
    #[must_use]
    pub fn lateness(&self) -> &Lateness {
        &self.lateness
    }
}

/// A histogram of tick lateness.
#[derive(Clone, Debug, Default)]
pub struct Lateness {
    counts: [u64; Lateness::BOUNDS_US.len()],
    ticks: u64,
    sum_us: u64,
}

impl Lateness {
    /// Upper bounds of the buckets in microseconds; the last one takes everything.
    pub const BOUNDS_US: [u64; 13] =
        [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, u64::MAX];

    fn note(&mut self, late: Duration) {
        let late_us = u64::try_from(late.as_micros()).unwrap_or(u64::MAX);
        let bucket = Self::BOUNDS_US.partition_point(|bound_us| *bound_us < late_us);
        self.counts[bucket] += 1;
        self.ticks += 1;
        self.sum_us = self.sum_us.saturating_add(late_us);
    }

    /// Ticks so far.
    #[must_use]
    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Sum of all lateness in microseconds.
    #[must_use]
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// `(bound in microseconds, ticks at most that late)`, cumulative.
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let mut below = 0;
        Self::BOUNDS_US.iter().zip(self.counts).map(move |(bound_us, count)| {
            below += count;
            (*bound_us, below)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_stay_on_the_grid_of_their_origin() {
        let origin = now();
        let period = Duration::from_millis(100);
        let mut ticker = Ticker::new(origin, period);
        ticker.begin(origin + Duration::from_millis(3));
        assert_eq!(ticker.due(), origin + period);
        ticker.begin(origin + Duration::from_millis(350));
        assert_eq!(ticker.due(), origin + period * 4, "ticks 2 and 3 were missed and are not made up for");
    }

    #[test]
    fn lateness_is_counted_at_its_bound() {
        let mut lateness = Lateness::default();
        for late_us in [0, 100, 101, 5_000, 5_001] {
            lateness.note(Duration::from_micros(late_us));
        }
        let at_most = |us| lateness.cumulative().find(|(bound_us, _)| *bound_us == us).map(|(_, ticks)| ticks);
        assert_eq!((at_most(100), at_most(250), at_most(5_000), at_most(u64::MAX)), (Some(2), Some(3), Some(4), Some(5)));
    }

    #[test]
    fn simulated_time_runs_at_its_speed_from_its_start() {
        let origin = now();
        let clock = SimClock::new(origin, SimTime(1_000), 60.0);
        assert_eq!(clock.at(origin), SimTime(1_000));
        assert_eq!(clock.at(origin + Duration::from_secs(2)), SimTime(121_000));
    }
}
