//! Where orders come from and records go to: one trait, several adapters. No call of it waits.

pub mod classic;
pub mod fallback;
pub mod faulty;
pub mod kafka;
mod member;
pub mod memory;
pub mod native;
mod open;
pub mod outbox;
pub mod spool;
pub mod topics;

pub(crate) use open::spool_failure;
pub use open::{address, claim, open};

use crate::wire::Record;
use std::sync::Arc;
use std::time::Instant;

/// Where an order was read: it identifies the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// Partition of the orders topic; for a file, how often it was replaced by another.
    pub partition: i32,
    /// How often the partition's offsets have begun anew while this process ran: its topic was deleted and created again. 0 for a
    /// file.
    pub incarnation: u32,
    /// Offset in it; for a file the byte offset of the line.
    pub offset: i64,
}

/// A record of the orders topic, as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Incoming<'a> {
    /// Where it was read.
    pub position: Position,
    /// What it says; for a spool record, the text of its `value`.
    pub payload: &'a [u8],
}

/// The adapter has no room for this record now; nothing of it was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What the caller's sink says of an order it was handed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is done with (accepted, rejected or skipped): its offset may be committed.
    Done,
    /// There is no room: hand it over again at a later poll, and nothing behind it before.
    Later,
}

/// State and totals of an adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Whether records leave and orders arrive at present.
    pub connected: bool,
    /// Records accepted by `publish` and not yet acknowledged (by the broker, or by the file system for a spool).
    pub outbox_records: u64,
    /// Bytes they take.
    pub outbox_bytes: u64,
    /// Records acknowledged since the start.
    pub acknowledged: u64,
    /// Telemetry dropped because memory or disk was full.
    pub dropped: u64,
    /// Records that the broker will never take, events too: they are lost.
    pub refused: u64,
    /// Orders in the topic that were not read yet, all partitions; `None` while unknown.
    pub consumer_lag: Option<u64>,
    /// Failures since the start: lost connections, refused requests, failed writes.
    pub errors: u64,
    /// What is wrong at present, where more is known than that there is no connection.
    pub trouble: Option<Trouble>,
}

/// What is wrong with an adapter, connected or not, for as long as it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// How bad it is.
    pub severity: Severity,
    /// What, where and with what consequence, for people: one line without a full stop. Shared, because it is shown each tick.
    pub reason: Arc<str>,
}

/// How bad a [`Trouble`] is, the worst last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something is late or lost; it mends itself, or the rest works on.
    Degraded,
    /// The adapter does not do its work, and will not without a person.
    Unhealthy,
}

impl Trouble {
    /// The worst of several, the first of those that are equally bad.
    pub fn worst(troubles: impl IntoIterator<Item = Self>) -> Option<Self> {
        troubles.into_iter().reduce(|worst, other| if other.severity > worst.severity { other } else { worst })
    }
}

/// A source of orders and a sink of records. Every call does a bounded amount of work and returns.
pub trait Bus {
    /// Moves what can be moved without waiting: sends, takes in acknowledgements, reconnects, and hands at most `orders_max`
    /// orders to `orders`, in order per partition.
    fn poll(&mut self, now: Instant, orders_max: usize, orders: &mut dyn FnMut(Incoming<'_>) -> Taken);

    /// Takes a record to be sent. Telemetry that finds the memory full pushes out the oldest telemetry, which is counted.
    ///
    /// # Errors
    /// [`Full`]: it is an event, and there is no room even so.
    fn publish(&mut self, record: &Record<'_>) -> Result<(), Full>;

    /// Whether there is room for many more records: the fast clock goes on only then, and intake pauses when there is none.
    fn has_room(&self) -> bool;

    /// State and totals.
    fn status(&self) -> Status;

    /// Waits until `until`, or less when something arrives: the only call that waits, and the loop's only rest.
    fn wait(&mut self, now: Instant, until: Instant) {
        crate::clock::sleep(until.saturating_duration_since(now));
    }

    /// Says that nothing more will be published and offsets of orders taken should be committed; `poll` goes on until
    /// `status().outbox_records` is 0 and this returns true.
    fn close(&mut self, now: Instant) -> bool;
}
