//! A bus in memory, for tests: orders are put in and records are taken out by hand.

use super::outbox::Outbox;
use super::{Bus, Full, Incoming, Position, Status, Taken};
use crate::units::SimTime;
use crate::wire::{Class, Record, TopicId, Topics};
use std::collections::VecDeque;
use std::time::Instant;

/// An orders topic of one partition, and one log of the records of all topics.
#[derive(Debug)]
pub struct Memory {
    classes: Vec<Class>,
    outbox: Outbox,
    orders: VecDeque<Vec<u8>>,
    /// Offset of the first of `orders`.
    offset: i64,
    delivered: Vec<Delivered>,
    delivered_max: usize,
}

/// A record that has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Its topic.
    pub topic: TopicId,
    /// Its key.
    pub key: Vec<u8>,
    /// The simulated instant.
    pub timestamp: SimTime,
    /// Names and values.
    pub headers: Vec<(String, Vec<u8>)>,
    /// JSON.
    pub value: Vec<u8>,
}

impl Memory {
    /// No orders and no records. At most `outbox_bytes_max` wait to be delivered, and they wait while `delivered_max` records
    /// have been delivered and not been taken out.
    #[must_use]
    pub fn new(topics: &Topics, outbox_bytes_max: usize, delivered_max: usize) -> Self {
        Self {
            classes: topics.outputs().map(|(_, class)| class).collect(),
            outbox: Outbox::new(outbox_bytes_max),
            orders: VecDeque::new(),
            offset: 0,
            delivered: Vec::new(),
            delivered_max,
        }
    }

    /// Appends a record to the orders topic.
    pub fn push_order(&mut self, payload: impl Into<Vec<u8>>) {
        self.orders.push_back(payload.into());
    }

    /// Takes out what was delivered, in the order of publication.
    pub fn take_delivered(&mut self) -> Vec<Delivered> {
        std::mem::take(&mut self.delivered)
    }
}

impl Bus for Memory {
    fn poll(&mut self, _now: Instant, orders_max: usize, orders: &mut dyn FnMut(Incoming<'_>) -> Taken) {
        while self.delivered.len() < self.delivered_max
            && let Some(entry) = self.outbox.take()
        {
            self.delivered.push(Delivered::from(&entry.record()));
            let seq = entry.seq;
            self.outbox.acknowledge(seq);
        }
        for _ in 0..orders_max {
            let Some(payload) = self.orders.front() else { break };
            let position = Position { partition: 0, incarnation: 0, offset: self.offset };
            if orders(Incoming { position, payload }) == Taken::Later {
                break;
            }
            self.orders.pop_front();
            self.offset += 1;
        }
    }

    fn publish(&mut self, record: &Record<'_>) -> Result<(), Full> {
        self.outbox.push(record, self.classes[usize::from(record.topic.0)])
    }

    fn has_room(&self) -> bool {
        self.outbox.has_room()
    }

    fn status(&self) -> Status {
        Status {
            connected: true,
            outbox_records: self.outbox.records(),
            outbox_bytes: self.outbox.bytes(),
            acknowledged: self.outbox.acknowledged(),
            dropped: self.outbox.dropped(),
            refused: 0,
            consumer_lag: Some(self.orders.len() as u64),
            errors: 0,
            trouble: None,
        }
    }

    fn close(&mut self, _now: Instant) -> bool {
        self.outbox.records() == 0
    }
}

impl From<&Record<'_>> for Delivered {
    fn from(record: &Record<'_>) -> Self {
        Self {
            topic: record.topic,
            key: record.key.to_vec(),
            timestamp: record.timestamp,
            headers: record.headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect(),
            value: record.value.to_vec(),
        }
    }
}
