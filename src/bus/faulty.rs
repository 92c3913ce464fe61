//! A bus on which things go wrong, for tests: any other bus, with faults drawn from a seed.

use super::{Bus, Full, Incoming, Status, Taken};
use crate::wire::{Class, Record, Topics};
use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::time::{Duration, Instant};

/// What goes wrong, and how often.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Probability that the commit of an order that was taken is lost: it is handed over again at a later poll.
    pub lost_commit: f64,
    /// Probability that an order that was taken is handed over twice in a row.
    pub duplicate: f64,
    /// Probability that an order is held back until a later poll, and with it those behind it.
    pub delay: f64,
    /// Probability, at each poll, that the connection goes: no order arrives and no record leaves.
    pub disconnect: f64,
    /// Probability, at each poll, that there is no more room: events are refused.
    pub full: f64,
    /// How long there is no connection, or no room.
    pub outage: Duration,
}

/// A bus with faults. Records that it has accepted are still neither lost nor doubled.
#[derive(Debug)]
pub struct Faulty<B> {
    inner: B,
    classes: Vec<Class>,
    faults: Faults,
    random: Xoshiro256PlusPlus,
    away_until: Option<Instant>,
    full_until: Option<Instant>,
    disconnects: u64,
}

impl<B: Bus> Faulty<B> {
    /// Puts faults between `inner` and its caller: the same ones with the same seed and the same calls.
    pub fn new(inner: B, topics: &Topics, faults: Faults, seed: u64) -> Self {
        Self {
            inner,
            classes: topics.outputs().map(|(_, class)| class).collect(),
            faults,
            random: Xoshiro256PlusPlus::seed_from_u64(seed),
            away_until: None,
            full_until: None,
            disconnects: 0,
        }
    }

    /// The bus behind the faults.
    pub fn inner(&mut self) -> &mut B {
        &mut self.inner
    }
}

impl<B: Bus> Bus for Faulty<B> {
    fn poll(&mut self, now: Instant, orders_max: usize, orders: &mut dyn FnMut(Incoming<'_>) -> Taken) {
        let Self { inner, faults, random, .. } = self;
        self.full_until = self.full_until.filter(|until| now < *until);
        self.away_until = self.away_until.filter(|until| now < *until);
        if self.full_until.is_none() && random.random_bool(faults.full) {
            self.full_until = Some(now + faults.outage);
        }
        if self.away_until.is_none() && random.random_bool(faults.disconnect) {
            self.away_until = Some(now + faults.outage);
            self.disconnects += 1;
        }
        if self.away_until.is_some() {
            return;
        }
        inner.poll(now, orders_max, &mut |incoming| {
            if random.random_bool(faults.delay) || orders(incoming) == Taken::Later {
                return Taken::Later;
            }
            if random.random_bool(faults.duplicate) {
                // It was taken before: whatever is said now, it is done with.
                let _ = orders(incoming);
            }
            if random.random_bool(faults.lost_commit) { Taken::Later } else { Taken::Done }
        });
    }

    fn publish(&mut self, record: &Record<'_>) -> Result<(), Full> {
        if self.full_until.is_some() && self.classes[usize::from(record.topic.0)] == Class::Event {
            return Err(Full);
        }
        self.inner.publish(record)
    }

    fn has_room(&self) -> bool {
        self.full_until.is_none() && self.inner.has_room()
    }

    fn status(&self) -> Status {
        let inner = self.inner.status();
        Status { connected: self.away_until.is_none() && inner.connected, errors: inner.errors + self.disconnects, ..inner }
    }

    fn wait(&mut self, now: Instant, until: Instant) {
        self.inner.wait(now, until);
    }

    fn close(&mut self, now: Instant) -> bool {
        self.away_until.is_none() && self.inner.close(now)
    }
}
