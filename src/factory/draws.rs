//! Draws without state: each is a function of its key, so it depends on no order, tick, restart or sharding.
//!
//! A key is a path of (what, n) pairs from a root; every step is one output of `SplitMix64`, whose values are stable. A lot's
//! root is a hash of the seed and its code, a machine's one of the seed and its name. Only `+ - * /` and integer operations
//! turn draws into values, so the bytes are the same on every architecture.

use super::plan::Range;
use crate::units::Span;
use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{Rng, SeedableRng};
use sha2::{Digest as _, Sha256};

/// A stable hash of the seed and a name. It tells codes apart (128 bits of SHA-256: nobody can make two collide) and is the
/// root of the draws.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Digest(pub(super) u128);

impl Digest {
    /// The digest of a name in parts, each ended so that no two lists of parts read alike.
    pub(super) fn new(seed: u64, parts: &[&str]) -> Self {
        let mut hash = Sha256::new_with_prefix(seed.to_le_bytes());
        for part in parts {
            hash.update(part);
            hash.update([0]);
        }
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash.finalize()[..16]);
        Self(u128::from_le_bytes(digest))
    }

    /// The root of the draws of what bears the name.
    pub(super) fn key(self) -> Key {
        Key(self.0 as u64)
    }
}

/// What is drawn. The numbers are part of the output's meaning: a new draw takes a new one.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// Node: a stage of a lot; n = the stage.
    Stage = 1,
    /// Node: a telemetry record of a lot at a stage, or of an idle machine; n = its number.
    Record = 2,
    /// Node: a machine among those of its site and stage; n = its number.
    Machine = 3,
    /// Work of a lot at a stage.
    Duration = 4,
    /// Whether it is interrupted.
    Block = 5,
    /// After how much of the work.
    BlockAt = 6,
    /// For how long.
    BlockFor = 7,
    /// Why.
    BlockReason = 8,
    /// A signal's draw for the lot and stage; n = the signal.
    Lot = 9,
    /// A signal's draw for the record; n = the signal.
    Noise = 10,
    /// A text's draw for the record; n = signal * 256 + text.
    Text = 11,
    /// A test's draw for the record; n = signal * 256 + test.
    Pass = 12,
    /// Wear of a machine when the factory starts.
    WearAtStart = 13,
}

/// A place in the tree of draws: 64 uniform bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(u64);

impl Key {
    /// The draw below this one; `n` takes 56 bits.
    pub(super) fn draw(self, what: What, n: u64) -> Self {
        let step = (what as u64) << 56 | n;
        Self(SplitMix64::seed_from_u64(self.0 ^ step).next_u64())
    }

    /// The draw as a number in `[0, 1)`.
    pub(super) fn unit(self) -> f64 {
        const STEP: f64 = 1.0 / (1u64 << 53) as f64;
        // By way of `i64`, which converts in one instruction.
        (self.0 >> 11) as i64 as f64 * STEP
    }

    /// The draw as a whole number below `n`; 0 when `n` is.
    pub(super) fn below(self, n: u64) -> u64 {
        ((u128::from(self.0) * u128::from(n)) >> 64) as u64
    }

    /// The draw as a span of the range, bounds included.
    pub(super) fn span(self, range: &Range<Span>) -> Span {
        let width = range.max - range.min;
        range.min + Span(self.below(width.0.max(0) as u64 + 1) as i64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_and_draws_are_stable() {
        // Worked out apart from this code, in Python; a change here changes the bytes of every run.
        let key = Digest::new(7, &["L-2025-0001"]).key();
        assert_eq!(key, Key(0x3b919ee34a0c980a));
        assert_eq!(key.draw(What::Stage, 2).draw(What::Record, 3), Key(0xb4a6d044e794535f));
        assert_ne!(Digest::new(7, &["ab", "c"]), Digest::new(7, &["a", "bc"]));
    }

    #[test]
    fn a_range_is_reached_from_end_to_end_and_never_left() {
        let range = Range { min: Span(-1), max: Span(2) };
        let root = Digest::new(1, &["range"]).key();
        let mut seen = [0; 4];
        for n in 0..4000 {
            seen[(root.draw(What::Duration, n).span(&range).0 + 1) as usize] += 1;
        }
        assert!(seen.iter().all(|&count| (900..1100).contains(&count)), "{seen:?}");
        assert_eq!(Key(u64::MAX).below(0), 0);
        assert!(Key(u64::MAX).unit() < 1.0);
    }
}
