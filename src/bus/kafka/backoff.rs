//! Delays between attempts.

use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::time::Duration;

/// Exponential delays with jitter: `first`, twice as long each time, at most `max`, each a fifth more or less.
#[derive(Debug)]
pub struct Backoff {
    first: Duration,
    max: Duration,
    random: Xoshiro256PlusPlus,
}

impl Backoff {
    /// Delays drawn from `seed`.
    #[must_use]
    pub fn new(first: Duration, max: Duration, seed: u64) -> Self {
        Self { first, max, random: Xoshiro256PlusPlus::seed_from_u64(seed) }
    }

    /// The delay after so many failures in a row.
    pub fn delay(&mut self, failures: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.saturating_sub(1).min(16));
        doubled.min(self.max).mul_f64(self.random.random_range(0.8..1.2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_within_a_fifth() {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_millis(1000), 1);
        for (failures, ms) in [(0, 50), (1, 50), (2, 100), (3, 200), (5, 800), (6, 1000), (1000, 1000), (u32::MAX, 1000)] {
            let delay = backoff.delay(failures).as_secs_f64() * 1000.0;
            let (low, high) = (0.8 * f64::from(ms), 1.2 * f64::from(ms));
            assert!((low..high).contains(&delay), "{failures} failures: {delay} ms");
        }
    }
}
