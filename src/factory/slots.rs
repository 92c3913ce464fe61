//! The machine slots, as arrays in the order site, stage, number.

use super::draws::Key;
use super::outputs::Machine;
use super::plan::Plan;
use super::queues::{Links, NONE};
use super::wear;
use crate::units::{SimTime, SiteId, SlotId, Span, StageId};

/// What a machine does.
///
/// ```text
///              start               block
///    +------+ -------> +------+ ----------> +---------+
///    | Idle |          | Busy |             | Blocked |
///    +------+ <------- +------+ <---------- +---------+
///             complete             unblock
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MachineState {
    /// It has no lot.
    Idle,
    /// It works on a lot.
    Busy,
    /// It holds a lot and stands still.
    Blocked,
}

/// What a machine can wait for. At one instant the first of these comes first, and a periodic telemetry record gives way to
/// that of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    Unblock,
    Block,
    Complete,
    Telemetry,
}

impl Timer {
    const ALL: [Self; 4] = [Self::Unblock, Self::Block, Self::Complete, Self::Telemetry];
}

/// When each timer of a machine is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timers([SimTime; Timer::ALL.len()]);

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: SimTime) {
        self.0[timer as usize] = at;
    }

    pub(super) fn at(&self, timer: Timer) -> SimTime {
        self.0[timer as usize]
    }

    /// The timer that is due next, and when.
    pub(super) fn next(&self) -> (SimTime, Timer) {
        let mut next = (SimTime::NEVER, Timer::Telemetry);
        for timer in Timer::ALL {
            if self.at(timer) < next.0 {
                next = (self.at(timer), timer);
            }
        }
        next
    }
}

/// A machine's condition at the last change of its state; [`wear`] says how it goes on from there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Condition {
    pub(super) since: SimTime,
    pub(super) wear: f64,
    pub(super) load: f64,
}

/// The machine's lot and the work on it, left as it was once the machine is idle.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work {
    /// The lot's place.
    pub(super) lot: u32,
    /// Telemetry records of the lot at this stage.
    pub(super) records: u32,
    /// Root of the draws for this lot and stage.
    pub(super) key: Key,
    pub(super) started_at: SimTime,
    /// Work of the lot at this stage, blocks not counted.
    pub(super) total: Span,
    /// Of it, done before `Condition::since`.
    pub(super) done: Span,
    /// Why the machine blocks, if it does.
    pub(super) block_reason: u16,
}

/// The arrays, by slot.
#[derive(Debug)]
pub(super) struct Slots {
    pub(super) machine: Vec<Machine>,
    /// Root of the machine's own draws.
    pub(super) key: Vec<Key>,
    pub(super) state: Vec<MachineState>,
    /// Telemetry records sent since the start of the factory.
    pub(super) seq: Vec<u64>,
    pub(super) last_maintenance: Vec<SimTime>,
    pub(super) condition: Vec<Condition>,
    pub(super) work: Vec<Work>,
    pub(super) timers: Vec<Timers>,
    /// Links of the list of idle machines.
    pub(super) links: Links,
}

impl Slots {
    /// Memory of each machine.
    pub(super) const SLOT_BYTES: usize = size_of::<Machine>()
        + size_of::<Key>()
        + size_of::<MachineState>()
        + size_of::<u64>()
        + size_of::<SimTime>()
        + size_of::<Condition>()
        + size_of::<Work>()
        + size_of::<Timers>()
        + size_of::<u32>();

    /// Idle machines, worn as `key_of` the machine says.
    pub(super) fn new(plan: &Plan, start: SimTime, key_of: impl Fn(&Machine) -> Key) -> Self {
        let machine = machines(plan);
        let len = machine.len();
        let key: Vec<Key> = machine.iter().map(key_of).collect();
        let wear: Vec<f64> = key.iter().copied().map(wear::at_start).collect();
        let work =
            |&key| Work { lot: NONE, records: 0, key, started_at: start, total: Span(0), done: Span(0), block_reason: 0 };
        Self {
            state: vec![MachineState::Idle; len],
            seq: vec![0; len],
            last_maintenance: wear.iter().map(|&wear| wear::last_maintenance(start, wear)).collect(),
            condition: wear.iter().map(|&wear| Condition { since: start, wear, load: 0.0 }).collect(),
            timers: vec![Timers([SimTime::NEVER; Timer::ALL.len()]); len],
            links: Links(vec![NONE; len]),
            work: key.iter().map(work).collect(),
            key,
            machine,
        }
    }

    /// Work of the present lot that is done at `at`.
    pub(super) fn done(&self, slot: usize, at: SimTime) -> Span {
        let running = match self.state[slot] {
            MachineState::Busy => at - self.condition[slot].since,
            MachineState::Idle | MachineState::Blocked => Span(0),
        };
        self.work[slot].done + running
    }

    /// Wear at `at`, when it grows by `wear_per_ms` of work.
    pub(super) fn wear(&self, slot: usize, at: SimTime, wear_per_ms: f64) -> f64 {
        let worked = self.done(slot, at) - self.work[slot].done;
        (self.condition[slot].wear + worked.0 as f64 * wear_per_ms).min(1.0)
    }

    /// Load at `at`.
    pub(super) fn load(&self, slot: usize, at: SimTime) -> f64 {
        let condition = self.condition[slot];
        wear::load(condition.load, at - condition.since, self.state[slot] == MachineState::Busy)
    }

    /// Enters a state at `at`: work, wear and load so far are settled, and go on from there.
    pub(super) fn enter(&mut self, slot: usize, at: SimTime, state: MachineState, wear_per_ms: f64) {
        let condition = Condition { since: at, wear: self.wear(slot, at, wear_per_ms), load: self.load(slot, at) };
        self.work[slot].done = self.done(slot, at);
        self.condition[slot] = condition;
        self.state[slot] = state;
    }
}

/// The plan's machines, in the order of their slots.
fn machines(plan: &Plan) -> Vec<Machine> {
    let mut machines = Vec::with_capacity(plan.machines_total() as usize);
    for (site, row) in (0u16..).map(SiteId).zip(&plan.sites) {
        for (stage, &count) in (0u16..).map(StageId).zip(&row.machines) {
            for number in 1..=count {
                machines.push(Machine { slot: SlotId(machines.len() as u32), site, stage, number });
            }
        }
    }
    machines
}
