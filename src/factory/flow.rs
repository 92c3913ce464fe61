//! What happens to lots and machines: a function for each arrow of their state diagrams.

use super::draws::What as Draw;
use super::outputs::{Outputs, Text, What};
use super::signals::Moment;
use super::slots::{Timer, Work};
use super::{Factory, LotState, MachineState};
use crate::units::{SimTime, SiteId, SlotId, Span, StageId};

impl Factory {
    /// Fires the machine's next timer, which is due at `at`.
    pub(super) fn fire(&mut self, at: SimTime, slot: SlotId, out: &mut Outputs) {
        let i = slot.0 as usize;
        match self.slots.timers[i].next().1 {
            Timer::Telemetry => {
                let held = self.slots.state[i] != MachineState::Idle;
                let code = held.then(|| self.code(self.slots.work[i].lot, out));
                self.report(at, slot, code, out);
            }
            Timer::Block => self.block(at, slot, out),
            Timer::Unblock => self.unblock(at, slot, out),
            Timer::Complete => self.complete(at, slot, out),
        }
        if self.slots.timers[i].at(Timer::Telemetry) <= at {
            let next = at + self.telemetry_interval();
            self.slots.timers[i].set(Timer::Telemetry, next);
        }
        self.schedule(slot);
    }

    /// Queued: the lot waits for its stage, or is taken at once by the machine that has been idle longest.
    pub(super) fn enqueue(&mut self, at: SimTime, lot: u32, stage: StageId, code: Text, out: &mut Outputs) {
        let i = lot as usize;
        self.lots.state[i] = LotState::Queued(stage);
        self.lots.queued_since[i] = at;
        let rank = if self.plan.priority_processing { self.lots.priority[i] as usize } else { 0 };
        let group = self.group(self.lots.site[i], stage);
        match self.groups[group].idle.pop(&self.slots.links) {
            Some(slot) => self.start(at, SlotId(slot), lot, code, out),
            None => {
                self.groups[group].queues[rank].push(&mut self.lots.links, lot);
                self.counts.queued_lots += 1;
            }
        }
    }

    /// Idle -> Busy, Queued -> Processing. What will happen to the lot on this machine is drawn here.
    fn start(&mut self, at: SimTime, slot: SlotId, lot: u32, code: Text, out: &mut Outputs) {
        let i = slot.0 as usize;
        let machine = self.slots.machine[i];
        let stage = self.plan.stage(machine.stage);
        let blocks = self.stages[usize::from(machine.stage.0)].blocks;
        let key = self.lots.digest[lot as usize].key().draw(Draw::Stage, machine.stage.0.into());
        let total = key.draw(Draw::Duration, 0).span(&stage.duration).max(Span(1));
        let block_reason = key.draw(Draw::BlockReason, 0).below(stage.block_reasons.len() as u64) as u16;
        self.slots.enter(i, at, MachineState::Busy, blocks.wear_per_ms);
        self.slots.work[i] = Work { lot, records: 0, key, started_at: at, total, done: Span(0), block_reason };

        let interval = self.telemetry_interval();
        let timers = &mut self.slots.timers[i];
        timers.set(Timer::Telemetry, at + interval);
        timers.set(Timer::Complete, at + total);
        if key.draw(Draw::Block, 0).unit() < blocks.chance(self.slots.condition[i].wear) {
            // Neither at the first instant nor at the last: a block lies within the work.
            let worked = 1 + key.draw(Draw::BlockAt, 0).below((total.0 - 1).max(1) as u64) as i64;
            timers.set(Timer::Block, at + Span(worked));
        }
        self.schedule(slot);

        let place = lot as usize;
        self.lots.state[place] = LotState::Processing(machine.stage, slot);
        self.lots.queued[place] += at - self.lots.queued_since[place];
        self.counts.active_lots += 1;
        self.counts.machines_busy += 1;
        out.push(at, What::StageStarted { code, machine, processing: total });
        self.report(at, slot, Some(code), out);
    }

    /// Busy -> Blocked: work stops.
    fn block(&mut self, at: SimTime, slot: SlotId, out: &mut Outputs) {
        let i = slot.0 as usize;
        self.enter(at, slot, MachineState::Blocked);
        let Work { lot, key, block_reason: reason, .. } = self.slots.work[i];
        let blocked = key.draw(Draw::BlockFor, 0).span(&self.plan.block_duration);
        let timers = &mut self.slots.timers[i];
        timers.set(Timer::Block, SimTime::NEVER);
        timers.set(Timer::Complete, SimTime::NEVER);
        timers.set(Timer::Unblock, at + blocked);
        self.counts.machines_blocked += 1;
        let code = self.code(lot, out);
        out.push(at, What::MachineBlocked { machine: self.slots.machine[i], code, reason });
        self.report(at, slot, Some(code), out);
    }

    /// Blocked -> Busy: the rest of the work follows.
    fn unblock(&mut self, at: SimTime, slot: SlotId, out: &mut Outputs) {
        let i = slot.0 as usize;
        let blocked = at - self.slots.condition[i].since;
        self.enter(at, slot, MachineState::Busy);
        let Work { lot, total, done, .. } = self.slots.work[i];
        if self.is_maintenance(i) {
            self.slots.last_maintenance[i] = at;
            self.slots.condition[i].wear = 0.0;
        }
        let timers = &mut self.slots.timers[i];
        timers.set(Timer::Unblock, SimTime::NEVER);
        timers.set(Timer::Complete, at + (total - done));
        self.counts.machines_blocked -= 1;
        let code = self.code(lot, out);
        out.push(at, What::MachineUnblocked { machine: self.slots.machine[i], code, blocked });
        self.report(at, slot, Some(code), out);
    }

    /// Busy -> Idle: the lot goes on, and the machine takes the next one that waits.
    fn complete(&mut self, at: SimTime, slot: SlotId, out: &mut Outputs) {
        let i = slot.0 as usize;
        let machine = self.slots.machine[i];
        let Work { lot, started_at, .. } = self.slots.work[i];
        let duration = at - started_at;
        let code = self.code(lot, out);
        self.report(at, slot, Some(code), out);
        out.push(at, What::StageCompleted { code, machine, duration });
        self.enter(at, slot, MachineState::Idle);
        self.slots.timers[i].set(Timer::Complete, SimTime::NEVER);
        self.counts.active_lots -= 1;
        self.counts.machines_busy -= 1;

        self.lots.spent_mut(lot)[usize::from(machine.stage.0)] = duration;
        let next = StageId(machine.stage.0 + 1);
        if usize::from(next.0) < self.stages.len() {
            self.enqueue(at, lot, next, code, out);
        } else {
            self.finish(at, lot, code, out);
        }
        self.take_next(at, slot, out);
    }

    /// Processing -> Completed: the lot leaves.
    fn finish(&mut self, at: SimTime, lot: u32, code: Text, out: &mut Outputs) {
        let place = lot as usize;
        let (site, quantity) = (self.lots.site[place], self.lots.quantity[place]);
        let (total, queued) = (at - self.lots.received_at[place], self.lots.queued[place]);
        let stages = out.push_values(self.lots.spent(lot).iter().map(|span| span.0));
        out.push(at, What::LotCompleted { code, site, quantity, total, queued, stages });
        self.codes.complete(self.lots.digest[place]);
        self.lots.complete(lot);
        self.counts.completed_lots += 1;
    }

    /// A machine that has become idle takes the most urgent lot that waits, or rests.
    fn take_next(&mut self, at: SimTime, slot: SlotId, out: &mut Outputs) {
        let group = self.group_of(slot);
        let queues = &mut self.groups[group].queues;
        match queues.iter_mut().find_map(|queue| queue.pop(&self.lots.links)) {
            Some(lot) => {
                self.counts.queued_lots -= 1;
                let code = self.code(lot, out);
                self.start(at, slot, lot, code, out);
            }
            None => self.rest(at, slot),
        }
    }

    /// An idle machine joins those of its site and stage.
    pub(super) fn rest(&mut self, at: SimTime, slot: SlotId) {
        let group = self.group_of(slot);
        self.groups[group].idle.push(&mut self.slots.links, slot.0);
        let telemetry_at = if self.plan.idle_telemetry { at + self.telemetry_interval() } else { SimTime::NEVER };
        self.slots.timers[slot.0 as usize].set(Timer::Telemetry, telemetry_at);
        self.schedule(slot);
    }

    /// Puts out the machine's readings.
    fn report(&mut self, at: SimTime, slot: SlotId, code: Option<Text>, out: &mut Outputs) {
        let i = slot.0 as usize;
        let machine = self.slots.machine[i];
        let model = &self.stages[usize::from(machine.stage.0)];
        self.slots.seq[i] += 1;
        let seq = self.slots.seq[i];
        let state = self.slots.state[i];
        let (key, record, work, quantity) = if state != MachineState::Idle {
            let work = &mut self.slots.work[i];
            work.records += 1;
            (work.key, work.records.into(), work.total, self.lots.quantity[work.lot as usize])
        } else {
            (self.slots.key[i], seq, Span(0), 0)
        };
        let moment = Moment {
            state,
            maintenance: state == MachineState::Blocked && self.is_maintenance(i),
            wear: self.slots.wear(i, at, model.blocks.wear_per_ms),
            load: self.slots.load(i, at),
            quantity,
            work,
            done: self.slots.done(i, at),
            lot: key,
            record: key.draw(Draw::Record, record),
        };
        model.signals.read(&moment, &mut self.scratch);
        let values = out.push_values(self.scratch.values.iter().copied());
        let blocked = (state == MachineState::Blocked).then_some(self.slots.work[i].block_reason);
        let last_maintenance = self.slots.last_maintenance[i];
        out.push(at, What::Telemetry { machine, seq, code, blocked, last_maintenance, values });
    }

    fn enter(&mut self, at: SimTime, slot: SlotId, state: MachineState) {
        let stage = self.slots.machine[slot.0 as usize].stage;
        let wear_per_ms = self.stages[usize::from(stage.0)].blocks.wear_per_ms;
        self.slots.enter(slot.0 as usize, at, state, wear_per_ms);
    }

    /// Whether the block drawn for the machine's lot is its maintenance.
    fn is_maintenance(&self, slot: usize) -> bool {
        let reasons = &self.plan.stage(self.slots.machine[slot].stage).block_reasons;
        reasons.get(usize::from(self.slots.work[slot].block_reason)).is_some_and(|reason| reason.maintenance)
    }

    /// Brings the agenda in line with the machine's timers.
    fn schedule(&mut self, slot: SlotId) {
        self.agenda.set(slot, self.slots.timers[slot.0 as usize].next().0);
    }

    /// At least a millisecond, so that time goes on.
    fn telemetry_interval(&self) -> Span {
        self.plan.telemetry_interval.max(Span(1))
    }

    fn code(&self, lot: u32, out: &mut Outputs) -> Text {
        out.push_text(&self.lots.code[lot as usize])
    }

    fn group_of(&self, slot: SlotId) -> usize {
        let machine = self.slots.machine[slot.0 as usize];
        self.group(machine.site, machine.stage)
    }

    fn group(&self, site: SiteId, stage: StageId) -> usize {
        usize::from(site.0) * self.stages.len() + usize::from(stage.0)
    }
}
