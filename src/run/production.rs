//! The factory with its ears and its mouth: orders in at their instants, records out in time order.

use super::feed::Feed;
use super::intake::{Arrival, Counts, Intake, Rejected};
use super::story;
use crate::api::ApiSender;
use crate::bus::{Bus, Incoming, Taken};
use crate::error::Failure;
use crate::factory::outputs::{Machine, Outputs, What};
use crate::factory::plan::Plan;
use crate::factory::{self, Factory, MachineState};
use crate::units::{SimTime, Span};
use crate::wire::Encoder;

/// Outputs made before they must be published: so many fit into what a bus calls room.
const OUTPUTS_MAX: usize = 512;

/// A factory at work.
#[derive(Debug)]
pub(super) struct Production {
    plan: Plan,
    factory: Factory,
    intake: Intake,
    feed: Feed,
    /// The next order of the feed found the factory full.
    feed_waits: bool,
    encoder: Encoder,
    outputs: Outputs,
    /// So many of `outputs` are published.
    published: usize,
    /// The instant reached.
    at: SimTime,
}

impl Production {
    pub(super) fn new(plan: Plan, start: SimTime, feed: Feed, encoder: Encoder) -> Self {
        let factory = Factory::new(&plan, start);
        Self {
            plan,
            factory,
            intake: Intake::default(),
            feed,
            feed_waits: false,
            encoder,
            outputs: Outputs::new(),
            published: 0,
            at: start,
        }
    }

    /// The instant reached.
    pub(super) fn at(&self) -> SimTime {
        self.at
    }

    pub(super) fn counts(&self) -> factory::Counts {
        self.factory.counts()
    }

    pub(super) fn order_counts(&self) -> Counts {
        self.intake.counts()
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.plan
    }

    pub(super) fn machines(&self) -> impl Iterator<Item = (Machine, MachineState)> + '_ {
        self.factory.machines()
    }

    /// Changes how long a machine waits between two records. Returns whether that is a change.
    pub(super) fn set_telemetry_interval(&mut self, interval: Span) -> bool {
        self.factory.set_telemetry_interval(interval)
    }

    /// When something happens next of itself; `NEVER` when nothing does.
    pub(super) fn next_event(&self) -> SimTime {
        self.factory.next_due().min(self.offer_at())
    }

    /// When the next order of the feed is offered: at its instant, or, where it found the factory full, at each instant at
    /// which a lot may have left.
    fn offer_at(&self) -> SimTime {
        if self.feed_waits { self.factory.next_due() } else { self.feed.next_at().max(self.at) }
    }

    /// Reads orders of the feed ahead, and returns whether all are known that may belong before the next event.
    ///
    /// # Errors
    /// The feed cannot be read.
    pub(super) fn read_ahead(&mut self) -> Result<bool, Failure> {
        self.feed.fill(&self.plan)?;
        Ok(!self.feed.is_reading())
    }

    /// Whether every order of the feed was taken.
    pub(super) fn is_fed(&self) -> bool {
        self.feed.is_done()
    }

    /// Whether no lot is in the factory and nothing waits to be published.
    pub(super) fn is_idle(&self) -> bool {
        let counts = self.factory.counts();
        counts.active_lots == 0 && counts.queued_lots == 0 && self.is_published()
    }

    /// Runs simulated time towards `to`, orders of the feed included, until about [`OUTPUTS_MAX`] outputs wait to be published.
    /// Returns whether `to` was reached.
    ///
    /// # Errors
    /// The feed cannot be read.
    pub(super) fn advance(&mut self, to: SimTime) -> Result<bool, Failure> {
        while self.outputs.len() < OUTPUTS_MAX && !self.intake.is_full() {
            self.feed.fill(&self.plan)?;
            let offer_at = self.offer_at();
            self.at = self.factory.advance(to.min(offer_at), OUTPUTS_MAX, &mut self.outputs);
            if self.outputs.len() >= OUTPUTS_MAX {
                break;
            }
            if to < offer_at {
                return Ok(true);
            }
            self.take_from_feed();
        }
        Ok(false)
    }

    /// Goes on from event to event up to `end` and stands at the last one, so that an order from the bus arrives at an instant
    /// at which something happened. Returns whether nothing more is due, as `advance` does.
    ///
    /// # Errors
    /// The feed cannot be read.
    pub(super) fn advance_by_events(&mut self, end: SimTime) -> Result<bool, Failure> {
        loop {
            self.feed.fill(&self.plan)?;
            match self.next_event() {
                next if next > end || next == SimTime::NEVER => return Ok(true),
                next => {
                    if !self.advance(next)? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    fn take_from_feed(&mut self) {
        let Some(order) = self.feed.peek() else { return };
        let arrival = Arrival {
            at: self.at,
            payload: &order.payload,
            plan: &self.plan,
            factory: &mut self.factory,
            outputs: &mut self.outputs,
        };
        self.feed_waits = self.intake.take(order.position(), arrival) == Taken::Later;
        if !self.feed_waits {
            self.feed.pop();
        }
    }

    /// Takes an order from the bus, at the instant reached, once all that is due then is done.
    pub(super) fn take(&mut self, incoming: Incoming<'_>) -> Taken {
        let is_due = self.factory.next_due() <= self.at;
        if is_due || self.outputs.len() >= OUTPUTS_MAX || self.intake.is_full() {
            return Taken::Later;
        }
        let arrival = Arrival {
            at: self.at,
            payload: incoming.payload,
            plan: &self.plan,
            factory: &mut self.factory,
            outputs: &mut self.outputs,
        };
        self.intake.take_from_topic(incoming.position, arrival)
    }

    fn is_published(&self) -> bool {
        self.published == self.outputs.len()
    }

    /// Outputs and rejections that found no room on the bus yet.
    pub(super) fn unpublished(&self) -> u64 {
        (self.outputs.len() - self.published + self.intake.rejected_waiting()) as u64
    }

    /// Hands the outputs to the bus until one finds no room; that one and those behind it stay for the next call. Returns
    /// whether all went. A clock that `waits` for the bus has nothing dropped: telemetry stays as well while there is little room.
    pub(super) fn publish(&mut self, bus: &mut dyn Bus, mut api: Option<&mut ApiSender>, waits: bool) -> bool {
        for output in &self.outputs.iter().as_slice()[self.published..] {
            if waits && !bus.has_room() {
                return false;
            }
            let encoded = self.encoder.encode(output, &self.outputs);
            let record = encoded.record();
            if bus.publish(&record).is_err() {
                return false;
            }
            if let (Some(api), What::Telemetry { .. }) = (api.as_deref_mut(), output.what) {
                api.send(record.value);
            }
            story::tell(&self.plan, output, &self.outputs);
            self.published += 1;
        }
        self.outputs.clear();
        self.published = 0;
        while let Some(rejected) = self.intake.rejected().front() {
            let Rejected { at, position, rejection, payload } = rejected;
            let encoded = self.encoder.encode_rejected(*at, rejection, (position.partition, position.offset), payload);
            if bus.publish(&encoded.record()).is_err() {
                return false;
            }
            self.intake.rejected().pop_front();
        }
        true
    }
}
