//! The thread: one connection after the other, and what is done on each.

use super::batch::Batch;
use super::orders::Reader;
use super::sending::{Sending, Topics};
use super::{Ends, probe};
use crate::bus::kafka::backoff::Backoff;
use crate::clock;
use crate::config::Kafka;
use crossbeam_channel::RecvTimeoutError;
use kafka::client::{CommitOffset, Compression, GroupOffsetStorage, KafkaClient};
use kafka::error::KafkaCode;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often the orders topic is looked at. The fetch itself does not wait: it would hold up what is to be sent.
const READ_INTERVAL: Duration = Duration::from_millis(100);
/// How old metadata may grow: partitions may have been added.
const METADATA_AGE_MAX: Duration = Duration::from_secs(300);
/// How often metadata is asked for until every topic is there: the broker creates a topic when it is asked for it.
const TOPIC_ATTEMPTS: u32 = 20;
/// The pause between such attempts.
const RETRY_DELAY: Duration = Duration::from_millis(100);
const RECONNECT_DELAY_FIRST: Duration = Duration::from_millis(100);
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(10);

/// What the adapter wants of the thread.
#[derive(Debug)]
pub(super) enum Command {
    /// Send these records.
    Send(Batch),
    /// Commit these offsets, by partition.
    Commit {
        /// Counts the commands, from 1.
        number: u64,
        /// Partition and the offset of the next order to be read.
        offsets: Vec<(i32, i64)>,
    },
}

/// What the thread says.
#[derive(Debug)]
pub(super) enum Report {
    /// There is a connection.
    Up,
    /// There is none, and why: the old one broke, or an attempt failed.
    Down(Arc<str>),
    /// Every record of the batch is with the broker, but for so many that it refused for good.
    Sent {
        /// The batch, whose memory may be used again.
        batch: Batch,
        /// Records that the broker refused for good.
        refused: u64,
    },
    /// The offsets of this command and of those before it are with the broker.
    Committed {
        /// Of `Command::Commit`.
        number: u64,
    },
    /// The broker refused them; they are kept and committed with the next ones.
    CommitRefused {
        /// Of `Command::Commit`.
        number: u64,
    },
    /// Orders that were not fetched yet.
    Lag(Option<u64>),
    /// An order could not be fetched and was passed over.
    Skipped,
}

/// The adapter is gone: the thread ends.
#[derive(Debug)]
pub(super) struct Abandoned;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{0}")]
    Unreachable(String),
    #[error(
        "broker {address} speaks Fetch {oldest} and later (Apache Kafka 4.0 or newer); the classic client speaks version 0"
    )]
    TooNew { address: String, oldest: i16 },
    #[error("topic `{0}` is not there, and the broker does not create it")]
    NoTopic(String),
    #[error("topic `{topic}`, partition {partition}: {code:?}")]
    Refused { topic: String, partition: i32, code: KafkaCode },
    #[error("request failed: {0}")]
    Request(#[from] kafka::Error),
    #[error("the bus is closed")]
    Abandoned,
}

impl Failure {
    /// Whether the broker is away, in one of the many ways in which that shows.
    fn is_absence(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Request(kafka::Error::Io(_)))
    }
}

impl From<Abandoned> for Failure {
    fn from(_: Abandoned) -> Self {
        Self::Abandoned
    }
}

/// The thread's state; it outlives connections.
pub(super) struct Worker {
    bootstrap: Vec<String>,
    compression: Compression,
    group: String,
    topics: Topics,
    reader: Option<Reader>,
    /// As it was last reported.
    lag: Option<u64>,
    ends: Ends,
    sending: Option<Sending>,
    /// Offsets that the broker does not have yet, and the command by which they are to be committed.
    offsets: BTreeMap<i32, i64>,
    commit: Option<u64>,
    /// Why the last commit was refused.
    commit_refusal: Option<KafkaCode>,
    backoff: Backoff,
    failures: u32,
    /// The last failure that was logged, until there is a connection again; empty for a broker that is away.
    logged: Option<String>,
}

/// A connection, or several: the crate opens one to each broker that it needs.
struct Session {
    client: KafkaClient,
    up: bool,
    metadata_at: Instant,
    read_at: Instant,
}

impl Worker {
    pub(super) fn new(kafka: &Kafka, compression: Compression, consume: bool, ends: Ends) -> Self {
        let seed = clock::wall_ms() as u64;
        Self {
            bootstrap: kafka.bootstrap_servers.clone(),
            compression,
            group: kafka.group_id.clone(),
            topics: Topics::new(kafka.topics.outputs().map(|(name, _)| name.to_owned()).collect()),
            reader: consume.then(|| Reader::new(kafka)),
            lag: None,
            ends,
            sending: None,
            offsets: BTreeMap::new(),
            commit: None,
            commit_refusal: None,
            backoff: Backoff::new(RECONNECT_DELAY_FIRST, RECONNECT_DELAY_MAX, seed),
            failures: 0,
            logged: None,
        }
    }

    /// Connects and serves, over and over, until the adapter is dropped.
    pub(super) fn run(mut self) {
        loop {
            let failure = match self.session() {
                Ok(Abandoned) | Err(Failure::Abandoned) => return,
                Err(failure) => failure,
            };
            let reason = failure.to_string();
            if self.report(Report::Down(reason.as_str().into())).is_err() {
                return;
            }
            let kind = if failure.is_absence() { String::new() } else { reason };
            if self.logged.as_ref() != Some(&kind) {
                log::warn!("no Kafka broker: {failure}");
                self.logged = Some(kind);
            }
            self.failures = match failure {
                // It will not grow older: ask as seldom as may be.
                Failure::TooNew { .. } => u32::MAX,
                _ => self.failures.saturating_add(1),
            };
            clock::sleep(self.backoff.delay(self.failures));
        }
    }

    /// Connects, and serves the adapter's commands until the connection breaks or the adapter is gone.
    fn session(&mut self) -> Result<Abandoned, Failure> {
        let mut session = self.connect()?;
        loop {
            self.step();
            if self.sending.is_none() {
                match self.ends.commands.recv_timeout(session.read_at.saturating_duration_since(clock::now())) {
                    Ok(Command::Send(batch)) => self.sending = Some(Sending::new(batch)),
                    Ok(Command::Commit { number, offsets }) => {
                        self.offsets.extend(offsets);
                        self.commit = Some(number);
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return Ok(Abandoned),
                }
            }
            self.send(&mut session)?;
            self.commit(&mut session)?;
            self.read(&mut session)?;
            self.up(&mut session)?;
        }
    }

    /// A connection counts once it has been of use: one that refuses everything would come and go for ever.
    fn up(&mut self, session: &mut Session) -> Result<(), Abandoned> {
        if session.up {
            return Ok(());
        }
        log::info!("connected to Kafka at {}", session.client.hosts().join(", "));
        session.up = true;
        self.failures = 0;
        self.logged = None;
        self.report(Report::Up)
    }

    fn connect(&mut self) -> Result<Session, Failure> {
        let broker = probe::usable_broker(&self.bootstrap)?;
        let mut client = KafkaClient::new(vec![broker]);
        client.set_client_id("mokasim".into());
        client.set_compression(self.compression);
        client.set_group_offset_storage(Some(GroupOffsetStorage::Kafka));
        client.set_fetch_max_wait_time(Duration::ZERO)?;
        client.set_fetch_min_bytes(0);
        // A broken connection is never mended by the crate: the client is made anew then, so none is given up for idleness.
        client.set_connection_idle_timeout(Duration::MAX);
        // It would ask for a coordinator for two minutes, and nothing is sent meanwhile.
        client.set_retry_max_attempts(20);
        let now = clock::now();
        let mut session = Session { client, up: false, metadata_at: now, read_at: now };
        self.load_metadata(&mut session)?;
        Ok(session)
    }

    /// Asks for metadata until every topic has partitions.
    fn load_metadata(&mut self, session: &mut Session) -> Result<(), Failure> {
        let orders = self.reader.as_ref().map(Reader::topic);
        let names = self.topics.names.iter().map(String::as_str).filter(|name| !name.is_empty());
        let topics: Vec<&str> = names.chain(orders).collect();
        let mut missing = None;
        for attempt in 0..TOPIC_ATTEMPTS {
            if attempt > 0 {
                clock::sleep(RETRY_DELAY);
            }
            session.client.load_metadata(&topics)?;
            missing = topics.iter().find(|topic| partitions(&session.client, topic) == 0);
            if missing.is_none() {
                break;
            }
        }
        if let Some(&topic) = missing {
            return Err(Failure::NoTopic(topic.to_owned()));
        }
        self.topics.partitions = self.topics.names.iter().map(|topic| partitions(&session.client, topic)).collect();
        session.metadata_at = clock::now();
        if let Some(reader) = &mut self.reader {
            reader.open(&mut session.client)?;
        }
        Ok(())
    }

    fn send(&mut self, session: &mut Session) -> Result<(), Failure> {
        while let Some(sending) = &mut self.sending {
            let refusal = sending.round(&mut session.client, &self.topics)?;
            let stuck = sending.is_stuck();
            if let Some(done) = self.sending.take_if(|sending| sending.is_done()) {
                let (batch, refused) = done.finish();
                self.report(Report::Sent { batch, refused })?;
            }
            if let Some(refusal) = refusal {
                if stuck {
                    return Err(refusal);
                }
                clock::sleep(RETRY_DELAY);
                self.load_metadata(session)?;
            }
            self.step();
        }
        Ok(())
    }

    fn commit(&mut self, session: &mut Session) -> Result<(), Failure> {
        let (Some(number), Some(reader)) = (self.commit, &self.reader) else { return Ok(()) };
        let offsets = self.offsets.iter().map(|(&partition, &offset)| CommitOffset::new(reader.topic(), partition, offset));
        let refusal = match session.client.commit_offsets(&self.group, offsets) {
            Ok(()) => None,
            Err(kafka::Error::Kafka(code)) => Some(code),
            Err(error) => return Err(error.into()),
        };
        self.commit = None;
        if let Some(code) = refusal {
            if self.commit_refusal != refusal {
                // Members of a real group hold it, say. The orders are done with all the same.
                log::warn!("group {}: the broker does not take offsets: {code:?}", self.group);
            }
            self.report(Report::CommitRefused { number })?;
        } else {
            self.offsets.clear();
            self.report(Report::Committed { number })?;
        }
        self.commit_refusal = refusal;
        Ok(())
    }

    fn read(&mut self, session: &mut Session) -> Result<(), Failure> {
        let now = clock::now();
        if now < session.read_at {
            return Ok(());
        }
        session.read_at = now + READ_INTERVAL;
        if now.saturating_duration_since(session.metadata_at) > METADATA_AGE_MAX {
            self.load_metadata(session)?;
        }
        let Some(reader) = &mut self.reader else { return Ok(()) };
        let read = reader.read(&mut session.client, &self.ends.orders)?;
        let lag = reader.lag();
        if read.more {
            session.read_at = now;
        }
        for _ in 0..read.skipped {
            self.report(Report::Skipped)?;
        }
        if lag != self.lag {
            self.lag = lag;
            self.report(Report::Lag(lag))?;
        }
        Ok(())
    }

    fn report(&self, report: Report) -> Result<(), Abandoned> {
        self.ends.reports.send(report).map_err(|_| Abandoned)
    }

    /// Shows the adapter that the thread is not waiting for an answer.
    fn step(&self) {
        self.ends.steps.fetch_add(1, Ordering::Relaxed);
    }
}

/// How many partitions the topic has; 0 when it is not known.
fn partitions(client: &KafkaClient, topic: &str) -> i32 {
    client.topics().partitions(topic).map_or(0, |partitions| partitions.len() as i32)
}
