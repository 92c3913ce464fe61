//! A book-keeper that reads the outputs in order and knows from them alone where each lot is, what each machine does, and
//! which lot and machine must come next.

use mokasim::factory::outputs::{Machine, Output, Outputs, What};
use mokasim::factory::plan::Plan;
use mokasim::units::{Priority, SimTime, SiteId, SlotId, Span, StageId};
use std::collections::HashMap;

/// A lot as the book-keeper knows it.
#[derive(Clone, Debug)]
struct Lot {
    site: SiteId,
    quantity: u32,
    priority: Priority,
    received_at: SimTime,
    queued: Span,
    stages: Vec<Span>,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// Waiting since then; `turn` counts those that began to wait.
    Queued {
        since: SimTime,
        turn: usize,
    },
    On(SlotId),
    Between(SimTime),
    Completed,
}

/// A machine as the book-keeper knows it.
#[derive(Clone, Debug)]
struct Slot {
    machine: Machine,
    idle_since: SimTime,
    lot: Option<Job>,
    seq: u64,
    last_maintenance: Option<SimTime>,
}

/// A lot on a machine.
#[derive(Clone, Debug)]
struct Job {
    code: String,
    started_at: SimTime,
    processing: Span,
    /// Since when and why it stands still.
    blocked: Option<(SimTime, u16)>,
    /// How long it stood still.
    stood: Option<Span>,
}

/// The books.
#[derive(Debug)]
pub(crate) struct Books<'a> {
    plan: &'a Plan,
    now: SimTime,
    turns: usize,
    lots: HashMap<String, Lot>,
    slots: HashMap<SlotId, Slot>,
    pub(crate) blocks: usize,
    pub(crate) completed: usize,
}

impl<'a> Books<'a> {
    /// Reads everything, from a factory whose machines are `machines`; panics at the first thing that is wrong.
    pub(crate) fn read(plan: &'a Plan, start: SimTime, machines: impl Iterator<Item = Machine>, out: &Outputs) -> Books<'a> {
        let slot = |machine: Machine| {
            let slot = Slot { machine, idle_since: start, lot: None, seq: 0, last_maintenance: None };
            (machine.slot, slot)
        };
        let slots = machines.map(slot).collect();
        let mut books = Self { plan, now: start, turns: 0, lots: HashMap::new(), slots, blocks: 0, completed: 0 };
        for output in out.iter() {
            books.enter(output, out);
        }
        books.nobody_waits_in_vain();
        books
    }

    /// Lots that are waiting or on a machine.
    pub(crate) fn in_progress(&self) -> usize {
        self.lots.values().filter(|lot| lot.place != Place::Completed).count()
    }

    fn enter(&mut self, output: &Output, out: &Outputs) {
        let at = output.at;
        assert!(at >= self.now, "{at:?} after {:?}", self.now);
        if at > self.now {
            self.nobody_waits_in_vain();
            self.now = at;
        }
        match output.what {
            What::LotReceived { code, quantity, site, priority, .. } => {
                let place = self.wait(at);
                let (queued, stages) = (Span(0), vec![]);
                let lot = Lot { site, quantity, priority, received_at: at, queued, stages, place };
                assert!(self.lots.insert(out.text(code).into(), lot).is_none(), "received twice");
            }
            What::StageStarted { code, machine, processing } => self.started(at, out.text(code), machine, processing),
            What::StageCompleted { code, machine, duration } => self.left(at, out.text(code), machine, duration),
            What::MachineBlocked { machine, code, reason } => {
                let job = self.job(machine, out.text(code));
                assert!(job.blocked.is_none() && job.stood.is_none(), "one block a lot and stage at most");
                assert!(at > job.started_at && at < job.started_at + job.processing, "a block lies within the work");
                job.blocked = Some((at, reason));
                self.blocks += 1;
            }
            What::MachineUnblocked { machine, code, blocked } => self.unblocked(at, machine, out.text(code), blocked),
            What::LotCompleted { code, site, quantity, total, queued, stages } => {
                let stages_total = self.plan.stages.len();
                let lot = self.lots.get_mut(out.text(code)).unwrap();
                assert_eq!((site, quantity, queued), (lot.site, lot.quantity, lot.queued));
                assert_eq!((lot.place, lot.stages.len()), (Place::Between(at), stages_total));
                assert_eq!(total, at - lot.received_at);
                assert!(out.values(stages).iter().copied().eq(lot.stages.iter().map(|span| span.0)));
                assert_eq!(total.0, queued.0 + out.values(stages).iter().sum::<i64>(), "no time is lost");
                lot.place = Place::Completed;
                self.completed += 1;
            }
            What::Telemetry { machine, seq, code, blocked, last_maintenance, values } => {
                let slot = self.slots.get_mut(&machine.slot).unwrap();
                assert_eq!(seq, slot.seq + 1, "a gap in seq");
                slot.seq = seq;
                let job = slot.lot.as_ref();
                assert_eq!(code.map(|code| out.text(code)), job.map(|job| job.code.as_str()));
                assert_eq!(blocked, job.and_then(|job| job.blocked).map(|(_, reason)| reason));
                assert_eq!(*slot.last_maintenance.get_or_insert(last_maintenance), last_maintenance);
                assert!(last_maintenance <= at);
                assert_eq!(out.values(values).len(), self.plan.stage(machine.stage).signals.len());
            }
        }
    }

    fn started(&mut self, at: SimTime, code: &str, machine: Machine, processing: Span) {
        let waiting = self.waiting(machine.site, machine.stage);
        let first = waiting.iter().min_by_key(|(_, lot)| self.rank(lot));
        assert_eq!(first.map(|(code, _)| code.as_str()), Some(code), "{at:?}: another lot's turn");
        let longest_idle = self.idle(machine.site, machine.stage).min_by_key(|slot| (slot.idle_since, slot.machine.slot));
        assert_eq!(longest_idle.map(|slot| slot.machine), Some(machine), "{at:?}: another machine's turn");
        let range = self.plan.stage(machine.stage).duration;
        assert!((range.min..=range.max).contains(&processing), "{processing:?} is out of {range:?}");

        let lot = self.lots.get_mut(code).unwrap();
        match lot.place {
            Place::Queued { since, .. } => lot.queued += at - since,
            place => panic!("{code} is {place:?}"),
        }
        lot.place = Place::On(machine.slot);
        let job = Job { code: code.into(), started_at: at, processing, blocked: None, stood: None };
        self.slots.get_mut(&machine.slot).unwrap().lot = Some(job);
    }

    fn unblocked(&mut self, at: SimTime, machine: Machine, code: &str, blocked: Span) {
        let (plan, range) = (self.plan, self.plan.block_duration);
        let job = self.job(machine, code);
        let (since, reason) = job.blocked.take().unwrap();
        assert_eq!(blocked, at - since);
        assert!((range.min..=range.max).contains(&blocked), "{blocked:?} is out of {range:?}");
        job.stood = Some(blocked);
        if plan.stage(machine.stage).block_reasons[usize::from(reason)].maintenance {
            self.slots.get_mut(&machine.slot).unwrap().last_maintenance = Some(at);
        }
    }

    fn left(&mut self, at: SimTime, code: &str, machine: Machine, duration: Span) {
        let job = self.job(machine, code);
        assert!(job.blocked.is_none());
        assert_eq!(duration, at - job.started_at);
        assert_eq!(duration, job.processing + job.stood.unwrap_or_default());
        let slot = self.slots.get_mut(&machine.slot).unwrap();
        slot.lot = None;
        slot.idle_since = at;
        let last = usize::from(machine.stage.0) + 1 == self.plan.stages.len();
        let place = if last { Place::Between(at) } else { self.wait(at) };
        let lot = self.lots.get_mut(code).unwrap();
        lot.stages.push(duration);
        lot.place = place;
    }

    /// The job on a machine, which must be this lot's.
    fn job(&mut self, machine: Machine, code: &str) -> &mut Job {
        let slot = self.slots.get_mut(&machine.slot).unwrap();
        assert_eq!(slot.machine, machine);
        let job = slot.lot.as_mut().unwrap();
        assert_eq!(job.code, code);
        job
    }

    fn wait(&mut self, since: SimTime) -> Place {
        self.turns += 1;
        Place::Queued { since, turn: self.turns }
    }

    /// The order of service.
    fn rank(&self, lot: &Lot) -> (Option<Priority>, usize) {
        match lot.place {
            Place::Queued { turn, .. } => (self.plan.priority_processing.then_some(lot.priority), turn),
            place => panic!("{place:?} does not wait"),
        }
    }

    fn waiting(&self, site: SiteId, stage: StageId) -> Vec<(&String, &Lot)> {
        let waits = |lot: &Lot| matches!(lot.place, Place::Queued { .. }) && lot.stages.len() == usize::from(stage.0);
        self.lots.iter().filter(|(_, lot)| lot.site == site && waits(lot)).collect()
    }

    fn idle(&self, site: SiteId, stage: StageId) -> impl Iterator<Item = &Slot> {
        let there = move |machine: Machine| machine.site == site && machine.stage == stage;
        self.slots.values().filter(move |slot| slot.lot.is_none() && there(slot.machine))
    }

    /// At the end of an instant no lot waits beside an idle machine of its own site and stage, whatever else waits where.
    fn nobody_waits_in_vain(&self) {
        for site in (0..self.plan.sites.len() as u16).map(SiteId) {
            for stage in (0..self.plan.stages.len() as u16).map(StageId) {
                let idle = self.idle(site, stage).count();
                assert!(idle == 0 || self.waiting(site, stage).is_empty(), "{site:?} {stage:?} at {:?}", self.now);
            }
        }
    }
}
