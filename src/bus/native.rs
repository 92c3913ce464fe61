//! The native Kafka client as a bus.
//!
//! A record goes straight into the producer's batch while there is room, and is copied once. While there is none, because the
//! broker is slow, away, or not known yet, it waits in the outbox, whose rules decide what is dropped.

use super::kafka::batch;
use super::kafka::client::Client;
use super::kafka::consumer::Consumer;
use super::kafka::create::{Creation, Fate};
use super::kafka::error::Failure;
use super::kafka::fetch::FetchSettings;
use super::kafka::fetched::{Source, Verdict};
use super::kafka::group::{self, Group, GroupSettings};
use super::kafka::inflate::Codec;
use super::kafka::producer::{self, Producer, ProducerSettings};
use super::kafka::settings::Settings;
use super::member::MemberFile;
use super::outbox::Outbox;
use super::topics;
use super::{Bus, Full, Incoming, Position, Severity, Status, Taken, Trouble};
use crate::config::{Compression, Kafka};
use crate::wire::{Class, Record};
use std::sync::Arc;
use std::time::Instant;

/// The most memory that batches take; the rest of `buffer_bytes` is the outbox's.
const PRODUCER_BYTES_MAX: usize = 4 << 20;
/// Records that move from the outbox to the producer in one poll.
const MOVED_MAX: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub struct Native {
    client: Client,
    producer: Producer,
    consumer: Option<Consumer>,
    outbox: Outbox,
    /// By `TopicId`.
    classes: Vec<Class>,
    /// Until its end, nothing is asked of the topics.
    creation: Option<Creation>,
    /// Of a static member.
    member: Option<MemberFile>,
    closing: bool,
}

impl Native {
    /// A client that has not tried to connect yet; `consumes` says whether it reads orders, and `member` what became of the static
    /// member's run before this one.
    ///
    /// # Errors
    /// As [`settings`], or a file of `[kafka.security]` that is of no use: which, and why.
    pub(super) fn open(config: &Kafka, consumes: bool, member: Option<MemberFile>, now: Instant) -> Result<Self, String> {
        let settings = settings(config)?;
        let producer_bytes = (config.buffer_bytes / 2).min(PRODUCER_BYTES_MAX);
        let producer = ProducerSettings {
            batch_bytes: config.batch_size,
            linger: config.linger,
            codec: codec(config.compression),
            buffer_bytes: producer_bytes,
        };
        let outputs = config.topics.outputs();
        let fetch = FetchSettings { from_earliest: config.from_earliest, ..FetchSettings::default() };
        let group = GroupSettings {
            instance_id: config.group_instance_id.clone(),
            previous_member_id: member.as_ref().and_then(MemberFile::member_id).map(str::to_owned),
            session_timeout: config.session_timeout,
            ..GroupSettings::new(&config.group_id, &config.topics.orders)
        };
        let consumer = consumes.then(|| Consumer::new(group, fetch, &settings));
        let mut client = Client::new(settings, now)?;
        let mut wanted = topics::wanted(&config.topics, topics::PARTITIONS);
        wanted.names.retain(|name| consumes || *name != config.topics.orders);
        Ok(Self {
            producer: Producer::new(producer, outputs.map(|(name, _)| name), now),
            consumer,
            outbox: Outbox::new(config.buffer_bytes - producer_bytes),
            classes: config.topics.outputs().map(|(_, class)| class).collect(),
            creation: config.create_topics.then(|| Creation::new(wanted, &mut client.cluster, now)),
            client,
            member,
            closing: false,
        })
    }

    /// Why the broker is of no use, if it is too old for this client.
    pub fn too_old(&self) -> Option<&Failure> {
        self.client.cluster.problems().map(|(_, failure)| failure).find(|failure| failure.is_broker_too_old())
    }

    /// Publishes what waits in the outbox to another adapter, as far as that takes it.
    pub fn hand_over(&mut self, other: &mut dyn Bus) {
        while let Some(entry) = self.outbox.take() {
            let seq = entry.seq;
            match other.publish(&entry.record()) {
                Ok(()) => self.outbox.acknowledge(seq),
                Err(Full) => return self.outbox.rewind(),
            }
        }
    }

    /// Moves records from the outbox into the producer's batches, which never lose them.
    fn drain_outbox(&mut self) {
        for _ in 0..MOVED_MAX {
            let Some(entry) = self.outbox.take() else { return };
            let seq = entry.seq;
            match push(&mut self.producer, &entry.record()) {
                Ok(()) => self.outbox.acknowledge(seq),
                Err(producer::Full) => return self.outbox.rewind(),
            }
        }
    }

    fn create_topics(&mut self, now: Instant) {
        let Some(fates) = self.creation.as_mut().and_then(|creation| creation.poll(&mut self.client.cluster, now)) else {
            return;
        };
        self.creation = None;
        for (topic, fate) in fates {
            match fate {
                Fate::Existed => {}
                Fate::Created => log::info!("topic {topic}: created"),
                Fate::Refused(why) => log::warn!("topic {topic} is missing and cannot be created: {why}"),
            }
        }
    }

    fn send(&mut self, now: Instant) {
        if self.creation.is_none() {
            self.drain_outbox();
            if self.closing {
                self.producer.flush();
            }
            self.producer.poll(&mut self.client.cluster, now);
        }
        self.client.send(now);
    }
}

impl Bus for Native {
    fn poll(&mut self, now: Instant, orders_max: usize, orders: &mut dyn FnMut(Incoming<'_>) -> Taken) {
        self.client.receive(now);
        self.create_topics(now);
        if let Some(consumer) = self.consumer.as_mut().filter(|_| self.creation.is_none()) {
            consumer.poll(now, &mut self.client.cluster, orders_max, &mut |source, record| {
                let Source { partition, incarnation } = source;
                let position = Position { partition, incarnation, offset: record.offset };
                // A tombstone says nothing: it is an order without a text, and will be rejected as such.
                match orders(Incoming { position, payload: record.value.unwrap_or_default() }) {
                    Taken::Done => Verdict::Done,
                    Taken::Later => Verdict::Later,
                }
            });
            if let Some(member) = &mut self.member
                && let Some((id, _)) = consumer.group().identity()
            {
                member.keep(&id);
            }
        }
        self.send(now);
    }

    fn publish(&mut self, record: &Record<'_>) -> Result<(), Full> {
        // What waits in the outbox is older.
        if self.outbox.records() == 0 && push(&mut self.producer, record).is_ok() {
            return Ok(());
        }
        let class = self.classes.get(usize::from(record.topic.0)).copied().unwrap_or(Class::Event);
        self.outbox.push(record, class)
    }

    fn has_room(&self) -> bool {
        self.outbox.has_room()
    }

    fn status(&self) -> Status {
        let group = self.consumer.as_ref().and_then(|consumer| trouble(consumer.group()));
        let degraded = |reason: &Arc<str>| Trouble { severity: Severity::Degraded, reason: Arc::clone(reason) };
        let topic = self.consumer.as_ref().and_then(Consumer::trouble);
        let client = topic.into_iter().chain(self.client.cluster.trouble()).chain(self.producer.trouble()).map(degraded);
        let consumer_errors = |consumer: &Consumer| consumer.group().errors() + consumer.fetch_counts().total();
        Status {
            connected: self.client.cluster.is_connected(),
            outbox_records: self.outbox.records() + self.producer.records(),
            outbox_bytes: self.outbox.bytes() + self.producer.bytes() as u64,
            acknowledged: self.producer.acknowledged(),
            dropped: self.outbox.dropped(),
            refused: self.producer.refused(),
            consumer_lag: self.consumer.as_ref().and_then(lag),
            errors: self.client.cluster.errors()
                + self.producer.errors()
                + self.consumer.as_ref().map_or(0, consumer_errors)
                + self.member.as_ref().map_or(0, MemberFile::errors),
            trouble: Trouble::worst(group.into_iter().chain(client)),
        }
    }

    /// What was published since the last poll is sent first.
    fn wait(&mut self, now: Instant, until: Instant) {
        self.send(now);
        let consumer = self.consumer.as_ref().and_then(|consumer| consumer.deadline(now));
        let creation = self.creation.as_ref().and_then(|creation| creation.deadline(now));
        let until = consumer.into_iter().chain(self.producer.deadline()).chain(creation).fold(until, Instant::min);
        self.client.wait(now, until);
    }

    fn close(&mut self, _now: Instant) -> bool {
        self.closing = true;
        // Before the topics are there, the consumer has not begun.
        self.creation.is_some()
            || self.consumer.as_mut().is_none_or(|consumer| {
                consumer.close();
                consumer.is_closed()
            })
    }
}

/// What the configuration says to a client.
///
/// # Errors
/// An address that is none.
pub fn settings(config: &Kafka) -> Result<Settings, String> {
    let bootstrap = config.bootstrap_servers.iter().map(|server| server.parse()).collect::<Result<_, _>>()?;
    Ok(Settings { security: config.security.clone(), jitter_seed: std::process::id().into(), ..Settings::new(bootstrap) })
}

fn push(producer: &mut Producer, record: &Record<'_>) -> Result<(), producer::Full> {
    let Record { topic, key, timestamp, headers, value } = *record;
    producer.push(usize::from(topic.0), &batch::Record { key, value, timestamp_ms: timestamp.0, headers })
}

/// Records of all our partitions that were not handed out yet; unknown while there is no partition, or one that is unknown.
fn lag(consumer: &Consumer) -> Option<u64> {
    let mut lags = consumer.lag().map(|(_, lag)| lag).peekable();
    lags.peek()?;
    lags.sum()
}

/// What a group's trouble means to whoever asks how we are.
fn trouble(group: &Group) -> Option<Trouble> {
    let trouble = group.told_trouble()?;
    let severity = match trouble {
        group::Trouble::NameTaken { .. } | group::Trouble::Replaced { .. } => Severity::Unhealthy,
        _ => Severity::Degraded,
    };
    Some(Trouble { severity, reason: format!("consumer group {}: {trouble}", group.id()).into() })
}

const fn codec(compression: Compression) -> Codec {
    match compression {
        Compression::None => Codec::None,
        Compression::Gzip => Codec::Gzip,
        Compression::Snappy => Codec::Snappy,
        Compression::Lz4 => Codec::Lz4,
        Compression::Zstd => Codec::Zstd,
    }
}
