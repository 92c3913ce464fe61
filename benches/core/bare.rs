//! The same model as the core's in the barest way: one `BinaryHeap` of events, `VecDeque`s, a generator that runs on. No
//! handles, no duplicates, no wear, no text, no bounds, no verdicts that bend readings: a yardstick and no more.

use mokasim::factory::plan::{Choice, Level, Plan, Range, Rule, SignalKind, Source};
use mokasim::units::Span;
use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus as Random;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Unblock,
    Block,
    Complete,
    Telemetry,
}

struct Machine {
    site: usize,
    stage: usize,
    lot: usize,
    seq: u64,
    started_at: i64,
    ends_at: i64,
    blocked: bool,
    /// Counts the lots, so that a telemetry event of an earlier one is recognised.
    job: u32,
}

/// The loop.
pub(crate) struct Bare<'a> {
    plan: &'a Plan,
    random: Random,
    heap: BinaryHeap<Reverse<(i64, usize, Kind, u32)>>,
    machines: Vec<Machine>,
    /// By site and stage.
    idle: Vec<Vec<VecDeque<usize>>>,
    queues: Vec<Vec<[VecDeque<usize>; 3]>>,
    /// Site and priority of each lot.
    lots: Vec<(usize, usize)>,
    /// What was put out last.
    out: Vec<(i64, usize, usize)>,
    values: Vec<i64>,
    levels: Vec<f64>,
    transitions: u64,
    records: u64,
}

impl<'a> Bare<'a> {
    pub(crate) fn new(plan: &'a Plan) -> Self {
        let stages = plan.stages.len();
        let mut bare = Self {
            plan,
            random: Random::seed_from_u64(plan.seed),
            heap: BinaryHeap::new(),
            machines: Vec::new(),
            idle: plan.sites.iter().map(|_| vec![VecDeque::new(); stages]).collect(),
            queues: plan.sites.iter().map(|_| (0..stages).map(|_| Default::default()).collect()).collect(),
            lots: Vec::new(),
            out: Vec::new(),
            values: Vec::new(),
            levels: Vec::new(),
            transitions: 0,
            records: 0,
        };
        for (site, row) in plan.sites.iter().enumerate() {
            for (stage, &count) in row.machines.iter().enumerate() {
                for _ in 0..count {
                    bare.idle[site][stage].push_back(bare.machines.len());
                    bare.machines.push(Machine {
                        site,
                        stage,
                        lot: 0,
                        seq: 0,
                        started_at: 0,
                        ends_at: 0,
                        blocked: false,
                        job: 0,
                    });
                }
            }
        }
        bare
    }

    pub(crate) fn offer(&mut self, site: usize, priority: usize) {
        self.lots.push((site, priority));
        self.enqueue(0, self.lots.len() - 1, 0);
    }

    /// Works everything off, and says how many (transitions, telemetry records) that took.
    pub(crate) fn run(&mut self) -> (u64, u64) {
        while let Some(Reverse((at, slot, kind, job))) = self.heap.pop() {
            if self.out.len() > 1000 {
                self.out.clear();
                self.values.clear();
            }
            match kind {
                Kind::Telemetry if job != self.machines[slot].job => {}
                Kind::Telemetry => {
                    self.report(at, slot);
                    self.push(at + self.plan.telemetry_interval.0, slot, Kind::Telemetry);
                }
                Kind::Block => {
                    let blocked = self.draw(self.plan.block_duration);
                    self.machines[slot].ends_at += blocked;
                    self.machines[slot].blocked = true;
                    self.push(at + blocked, slot, Kind::Unblock);
                    self.change(at, slot);
                }
                Kind::Unblock => {
                    self.machines[slot].blocked = false;
                    self.push(self.machines[slot].ends_at, slot, Kind::Complete);
                    self.change(at, slot);
                }
                Kind::Complete => self.complete(at, slot),
            }
        }
        (self.transitions, self.records)
    }

    fn complete(&mut self, at: i64, slot: usize) {
        self.change(at, slot);
        let Machine { site, stage, lot, .. } = self.machines[slot];
        self.machines[slot].job += 1;
        if stage + 1 < self.plan.stages.len() {
            self.enqueue(at, lot, stage + 1);
        }
        match self.queues[site][stage].iter_mut().find_map(VecDeque::pop_front) {
            Some(lot) => self.start(at, slot, lot),
            None => self.idle[site][stage].push_back(slot),
        }
    }

    fn enqueue(&mut self, at: i64, lot: usize, stage: usize) {
        let (site, priority) = self.lots[lot];
        match self.idle[site][stage].pop_front() {
            Some(slot) => self.start(at, slot, lot),
            None => self.queues[site][stage][priority].push_back(lot),
        }
    }

    fn start(&mut self, at: i64, slot: usize, lot: usize) {
        let work = self.draw(self.plan.stages[self.machines[slot].stage].duration);
        let machine = &mut self.machines[slot];
        (machine.lot, machine.started_at, machine.ends_at) = (lot, at, at + work);
        if self.random.random_bool(self.plan.block_probability) {
            let after = self.random.random_range(1..work);
            self.push(at + after, slot, Kind::Block);
        } else {
            self.push(at + work, slot, Kind::Complete);
        }
        self.push(at + self.plan.telemetry_interval.0, slot, Kind::Telemetry);
        self.change(at, slot);
    }

    fn change(&mut self, at: i64, slot: usize) {
        self.transitions += 1;
        self.out.push((at, slot, self.machines[slot].lot));
        self.report(at, slot);
    }

    fn report(&mut self, at: i64, slot: usize) {
        self.records += 1;
        self.machines[slot].seq += 1;
        self.out.push((at, slot, self.machines[slot].seq as usize));
        let stage = &self.plan.stages[self.machines[slot].stage];
        self.levels.clear();
        self.levels.resize(stage.signals.len(), 0.0);
        for (i, signal) in stage.signals.iter().enumerate() {
            let value = match &signal.kind {
                SignalKind::Number(row) | SignalKind::Integer(row) => self.number(at, slot, i, row),
                SignalKind::Choice(row) => {
                    let level = row.signal.map_or(0.0, |signal| self.levels[usize::from(signal)]);
                    row.choices.iter().rposition(|choice| self.holds(slot, choice, level)).unwrap_or(0) as i64
                }
                SignalKind::List(row) => {
                    let level = row.signal.map_or(0.0, |signal| self.levels[usize::from(signal)]);
                    row.choices.iter().fold(0, |bits, choice| bits << 1 | i64::from(self.holds(slot, choice, level)))
                }
                SignalKind::Passes { passes, probability } => {
                    passes.iter().fold(0, |bits, _| bits << 1 | i64::from(self.random.random_bool(*probability)))
                }
                SignalKind::Pieces => {
                    let Machine { started_at, ends_at, .. } = self.machines[slot];
                    100 * (at - started_at) / (ends_at - started_at)
                }
                SignalKind::CycleTime { .. } => {
                    ((self.machines[slot].ends_at - self.machines[slot].started_at) as f64 / 6000.0).round() as i64
                }
            };
            self.values.push(value);
        }
    }

    fn number(&mut self, at: i64, slot: usize, signal: usize, row: &Level) -> i64 {
        let elapsed = (at - self.machines[slot].started_at) as f64;
        let mut level = 0.0;
        for &(source, weight) in &row.follows {
            level += weight
                * match source {
                    Source::Wear => 0.5,
                    Source::Load => elapsed / (600_000.0 + elapsed),
                    Source::Lot | Source::Noise => self.random.random(),
                    Source::Signal(earlier) => self.levels[usize::from(earlier)],
                };
        }
        self.levels[signal] = level;
        let number = match row.when_blocked {
            Some(number) if self.machines[slot].blocked => number,
            _ => row.range.min + level * (row.range.max - row.range.min),
        };
        (number * 10f64.powi(row.decimals.into())).round() as i64
    }

    fn holds(&mut self, slot: usize, choice: &Choice, level: f64) -> bool {
        match choice.rule {
            Rule::Otherwise => true,
            Rule::Probability(chance) => self.random.random_bool(chance),
            Rule::Above(than) => level > than,
            Rule::Idle => false,
            Rule::Blocked | Rule::Maintenance => self.machines[slot].blocked,
        }
    }

    fn push(&mut self, at: i64, slot: usize, kind: Kind) {
        self.heap.push(Reverse((at, slot, kind, self.machines[slot].job)));
    }

    fn draw(&mut self, range: Range<Span>) -> i64 {
        self.random.random_range(range.min.0..=range.max.0)
    }
}
