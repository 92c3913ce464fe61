//! How machines wear, heat up and block.

use super::draws::{Key, What};
use super::plan::Stage;
use crate::units::{SimTime, Span};

/// After this time the way to full load, or back to none, is half gone.
pub const LOAD_HALF_LIFE: Span = Span::from_secs(10 * 60);

/// A machine that starts worn out had its last maintenance this long ago, one half worn half as long.
pub const MAINTENANCE_AGE_MAX: Span = Span::from_secs(10 * 24 * 3600);

/// Time under load, 0 to 1, `elapsed` after it was `load`: a rational approach `1 - (1 - load) * t / (t + elapsed)` towards 1
/// while working, its mirror image towards 0 otherwise. No exponential, so the value is the same on every architecture.
pub(super) fn load(load: f64, elapsed: Span, working: bool) -> f64 {
    let half_life = LOAD_HALF_LIFE.0 as f64;
    let rest = half_life / (half_life + elapsed.0 as f64);
    if working { 1.0 - (1.0 - load) * rest } else { load * rest }
}

/// Wear of the machine when the factory starts: anywhere between two maintenances.
pub(super) fn at_start(machine: Key) -> f64 {
    machine.draw(What::WearAtStart, 0).unit()
}

/// The last maintenance of a machine that starts with this wear.
pub(super) fn last_maintenance(start: SimTime, wear: f64) -> SimTime {
    start + Span(-((wear * MAINTENANCE_AGE_MAX.0 as f64) as i64))
}

/// How the machines of a stage wear and block.
///
/// A lot's work is interrupted with chance `base + slope * wear`, so wear makes it likelier; a share of the blocks is
/// maintenance, after which wear is 0 again. `slope` is such that in the long run the chance is the configured one. Where no
/// block is maintenance, nothing would ever end wear: it stays as it is, and the chance is the same for each lot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Blocks {
    base: f64,
    slope: f64,
    /// Growth of wear; it reaches 1 after the work of as many lots as are expected between two maintenances.
    pub(super) wear_per_ms: f64,
}

impl Blocks {
    /// For a stage whose lots are interrupted with this chance in the long run.
    pub(super) fn new(stage: &Stage, probability: f64) -> Self {
        let maintenances = stage.block_reasons.iter().filter(|reason| reason.maintenance).count();
        if stage.block_reasons.is_empty() || probability <= 0.0 {
            return Self { base: 0.0, slope: 0.0, wear_per_ms: 0.0 };
        }
        if maintenances == 0 {
            return Self { base: probability, slope: 0.0, wear_per_ms: 0.0 };
        }
        let share = maintenances as f64 / stage.block_reasons.len() as f64;
        let maintenance_chance = share * probability;
        let base = probability * (1.0 - 0.5 * (1.0 - probability));
        Self {
            base,
            slope: slope(base, share, 1.0 / maintenance_chance),
            wear_per_ms: maintenance_chance / stage.work_ms_mean(),
        }
    }

    /// Chance that the work on a lot that starts at this wear is interrupted.
    pub(super) fn chance(&self, wear: f64) -> f64 {
        self.base + self.slope * wear
    }
}

/// The slope that makes a cycle from one maintenance to the next `lots` long in the mean, by bisection.
///
/// Cycles beyond `LOTS_MAX` are replaced by that: the slope relative to the chance depends on the length by O(1 / length) only.
fn slope(base: f64, share: f64, lots: f64) -> f64 {
    const LOTS_MAX: f64 = 1000.0;
    let scale = (lots / LOTS_MAX).max(1.0);
    let (base, lots) = (base * scale, lots / scale);
    // At the upper bound every lot is interrupted, which is no rarer than wanted.
    let mut bounds = (0.0, 2.0 * lots);
    for _ in 0..64 {
        let middle = 0.5 * (bounds.0 + bounds.1);
        if cycle_lots(base, middle, share, lots) > lots { bounds.0 = middle } else { bounds.1 = middle }
    }
    bounds.0 / scale
}

/// Mean number of lots from one maintenance to the next (renewal equation: the sum over k of the chance that k lots pass
/// without one). The maintenance falls into the middle of a lot in the mean, so the next lot starts with half a lot's wear.
fn cycle_lots(base: f64, slope: f64, share: f64, lots: f64) -> f64 {
    let chance = |wear: f64| share * (base + slope * wear).min(1.0);
    let (mut mean, mut survival, mut wear) = (0.0, 1.0, 0.5 / lots);
    while wear < 1.0 {
        mean += survival;
        survival *= 1.0 - chance(wear);
        wear += 1.0 / lots;
    }
    // From here on the chance is constant: a geometric series.
    mean + survival / chance(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cycles_have_the_wanted_length() {
        for probability in [1e-9, 0.001, 0.05, 0.3, 0.9, 1.0] {
            for share in [0.25, 0.5, 1.0] {
                let lots = 1.0 / (share * probability);
                let base = probability * (1.0 - 0.5 * (1.0 - probability));
                let slope = slope(base, share, lots);
                assert!(slope >= 0.0 && base + slope <= 1.0 + 1e-9, "{probability} {share}: {base} + {slope}");
                if lots < 1e6 {
                    let found = cycle_lots(base, slope, share, lots);
                    assert!((found / lots - 1.0).abs() < 1e-3, "{probability} {share}: {found} lots, not {lots}");
                }
            }
        }
    }

    #[test]
    fn load_rises_and_falls_within_its_bounds() {
        assert_eq!(load(0.0, LOAD_HALF_LIFE, true), 0.5);
        assert_eq!(load(1.0, LOAD_HALF_LIFE, false), 0.5);
        assert_eq!(load(0.25, Span(0), true), 0.25);
        assert!(load(0.3, Span(i64::MAX), true) <= 1.0 && load(0.3, Span(i64::MAX), false) >= 0.0);
    }
}
