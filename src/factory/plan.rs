//! The tables the factory runs on, built once from the configuration. A stage, a machine kind, a site, a signal and a block
//! reason are rows here, never branches in the code.

use crate::units::{SiteId, Span, StageId};

/// Everything the simulated world is made of. Two equal plans, the same start and the same orders give the same outputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Root of every draw.
    pub seed: u64,
    /// The stages in the order a lot passes through them.
    pub stages: Vec<Stage>,
    /// The plants.
    pub sites: Vec<Site>,
    /// `alta` before `normale` before `bassa`; otherwise plain first-in first-out.
    pub priority_processing: bool,
    /// Long-run chance that a lot's work at one stage is interrupted by a block, 0 to 1.
    pub block_probability: f64,
    /// How long a block lasts.
    pub block_duration: Range<Span>,
    /// Between two periodic telemetry records of a machine.
    pub telemetry_interval: Span,
    /// Whether a machine without a lot sends telemetry too.
    pub idle_telemetry: bool,
    /// Bounds of memory.
    pub capacity: Capacity,
}

/// A closed range, `min <= max`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range<T> {
    /// Smallest value.
    pub min: T,
    /// Largest value.
    pub max: T,
}

/// How much the factory may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Lots in progress at one time.
    pub lots: u32,
    /// Accepted lot codes that are remembered to recognise a duplicate.
    pub remembered_codes: u32,
}

/// A plant.
#[derive(Clone, Debug, PartialEq)]
pub struct Site {
    /// As on the wire: `Italia`.
    pub name: Box<str>,
    /// Name in the time-zone database: `Europe/Rome`.
    pub timezone: Box<str>,
    /// How many machines each stage has here, in the order of `Plan::stages`: at least one each; none at all where another
    /// instance plays the plant.
    pub machines: Vec<u32>,
}

/// A step of production and the machines that do it.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// Name in events and in `processing_times`: `assemblaggio`.
    pub name: Box<str>,
    /// Machine kind, as in `[machines.*]` and in machine ids: `linea_assemblaggio`.
    pub machine: Box<str>,
    /// Human label on the wire: `Linea assemblaggio`.
    pub label: Box<str>,
    /// Suffix of the telemetry topic: `assemblaggio`.
    pub topic: Box<str>,
    /// Processing time of a lot.
    pub duration: Range<Span>,
    /// The stage's own telemetry fields, in wire order. A signal may follow only earlier ones.
    pub signals: Vec<Signal>,
    /// Why a machine of this stage blocks; one is drawn with equal chance. Empty: it never blocks.
    pub block_reasons: Vec<BlockReason>,
}

/// Why a machine blocks.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockReason {
    /// As on the wire: `Cambio utensile`.
    pub reason: Box<str>,
    /// The block is also the machine's maintenance: wear returns to nothing, `ultima_manutenzione` moves.
    pub maintenance: bool,
}

/// One telemetry field of a stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// Field name on the wire.
    pub name: Box<str>,
    /// What it measures and how it is drawn.
    pub kind: SignalKind,
}

/// What a signal is. Each value is one `i64` in [`Outputs`](super::outputs::Outputs); the variant says how to read it.
#[derive(Clone, Debug, PartialEq)]
pub enum SignalKind {
    /// A real number; value = number * 10^decimals.
    Number(Level),
    /// A whole number; value = the number (`decimals` is 0).
    Integer(Level),
    /// One of several texts; value = index of the choice.
    Choice(Choices),
    /// Any of several texts, usually none; value = bit set of indices.
    List(Choices),
    /// Named passes and failures; value = bit set of the passed ones.
    Passes {
        /// The tests, at most 64.
        passes: Vec<Pass>,
        /// Chance that one passes.
        probability: f64,
    },
    /// Pieces finished so far: 0 up to the lot's quantity, never falling; value = the count.
    Pieces,
    /// The lot's processing time on this machine in minutes; value = minutes * 10^decimals.
    CycleTime {
        /// Decimal places.
        decimals: u8,
    },
}

/// How a number moves inside its range. Its level, 0 to 1, is the weighted sum of what it follows; the number is
/// `min + level * (max - min)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Level {
    /// The normal range.
    pub range: Range<f64>,
    /// Decimal places, 0 to 9.
    pub decimals: u8,
    /// Weights by source. They sum to 1: what the configuration leaves open is `Source::Noise`.
    pub follows: Vec<(Source, f64)>,
    /// The value while the machine is blocked, if it differs from the drawn one (a stopped spindle).
    pub when_blocked: Option<f64>,
}

/// What a level may follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// Wear of the machine, 0 after maintenance, 1 worn out.
    Wear,
    /// Time under load: rises towards 1 while working, falls towards 0 while blocked or idle.
    Load,
    /// One draw for each lot, stage and signal.
    Lot,
    /// One draw for each record and signal.
    Noise,
    /// The level of an earlier signal of the same stage (its index), a number or an integer.
    Signal(u16),
}

/// The texts of a choice or a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Choices {
    /// The signal (index of an earlier number or integer) whose level `Rule::Above` looks at.
    pub signal: Option<u16>,
    /// The texts and when each is taken, at most 64. A choice takes the last whose rule holds, so the first, with
    /// `Rule::Otherwise`, is the normal case. A list takes every one whose rule holds.
    pub choices: Vec<Choice>,
}

/// One text of a choice or a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// As on the wire.
    pub value: Box<str>,
    /// When it is taken.
    pub rule: Rule,
}

/// When a text is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// When nothing later is.
    Otherwise,
    /// With this chance at each record.
    Probability(f64),
    /// When the level of the followed signal is above this.
    Above(f64),
    /// While the machine has no lot.
    Idle,
    /// While it is blocked.
    Blocked,
    /// While it is blocked for maintenance.
    Maintenance,
}

/// One test of a group.
#[derive(Clone, Debug, PartialEq)]
pub struct Pass {
    /// As on the wire.
    pub name: Box<str>,
    /// The reading beside it: a *later* number of the same stage. A failed test puts its level into the outer tenths of the
    /// range (below 0.1 or above 0.9), a passed one keeps it between them.
    pub signal: Option<u16>,
}

impl Plan {
    /// The stage's row.
    #[must_use]
    pub fn stage(&self, id: StageId) -> &Stage {
        &self.stages[usize::from(id.0)]
    }

    /// The site's row.
    #[must_use]
    pub fn site(&self, id: SiteId) -> &Site {
        &self.sites[usize::from(id.0)]
    }

    /// The site of that name.
    #[must_use]
    pub fn site_by_name(&self, name: &str) -> Option<SiteId> {
        (0u16..).zip(&self.sites).find(|(_, site)| *site.name == *name).map(|(id, _)| SiteId(id))
    }

    /// Leaves the machines of one site alone: the others are played elsewhere.
    pub fn play_only(&mut self, site: SiteId) {
        let others = (0u16..).zip(&mut self.sites).filter(|(id, _)| *id != site.0);
        others.for_each(|(_, site)| site.machines.fill(0));
    }

    /// The sites that are played here.
    pub fn played_sites(&self) -> impl Iterator<Item = &Site> {
        self.sites.iter().filter(|site| site.is_played())
    }

    /// All machines of all sites.
    #[must_use]
    pub fn machines_total(&self) -> u32 {
        self.sites.iter().flat_map(|site| &site.machines).sum()
    }

    /// Lots that the site's bottleneck stage can work off in an hour, blocks left aside.
    #[must_use]
    pub fn lots_per_hour(&self, site: SiteId) -> f64 {
        const HOUR_MS: f64 = 3_600_000.0;
        let rates = self.stages.iter().zip(&self.site(site).machines);
        rates.map(|(stage, &machines)| f64::from(machines) * HOUR_MS / stage.work_ms_mean()).fold(f64::INFINITY, f64::min)
    }
}

impl Site {
    /// Whether it is played here, and not by another instance.
    #[must_use]
    pub fn is_played(&self) -> bool {
        self.machines.iter().any(|machines| *machines > 0)
    }
}

impl Stage {
    /// Mean work of a lot, milliseconds.
    #[must_use]
    pub fn work_ms_mean(&self) -> f64 {
        (0.5 * (self.duration.min.0 as f64 + self.duration.max.0 as f64)).max(1.0)
    }
}
