//! A number that stands for a plan and a start: runs with the same one tell the same story for the same orders.

use super::plan::{
    BlockReason, Capacity, Choice, Choices, Level, Pass, Plan, Range, Rule, Signal, SignalKind, Site, Source, Stage,
};
use crate::units::{SimTime, Span};
use sha2::{Digest, Sha256};

impl Plan {
    /// A hash (SHA-256, cut) over the whole plan, its seed included, and the start: the same on every machine and in every
    /// version in which the plan has the same fields.
    #[must_use]
    pub fn fingerprint(&self, start: SimTime) -> u64 {
        let mut hash = Hasher(Sha256::new());
        self.feed(&mut hash);
        start.0.feed(&mut hash);
        let mut head = [0; 8];
        head.copy_from_slice(&hash.0.finalize()[..8]);
        u64::from_be_bytes(head)
    }
}

struct Hasher(Sha256);

/// What can be hashed; every list and text is preceded by its length, every variant by its number, so that nothing reads alike.
/// Rows are taken apart by name: a field that is added and forgotten here does not compile.
trait Feed {
    fn feed(&self, hash: &mut Hasher);
}

macro_rules! feed_bytes {
    ($($number:ty),*) => { $(impl Feed for $number {
        fn feed(&self, hash: &mut Hasher) {
            hash.0.update(self.to_le_bytes());
        }
    })* };
}

feed_bytes!(u8, u16, u32, u64, i64);

impl Feed for f64 {
    fn feed(&self, hash: &mut Hasher) {
        self.to_bits().feed(hash);
    }
}

impl Feed for bool {
    fn feed(&self, hash: &mut Hasher) {
        u8::from(*self).feed(hash);
    }
}

impl Feed for str {
    fn feed(&self, hash: &mut Hasher) {
        (self.len() as u64).feed(hash);
        hash.0.update(self);
    }
}

impl Feed for Span {
    fn feed(&self, hash: &mut Hasher) {
        self.0.feed(hash);
    }
}

impl<T: Feed> Feed for [T] {
    fn feed(&self, hash: &mut Hasher) {
        (self.len() as u64).feed(hash);
        self.iter().for_each(|item| item.feed(hash));
    }
}

impl<T: Feed> Feed for Option<T> {
    fn feed(&self, hash: &mut Hasher) {
        self.as_slice().feed(hash);
    }
}

impl<A: Feed, B: Feed> Feed for (A, B) {
    fn feed(&self, hash: &mut Hasher) {
        self.0.feed(hash);
        self.1.feed(hash);
    }
}

impl<T: Feed> Feed for Range<T> {
    fn feed(&self, hash: &mut Hasher) {
        let Self { min, max } = self;
        min.feed(hash);
        max.feed(hash);
    }
}

/// Feeds every field of a row, in the order given.
macro_rules! feed_fields {
    ($row:ident { $($field:ident),* }) => { impl Feed for $row {
        fn feed(&self, hash: &mut Hasher) {
            let Self { $($field),* } = self;
            $($field.feed(hash);)*
        }
    } };
}

feed_fields!(Plan {
    seed,
    stages,
    sites,
    priority_processing,
    block_probability,
    block_duration,
    telemetry_interval,
    idle_telemetry,
    capacity
});
feed_fields!(Capacity { lots, remembered_codes });
feed_fields!(Site { name, timezone, machines });
feed_fields!(Stage { name, machine, label, topic, duration, signals, block_reasons });
feed_fields!(BlockReason { reason, maintenance });
feed_fields!(Signal { name, kind });
feed_fields!(Level { range, decimals, follows, when_blocked });
feed_fields!(Choices { signal, choices });
feed_fields!(Choice { value, rule });
feed_fields!(Pass { name, signal });

impl Feed for SignalKind {
    fn feed(&self, hash: &mut Hasher) {
        match self {
            Self::Number(level) => (0u8, level).feed(hash),
            Self::Integer(level) => (1u8, level).feed(hash),
            Self::Choice(choices) => (2u8, choices).feed(hash),
            Self::List(choices) => (3u8, choices).feed(hash),
            Self::Passes { passes, probability } => (4u8, (passes.as_slice(), *probability)).feed(hash),
            Self::Pieces => 5u8.feed(hash),
            Self::CycleTime { decimals } => (6u8, *decimals).feed(hash),
        }
    }
}

impl<T: Feed + ?Sized> Feed for &T {
    fn feed(&self, hash: &mut Hasher) {
        (**self).feed(hash);
    }
}

impl Feed for Source {
    fn feed(&self, hash: &mut Hasher) {
        match *self {
            Self::Wear => 0u8.feed(hash),
            Self::Load => 1u8.feed(hash),
            Self::Lot => 2u8.feed(hash),
            Self::Noise => 3u8.feed(hash),
            Self::Signal(signal) => (4u8, signal).feed(hash),
        }
    }
}

impl Feed for Rule {
    fn feed(&self, hash: &mut Hasher) {
        match *self {
            Self::Otherwise => 0u8.feed(hash),
            Self::Probability(chance) => (1u8, chance).feed(hash),
            Self::Above(level) => (2u8, level).feed(hash),
            Self::Idle => 3u8.feed(hash),
            Self::Blocked => 4u8.feed(hash),
            Self::Maintenance => 5u8.feed(hash),
        }
    }
}
