//! The contract with the outside: bytes to orders, outputs to records, time zones.

mod encode;
mod json;
mod order;
mod spool_line;
mod telemetry;
mod time;

pub use encode::{Encoded, Encoder, PAYLOAD_BYTES_MAX, run_id};
pub use order::{CheckedOrder, ORDER_BYTES_MAX, OrderLine, Rejection, order_line, parse_order};
pub use spool_line::spool_line;
pub use telemetry::TELEMETRY_FIELDS;
pub use time::{UnknownZone, Utc, parse_rfc3339, rfc3339_utc, zone_exists};

use crate::units::SimTime;

/// Row in the table of output topics, [`Topics`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub u16);

/// What may be lost when memory is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Dropped oldest first and counted.
    Telemetry,
    /// Never dropped: intake pauses instead.
    Event,
}

/// The topics of a run, by [`TopicId`]: one of telemetry for each stage, then events, then rejected orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topics {
    /// Where orders come from.
    pub orders: String,
    /// Telemetry topics in stage order.
    pub telemetry: Vec<String>,
    /// Production events.
    pub events: String,
    /// Rejected orders.
    pub rejected: String,
}

impl Topics {
    /// Name and class of every output topic, in `TopicId` order.
    pub fn outputs(&self) -> impl Iterator<Item = (&str, Class)> {
        let telemetry = self.telemetry.iter().map(|name| (name.as_str(), Class::Telemetry));
        telemetry.chain([(self.events.as_str(), Class::Event), (self.rejected.as_str(), Class::Event)])
    }

    /// The events topic.
    #[must_use]
    pub fn events_id(&self) -> TopicId {
        TopicId(self.telemetry.len() as u16)
    }

    /// The rejected-orders topic.
    #[must_use]
    pub fn rejected_id(&self) -> TopicId {
        TopicId(self.telemetry.len() as u16 + 1)
    }
}

/// A record on its way out. Everything is borrowed: an adapter copies what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Where to.
    pub topic: TopicId,
    /// Records of one key stay in order.
    pub key: &'a [u8],
    /// The simulated instant.
    pub timestamp: SimTime,
    /// Names and values.
    pub headers: &'a [(&'a str, &'a [u8])],
    /// JSON.
    pub value: &'a [u8],
}
