//! Kafka by the `kafka` crate, for brokers up to 3.9: version 0 of each request, which Apache Kafka 4 removed.
//!
//! That crate can do nothing but block, so it lives on a thread of its own behind bounded channels, and the calls here only
//! ever try them. The thread owns a batch until the broker has confirmed every record of it, across reconnections, so records
//! leave in order per key and at least once; the [`Outbox`] keeps them until then.
//!
//! ```text
//!   publish -> outbox -> batch --commands--> thread <--> broker
//!   poll    <- orders <--------orders------- thread
//!   status  <- totals <--------reports------ thread
//! ```
//!
//! What the crate cannot carry: record headers and timestamps (the broker stamps records on arrival), TLS, SASL, and
//! group membership. Offsets are kept under the group's name, but every instance reads all partitions of the orders topic. The
//! crate trusts the broker: it takes the length of an answer at its word.

mod batch;
mod orders;
mod probe;
mod sending;
#[cfg(test)]
mod tests;
mod worker;

use self::batch::Batch;
use self::worker::{Command, Report, Worker};
use super::outbox::Outbox;
use super::{Bus, Full, Incoming, Position, Severity, Status, Taken, Trouble};
use crate::config::{Compression, Kafka};
use crate::wire::{Class, Record};
use crossbeam_channel::{Receiver, Select, Sender, bounded};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What one request takes at most. A partition's share must stay below the broker's `message.max.bytes`, 1 MiB by default.
const REQUEST_BYTES_MAX: usize = 512 * 1024;
/// Commands that wait for the thread: enough to keep it busy between two polls.
const COMMANDS_MAX: usize = 4;
/// Orders read ahead. An order that is passed on takes at most 64 KiB: longer ones are cut, and rejected all the same.
const ORDERS_MAX: usize = 256;
/// A thread that has waited so long for an answer counts as disconnected.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(10);

/// Why the adapter cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A compression that the crate has not.
    #[error("compression_type: the classic client has `none`, `gzip` and `snappy`, found `{0:?}`")]
    Compression(Compression),
    /// The operating system gives no thread.
    #[error("cannot start the Kafka thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// An order on its way from the thread.
#[derive(Debug)]
struct Order {
    position: Position,
    payload: Vec<u8>,
}

/// The adapter.
#[derive(Debug)]
pub struct Classic {
    outbox: Outbox,
    classes: Vec<Class>,
    batch_bytes: usize,
    linger: Duration,
    commands: Sender<Command>,
    reports: Receiver<Report>,
    orders: Receiver<Order>,

    /// A batch for which the channel had no room.
    next: Option<Batch>,
    /// Emptied batches, whose memory is used again.
    spare: Vec<Batch>,
    in_flight: u64,
    /// Bytes published, and since when, since nothing was unsent.
    gathered_bytes: usize,
    gathering_since: Option<Instant>,

    /// An order that the sink had no room for.
    held: Option<Order>,
    /// Whether the last poll left orders in the channel.
    orders_left: bool,
    /// Offsets to be committed, by partition.
    done: BTreeMap<i32, i64>,
    commits_sent: u64,
    commits_done: u64,

    link: Link,
    lag: Option<u64>,
    refused: u64,
    errors: u64,
    now: Instant,
    closing: bool,
}

/// What is known of the thread's connection.
#[derive(Debug)]
struct Link {
    up: bool,
    /// Why the last attempt failed, until one succeeds.
    down_for: Option<Arc<str>>,
    /// Counts the thread's steps; a thread that waits for an answer makes none.
    steps: Arc<AtomicU64>,
    steps_seen: u64,
    seen_at: Instant,
    stalled: bool,
}

impl Classic {
    /// Starts the thread, which connects and goes on connecting: a broker that is absent is no error.
    ///
    /// With `consume` it reads the orders topic, else it only sends.
    ///
    /// # Errors
    /// A compression that the crate has not, or no thread to be had.
    pub fn new(kafka: &Kafka, consume: bool, now: Instant) -> Result<Self, Error> {
        let compression = match kafka.compression {
            Compression::None => ::kafka::client::Compression::NONE,
            Compression::Gzip => ::kafka::client::Compression::GZIP,
            Compression::Snappy => ::kafka::client::Compression::SNAPPY,
            other => return Err(Error::Compression(other)),
        };
        let (bus, ends) = Self::wire(kafka, now);
        let worker = Worker::new(kafka, compression, consume, ends);
        // Never joined: it may be inside a call that takes minutes, and ends by itself once this side of the channels is gone.
        std::thread::Builder::new().name("kafka".into()).spawn(move || worker.run())?;
        Ok(bus)
    }

    /// The adapter and the thread's ends of its channels.
    fn wire(kafka: &Kafka, now: Instant) -> (Self, Ends) {
        let (commands, commands_end) = bounded(COMMANDS_MAX);
        let (reports_end, reports) = bounded(2 * COMMANDS_MAX);
        let (orders_end, orders) = bounded(ORDERS_MAX);
        let steps = Arc::new(AtomicU64::new(0));
        let ends = Ends { commands: commands_end, reports: reports_end, orders: orders_end, steps: Arc::clone(&steps) };
        let bus = Self {
            outbox: Outbox::new(kafka.buffer_bytes),
            classes: kafka.topics.outputs().map(|(_, class)| class).collect(),
            batch_bytes: kafka.batch_size,
            linger: kafka.linger,
            commands,
            reports,
            orders,
            next: None,
            spare: Vec::new(),
            in_flight: 0,
            gathered_bytes: 0,
            gathering_since: None,
            held: None,
            orders_left: false,
            done: BTreeMap::new(),
            commits_sent: 0,
            commits_done: 0,
            link: Link { up: false, down_for: None, steps, steps_seen: 0, seen_at: now, stalled: false },
            lag: None,
            refused: 0,
            errors: 0,
            now,
            closing: false,
        };
        (bus, ends)
    }

    fn take_reports(&mut self) {
        for report in self.reports.try_iter().take(2 * COMMANDS_MAX) {
            match report {
                Report::Up => {
                    self.link.up = true;
                    self.link.down_for = None;
                }
                Report::Down(reason) => {
                    self.link.up = false;
                    self.link.down_for = Some(reason);
                    self.errors += 1;
                }
                Report::Sent { batch, refused } => {
                    self.in_flight -= batch.len();
                    self.outbox.acknowledge(batch.last_seq());
                    self.refused += refused;
                    self.errors += refused;
                    self.spare.push(batch);
                }
                Report::Committed { number } => self.commits_done = number,
                Report::CommitRefused { number } => {
                    self.commits_done = number;
                    self.errors += 1;
                }
                Report::Lag(lag) => self.lag = lag,
                Report::Skipped => self.errors += 1,
            }
        }
    }

    fn unsent(&self) -> bool {
        self.outbox.records() > self.in_flight
    }

    fn send_due(&self, now: Instant) -> bool {
        self.unsent()
            && (self.closing
                || self.gathered_bytes >= self.batch_bytes
                || self.gathering_since.is_none_or(|since| now.saturating_duration_since(since) >= self.linger))
    }

    fn send(&mut self, now: Instant) {
        while self.next.is_some() || self.send_due(now) {
            let batch = self.next.take().unwrap_or_else(|| self.fill_batch());
            if let Err(refused) = self.commands.try_send(Command::Send(batch)) {
                if let Command::Send(batch) = refused.into_inner() {
                    self.next = Some(batch);
                }
                return;
            }
        }
    }

    fn fill_batch(&mut self) -> Batch {
        let mut batch = self.spare.pop().unwrap_or_default();
        batch.fill(&mut self.outbox, REQUEST_BYTES_MAX);
        self.in_flight += batch.len();
        if !self.unsent() {
            self.gathered_bytes = 0;
            self.gathering_since = None;
        }
        batch
    }

    /// Has the offsets of orders committed that were done with before this poll: their journal is on disk by now.
    fn commit(&mut self) {
        if self.done.is_empty() || self.commands.is_full() {
            return;
        }
        let number = self.commits_sent + 1;
        let offsets = self.done.iter().map(|(&partition, &offset)| (partition, offset)).collect();
        if self.commands.try_send(Command::Commit { number, offsets }).is_ok() {
            self.commits_sent = number;
            self.done.clear();
        }
    }

    fn hand_out(&mut self, orders_max: usize, sink: &mut dyn FnMut(Incoming<'_>) -> Taken) {
        for _ in 0..orders_max {
            let Some(order) = self.held.take().or_else(|| self.orders.try_recv().ok()) else { break };
            match sink(Incoming { position: order.position, payload: &order.payload }) {
                Taken::Done => {
                    self.done.insert(order.position.partition, order.position.offset + 1);
                }
                Taken::Later => {
                    self.held = Some(order);
                    break;
                }
            }
        }
        self.orders_left = self.held.is_some() || !self.orders.is_empty();
    }
}

impl Link {
    /// Watches the thread: one that waits too long for an answer is as good as disconnected. Says so once.
    fn watch(&mut self, now: Instant) {
        let steps = self.steps.load(Ordering::Relaxed);
        if steps != self.steps_seen {
            self.steps_seen = steps;
            self.seen_at = now;
            if std::mem::take(&mut self.stalled) {
                log::info!("the Kafka broker answers again");
            }
        } else if self.up && !self.stalled && now.saturating_duration_since(self.seen_at) > ANSWER_TIME_MAX {
            self.stalled = true;
            log::warn!("the Kafka broker has not answered for {} s", ANSWER_TIME_MAX.as_secs());
        }
    }
}

impl Bus for Classic {
    fn poll(&mut self, now: Instant, orders_max: usize, orders: &mut dyn FnMut(Incoming<'_>) -> Taken) {
        self.now = now;
        self.take_reports();
        self.link.watch(now);
        self.commit();
        self.send(now);
        if !self.closing {
            self.hand_out(orders_max, orders);
        }
    }

    fn publish(&mut self, record: &Record<'_>) -> Result<(), Full> {
        self.outbox.push(record, self.classes[usize::from(record.topic.0)])?;
        self.gathered_bytes += record.key.len() + record.value.len();
        self.gathering_since.get_or_insert(self.now);
        Ok(())
    }

    fn has_room(&self) -> bool {
        self.outbox.has_room()
    }

    fn status(&self) -> Status {
        Status {
            connected: self.link.up && !self.link.stalled,
            outbox_records: self.outbox.records(),
            outbox_bytes: self.outbox.bytes(),
            acknowledged: self.outbox.acknowledged() - self.refused,
            dropped: self.outbox.dropped(),
            refused: self.refused,
            consumer_lag: self.lag.map(|lag| lag + (self.orders.len() + usize::from(self.held.is_some())) as u64),
            errors: self.errors,
            trouble: self.link.down_for.clone().map(|reason| Trouble { severity: Severity::Degraded, reason }),
        }
    }

    fn wait(&mut self, now: Instant, until: Instant) {
        let mut until = until;
        if let Some(since) = self.gathering_since
            && !self.commands.is_full()
        {
            until = until.min(since + self.linger);
        }
        let mut arrivals = Select::new();
        arrivals.recv(&self.reports);
        if !self.orders_left {
            arrivals.recv(&self.orders);
        }
        let _ = arrivals.ready_timeout(until.saturating_duration_since(now));
    }

    fn close(&mut self, _now: Instant) -> bool {
        self.closing = true;
        self.done.is_empty() && self.commits_done == self.commits_sent
    }
}

/// The thread's ends of the channels.
#[derive(Debug)]
struct Ends {
    commands: Receiver<Command>,
    reports: Sender<Report>,
    orders: Sender<Order>,
    steps: Arc<AtomicU64>,
}
