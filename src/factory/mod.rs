//! The pure core: lots walk from stage to stage over the machines of their site. It knows no clock, bus, file, thread or log;
//! time and orders are given to it, and what happened is handed back as [`outputs::Outputs`].
//!
//! - *Lot*: what an order asks for, made as one. *Stage*: a step of its production. *Site*: a plant.
//! - *Slot*: a machine of a site that does one stage. It is *idle*, *busy* with one lot, or *blocked* in the middle of it.
//! - *Queue*: lots that wait for a machine of one site and stage, by priority, first in first out.
//! - *Work*: the time a lot needs on a machine, blocks left aside. *Wear*: grows with work, ends with *maintenance*.
//!   *Load*: time under load, what a bearing's heat follows.
//! - *Due*: a timer fires at its own instant, whenever the caller comes to ask. At one instant machines fire in slot order.

mod agenda;
mod codes;
mod draws;
mod fingerprint;
mod flow;
mod lots;
mod memory;
pub mod outputs;
pub mod plan;
mod queues;
mod signals;
mod slots;
pub mod wear;

pub use lots::LotState;
pub use memory::MemoryNeeds;
pub use slots::MachineState;

use crate::units::{LotId, Priority, SimTime, SiteId, SlotId, Span, StageId};
use agenda::Agenda;
use codes::Codes;
use draws::{Digest, What as Draw};
use lots::Lots;
use outputs::{Machine, Outputs, What};
use plan::Plan;
use queues::Fifo;
use signals::{Scratch, Signals};
use slots::Slots;
use wear::Blocks;

/// An order that has been checked against the wire's rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order<'a> {
    /// `codice_lotto`, unique.
    pub code: &'a str,
    /// `cliente`
    pub client: &'a str,
    /// `quantita`
    pub quantity: u32,
    /// `location`
    pub site: SiteId,
    /// `priorita`
    pub priority: Priority,
}

/// Why an order was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A lot with this code is in progress or among those remembered.
    Duplicate,
    /// The factory holds as many lots as it may: offer it again later.
    Full,
    /// The plant is played by another instance.
    Elsewhere,
}

/// Counts that an observer may want, as of the last `advance`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lots on a machine.
    pub active_lots: u32,
    /// Lots waiting for one.
    pub queued_lots: u32,
    /// Lots completed since the start.
    pub completed_lots: u64,
    /// Machines of all sites.
    pub machines_total: u32,
    /// Machines holding a lot, blocked ones included.
    pub machines_busy: u32,
    /// Machines blocked.
    pub machines_blocked: u32,
}

/// The factory.
#[derive(Debug)]
pub struct Factory {
    plan: Plan,
    /// What follows from each stage's row.
    stages: Vec<StageModel>,
    lots: Lots,
    slots: Slots,
    /// By site and stage.
    groups: Vec<Group>,
    codes: Codes,
    agenda: Agenda,
    counts: Counts,
    /// The instant reached.
    now: SimTime,
    scratch: Scratch,
}

/// What follows from a stage's row.
#[derive(Debug)]
struct StageModel {
    blocks: Blocks,
    signals: Signals,
}

/// The machines of one site and stage.
#[derive(Clone, Copy, Debug)]
struct Group {
    /// Lots that wait, by priority.
    queues: [Fifo; Priority::ALL.len()],
    /// Idle machines. They join as they become idle and in slot order at one instant, so the first is the one that has been
    /// idle longest, the lowest number on a tie.
    idle: Fifo,
}

impl Factory {
    /// An empty factory whose machines stand idle at `start`. [`memory_needs`](Self::memory_needs) says what it may take.
    #[must_use]
    pub fn new(plan: &Plan, start: SimTime) -> Self {
        let key_of = |machine: &Machine| {
            let (site, stage) = (plan.site(machine.site), plan.stage(machine.stage));
            let group = Digest::new(plan.seed, &[&site.name, &stage.name]);
            group.key().draw(Draw::Machine, machine.number.into())
        };
        let model = |stage| StageModel { blocks: Blocks::new(stage, plan.block_probability), signals: Signals::new(stage) };
        let slots = Slots::new(plan, start, key_of);
        let machines = slots.machine.len();
        let mut factory = Self {
            stages: plan.stages.iter().map(model).collect(),
            lots: Lots::new(plan.capacity.lots as usize, plan.stages.len()),
            groups: vec![Group { queues: [Fifo::EMPTY; 3], idle: Fifo::EMPTY }; plan.sites.len() * plan.stages.len()],
            codes: Codes::new(plan.capacity.remembered_codes, plan.capacity.lots),
            agenda: Agenda::new(machines),
            counts: Counts { machines_total: machines as u32, ..Counts::default() },
            now: start,
            scratch: Scratch::default(),
            plan: plan.clone(),
            slots,
        };
        for slot in (0..machines as u32).map(SlotId) {
            factory.rest(start, slot);
        }
        factory
    }

    /// Takes an order at instant `at`, to which the factory must have been advanced: nothing may be due up to `at` any more.
    ///
    /// # Errors
    /// [`Refusal`]: nothing has changed and nothing was put out.
    pub fn offer(&mut self, at: SimTime, order: &Order<'_>, out: &mut Outputs) -> Result<LotId, Refusal> {
        debug_assert!(self.now <= at && at < self.next_due(), "advance to {at:?} first");
        if !self.plan.site(order.site).is_played() {
            return Err(Refusal::Elsewhere);
        }
        let digest = Digest::new(self.plan.seed, &[order.code]);
        if self.codes.knows(digest) {
            return Err(Refusal::Duplicate);
        }
        let lot = self.lots.insert(at, order, digest).ok_or(Refusal::Full)?;
        self.now = at;
        self.codes.accept(digest);
        let (code, client) = (out.push_text(order.code), out.push_text(order.client));
        let Order { quantity, site, priority, .. } = *order;
        out.push(at, What::LotReceived { code, client, quantity, site, priority });
        self.enqueue(at, lot, StageId(0), code, out);
        Ok(self.lots.id(lot))
    }

    /// Fires what is due up to and including `to`, in time order, and stops early once `out` holds `outputs_max` or more
    /// (a timer puts out six at most). Returns the instant reached: `to`, or that of the last timer fired. The rest
    /// of that instant may still be due then: call again until [`next_due`](Self::next_due) is later than `to`.
    pub fn advance(&mut self, to: SimTime, outputs_max: usize, out: &mut Outputs) -> SimTime {
        while let Some((at, slot)) = self.agenda.first()
            && at <= to
        {
            if out.len() >= outputs_max {
                return self.now;
            }
            self.now = at;
            self.fire(at, slot, out);
        }
        self.now = self.now.max(to);
        self.now
    }

    /// Changes how long a machine waits between two records, from its next record on. Returns whether that is a change.
    pub fn set_telemetry_interval(&mut self, interval: Span) -> bool {
        std::mem::replace(&mut self.plan.telemetry_interval, interval) != interval
    }

    /// When the next timer is due; `SimTime::NEVER` when none is.
    #[must_use]
    pub fn next_due(&self) -> SimTime {
        self.agenda.first().map_or(SimTime::NEVER, |(at, _)| at)
    }

    /// What it holds.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The machines in slot order, and what each does.
    pub fn machines(&self) -> impl Iterator<Item = (Machine, MachineState)> + '_ {
        self.slots.machine.iter().copied().zip(self.slots.state.iter().copied())
    }

    /// Where a lot stands; `None` once it has completed.
    #[must_use]
    pub fn lot(&self, id: LotId) -> Option<LotState> {
        self.lots.place(id).map(|place| self.lots.state[place])
    }
}
