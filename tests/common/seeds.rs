//! Randomised tests that can be replayed.

use rand::SeedableRng as _;

/// Where a case draws from.
pub(crate) type Random = rand_xoshiro::Xoshiro256PlusPlus;

/// Runs a case with so many seeds, or with the one that `SEED` gives. A failure names its seed.
pub(crate) fn for_seeds(seeds: u64, case: impl Fn(&mut Random)) {
    let one = std::env::var("SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    for seed in one.map_or(0..seeds, |seed| seed..seed + 1) {
        let _name = Name(seed);
        case(&mut Random::seed_from_u64(seed));
    }
}

struct Name(u64);

impl Drop for Name {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("replay with SEED={}", self.0);
        }
    }
}
