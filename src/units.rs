//! Small integers with a name: simulated time and the handles into the factory's tables.

use std::ops::{Add, AddAssign, Sub};

/// An instant of simulated time, in milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimTime(pub i64);

/// A length of simulated time, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(pub i64);

impl SimTime {
    /// Later than every instant that is simulated.
    pub const NEVER: Self = Self(i64::MAX);
}

impl Span {
    /// A span of whole seconds.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self(secs * 1000)
    }

    /// The span in seconds.
    #[must_use]
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }
}

impl Add<Span> for SimTime {
    type Output = Self;

    /// Saturates, so that `NEVER` stays `NEVER`.
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl Sub for Span {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Sub for SimTime {
    type Output = Span;

    fn sub(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Add for Span {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Span {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

/// A site (plant): its row in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(pub u16);

/// A stage of production: its row in the plan, in the order lots pass through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StageId(pub u16);

/// A machine slot. Machines are never removed while the factory runs, so an index is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub u32);

/// A lot in the factory. Its place is used again once it has completed, so the handle carries a generation: a stale one is
/// recognised instead of naming another lot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LotId {
    /// The place in the lot arrays.
    pub index: u32,
    /// How often the place had been used before.
    pub generation: u32,
}

/// How urgent a lot is; the order of the variants is the order of service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// `alta`
    High,
    /// `normale`, what an order without one has
    #[default]
    Normal,
    /// `bassa`
    Low,
}

impl Priority {
    /// Every priority, most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "alta",
            Self::Normal => "normale",
            Self::Low => "bassa",
        }
    }
}
