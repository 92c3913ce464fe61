//! Orders on their way into the factory: checked, accepted or rejected, and counted. Nothing from outside stops it.

use crate::bus::{Position, Taken};
use crate::factory::outputs::Outputs;
use crate::factory::plan::Plan;
use crate::factory::{Factory, Refusal};
use crate::units::SimTime;
use crate::wire::PAYLOAD_BYTES_MAX;
use crate::wire::{Rejection, parse_order};
use std::collections::{BTreeMap, VecDeque};

/// Rejections that may wait for room on the bus; while so many wait, no further order is taken.
const REJECTED_WAITING_MAX: usize = 64;

/// What became of the orders so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Lots were made of them.
    pub(super) accepted: u64,
    /// A record in the rejected topic says why.
    pub(super) rejected: u64,
    /// The same record came again.
    pub(super) skipped: u64,
    /// Another instance plays their plant.
    pub(super) elsewhere: u64,
}

/// An order that was not accepted, until its record is published.
#[derive(Clone, Debug)]
pub(super) struct Rejected {
    pub(super) at: SimTime,
    pub(super) position: Position,
    pub(super) rejection: Rejection,
    pub(super) payload: Vec<u8>,
}

/// Decides over orders.
#[derive(Debug, Default)]
pub(super) struct Intake {
    counts: Counts,
    /// The incarnation and the offset that follow the last one taken, by partition of the orders topic.
    next: BTreeMap<i32, (u32, i64)>,
    rejected: VecDeque<Rejected>,
}

impl Intake {
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Rejections whose record is still to be published, oldest first.
    pub(super) fn rejected(&mut self) -> &mut VecDeque<Rejected> {
        &mut self.rejected
    }

    /// Whether rejections must be published before another order is taken.
    pub(super) fn is_full(&self) -> bool {
        self.rejected.len() >= REJECTED_WAITING_MAX
    }

    pub(super) fn rejected_waiting(&self) -> usize {
        self.rejected.len()
    }

    /// Takes a record of the orders topic; one that was taken before is skipped.
    pub(super) fn take_from_topic(&mut self, position: Position, order: Arrival<'_>) -> Taken {
        if self.next.get(&position.partition).is_some_and(|next| (position.incarnation, position.offset) < *next) {
            self.counts.skipped += 1;
            return Taken::Done;
        }
        let taken = self.take(position, order);
        if taken == Taken::Done {
            self.next.insert(position.partition, (position.incarnation, position.offset + 1));
        }
        taken
    }

    /// Makes a lot of an order, or a rejection, or leaves it to the instance that plays its plant.
    pub(super) fn take(&mut self, position: Position, order: Arrival<'_>) -> Taken {
        let Arrival { at, payload, plan, factory, outputs } = order;
        let rejection = match parse_order(payload, plan) {
            Err(rejection) => rejection,
            Ok(order) => match factory.offer(at, &order.as_factory(), outputs) {
                Ok(_) => {
                    self.counts.accepted += 1;
                    return Taken::Done;
                }
                Err(Refusal::Full) => return Taken::Later,
                Err(Refusal::Elsewhere) => {
                    self.counts.elsewhere += 1;
                    return Taken::Done;
                }
                Err(Refusal::Duplicate) => Rejection::duplicate(&order.code),
            },
        };
        self.counts.rejected += 1;
        log::warn!("order at partition {}, offset {} rejected: {rejection}", position.partition, position.offset);
        let kept = &payload[..payload.len().min(PAYLOAD_BYTES_MAX)];
        self.rejected.push_back(Rejected { at, position, rejection, payload: kept.to_owned() });
        Taken::Done
    }
}

/// An order at the factory's gate.
pub(super) struct Arrival<'a> {
    pub(super) at: SimTime,
    pub(super) payload: &'a [u8],
    pub(super) plan: &'a Plan,
    pub(super) factory: &'a mut Factory,
    pub(super) outputs: &'a mut Outputs,
}
