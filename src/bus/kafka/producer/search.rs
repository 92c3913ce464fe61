//! Looks in the log for batches whose answer was lost, before they are sent again.
//!
//! ```text
//!   log   ... | last acknowledged | others' | ours: acknowledged now | others' | (not there: sent again)
//!                                 ▲ place, read from here on         ended here when asked ▲
//! ```
//!
//! A broker recognises a batch that comes again while it remembers its producer. It may forget one when it restarts, and every ten
//! minutes: `producer.id.expiration.ms` is counted from the time of the producer's last record (`ProducerStateManager`), and in a
//! history that is long ago. Then it would take the batch a second time. So the end of the log is asked for before a partition's
//! first batch, and what lies behind the last batch that was acknowledged is read when an answer was lost.
//!
//! Only what every in-sync replica has can be read. The end that is asked for is that of the leader's own log: what lies between
//! will be committed or cut off, and is waited for.

use super::super::batch::Stamp;
use super::super::cluster::{Cluster, Completion, Owner};
use super::super::connection::{Answer, Ticket};
use super::super::error::Failure;
use super::super::link::{Lane, Target};
use super::super::log_api::{
    CONSUMER, DEBUGGER, EARLIEST, FETCH_BY_NAME, FETCH_THROTTLED_SINCE, FETCH_WITH_EPOCH, LATEST, LIST_OFFSETS_WITH_EPOCH,
    NO_SESSION,
};
use super::super::records::next_batch;
use super::super::told::describe;
use super::Producer;
use super::partition::Partition;
use super::place::Question;
use super::verdict::is_lasting;
use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{FetchRequest, ListOffsetsRequest, TopicName};
use kafka_protocol::protocol::{Message as _, Request, StrBytes, VersionRange};
use std::collections::BTreeMap;
use std::time::Instant;

/// So much is read at once, from each broker.
const READ_BYTES: i32 = 1 << 20;

const OFFSET_OUT_OF_RANGE: i16 = 1;
/// What it means when the log ends behind what can be read of it: not all in-sync replicas have it.
const NOT_ENOUGH_REPLICAS_AFTER_APPEND: i16 = 20;

/// What a request asks of which partitions.
#[derive(Debug)]
pub(super) struct Inquiry {
    broker: i32,
    matter: Matter,
    parts: Vec<Part>,
}

/// Each broker is asked about one matter at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Matter {
    /// Offsets that timestamps stand for.
    Offsets,
    /// Batches from offsets on.
    Batches,
}

/// A partition's share of a request.
#[derive(Clone, Copy, Debug)]
struct Part {
    topic: usize,
    index: usize,
    /// The timestamp or the offset.
    at: i64,
}

impl Producer {
    /// Asks each leader what has to be known of its logs before anything more is sent to them.
    pub(super) fn inquire(&mut self, cluster: &mut Cluster, now: Instant) {
        let mut due: BTreeMap<(i32, Matter), Vec<Part>> = BTreeMap::new();
        for (number, topic) in self.topics.iter().enumerate() {
            for (index, partition) in topic.partitions.iter().enumerate() {
                let Some((leader, question)) = partition.leader.zip(partition.question(now)) else { continue };
                let (matter, at) = match question {
                    Question::Start => (Matter::Offsets, EARLIEST),
                    Question::End => (Matter::Offsets, LATEST),
                    Question::Batches { from } => (Matter::Batches, from),
                };
                due.entry((leader, matter)).or_default().push(Part { topic: number, index, at });
            }
        }
        for ((broker, matter), parts) in due {
            if self.inquiries.values().any(|inquiry| (inquiry.broker, inquiry.matter) == (broker, matter)) {
                continue;
            }
            let target = Target { broker, lane: Lane::Main };
            let sent = match matter {
                Matter::Offsets => self.ask_for_offsets(&parts, target, cluster, now),
                Matter::Batches => self.ask_for_batches(&parts, target, cluster, now),
            };
            match sent {
                Ok(Some(ticket)) => {
                    parts.iter().for_each(|part| self.partition_mut(*part).asked());
                    self.inquiries.insert(ticket, Inquiry { broker, matter, parts });
                }
                Ok(None) => {}
                Err(failure) => cluster.fail(target, &failure, now),
            }
        }
    }

    fn ask_for_offsets(
        &self,
        parts: &[Part],
        target: Target,
        cluster: &mut Cluster,
        now: Instant,
    ) -> Result<Option<Ticket>, Failure> {
        let Some(versions) = cluster.ready(target) else { return Ok(None) };
        let version = versions.highest::<ListOffsetsRequest>()?;
        let epoch = |name: &str, part: &Part| cluster.metadata().leader_epoch(name, part.index as i32);
        let topics = self.by_topic(parts).map(|(name, parts)| {
            let partitions = parts.iter().map(|part| {
                let asked = ListOffsetsPartition::default().with_partition_index(part.index as i32).with_timestamp(part.at);
                asked.with_current_leader_epoch(if version >= LIST_OFFSETS_WITH_EPOCH { epoch(name, part) } else { -1 })
            });
            ListOffsetsTopic::default().with_name(topic_name(name)).with_partitions(partitions.collect())
        });
        let topics = topics.collect();
        let request = ListOffsetsRequest::default().with_replica_id(DEBUGGER.into()).with_topics(topics);
        send(&request, version, target, cluster, now)
    }

    fn ask_for_batches(
        &self,
        parts: &[Part],
        target: Target,
        cluster: &mut Cluster,
        now: Instant,
    ) -> Result<Option<Ticket>, Failure> {
        let Some(versions) = cluster.ready(target) else { return Ok(None) };
        let by_name = FetchRequest::VERSIONS.intersect(&VersionRange { min: 0, max: FETCH_BY_NAME });
        let version = versions.highest_in::<FetchRequest>(by_name)?;
        let epoch = |name: &str, part: &Part| cluster.metadata().leader_epoch(name, part.index as i32);
        let topics = self.by_topic(parts).map(|(name, parts)| {
            let partitions = parts.iter().map(|part| {
                let asked = FetchPartition::default().with_partition(part.index as i32).with_fetch_offset(part.at);
                let asked = asked.with_partition_max_bytes(READ_BYTES);
                asked.with_current_leader_epoch(if version >= FETCH_WITH_EPOCH { epoch(name, part) } else { -1 })
            });
            FetchTopic::default().with_topic(topic_name(name)).with_partitions(partitions.collect())
        });
        let topics = topics.collect();
        // Without a wait, which would hold up what else goes over this connection.
        let request = FetchRequest::default().with_replica_id(CONSUMER.into()).with_max_wait_ms(0);
        let request = request.with_max_bytes(READ_BYTES).with_session_epoch(NO_SESSION).with_topics(topics);
        send(&request, version, target, cluster, now)
    }

    /// Each topic's name and parts.
    fn by_topic<'a>(&'a self, parts: &'a [Part]) -> impl Iterator<Item = (&'a str, &'a [Part])> {
        let of_one = parts.chunk_by(|a, b| a.topic == b.topic);
        of_one.filter_map(|parts| Some((self.topics[parts.first()?.topic].name.as_str(), parts)))
    }

    // ---- answers ---------------------------------------------------------------------------------------------------

    pub(super) fn inquired(&mut self, inquiry: &Inquiry, completion: Completion, cluster: &mut Cluster, now: Instant) {
        let Completion { target, result, .. } = completion;
        let taken = result.and_then(|answer| match inquiry.matter {
            Matter::Offsets => self.take_offsets(&inquiry.parts, answer, cluster, now),
            Matter::Batches => self.take_batches(&inquiry.parts, answer, target, cluster, now),
        });
        let Err(failure) = taken else { return };
        if matches!(failure, Failure::Garbled { .. }) {
            cluster.fail(target, &failure, now);
        }
        for &part in &inquiry.parts {
            if failure.is_absence() {
                self.ask_anew(part, None, cluster, now);
            } else {
                self.give_up(part, &failure, now);
            }
        }
    }

    fn take_offsets(&mut self, parts: &[Part], answer: Answer, cluster: &mut Cluster, now: Instant) -> Result<(), Failure> {
        let answer = answer.decode::<ListOffsetsRequest>()?;
        for &part in parts {
            let of = answer.topics.iter().find(|of| of.name.0.as_str() == self.topics[part.topic].name);
            let mut told = of.into_iter().flat_map(|of| &of.partitions);
            match told.find(|told| usize::try_from(told.partition_index) == Ok(part.index)) {
                None => self.ask_anew(part, None, cluster, now),
                Some(told) if told.error_code != 0 => self.refused_to_tell(part, told.error_code, cluster, now),
                Some(told) if part.at == EARLIEST => {
                    if self.partition_mut(part).begins_at(told.offset.max(0), now) {
                        self.topics[part.topic]
                            .tell_unsearchable(&"the broker has deleted what followed the last one that arrived");
                    }
                }
                Some(told) => self.partition_mut(part).ends_at(told.offset.max(0), now),
            }
        }
        Ok(())
    }

    fn take_batches(
        &mut self,
        parts: &[Part],
        answer: Answer,
        target: Target,
        cluster: &mut Cluster,
        now: Instant,
    ) -> Result<(), Failure> {
        let version = answer.version();
        let answer = answer.decode::<FetchRequest>()?;
        cluster.throttled(target, (version, FETCH_THROTTLED_SINCE), answer.throttle_time_ms, now);
        for &part in parts {
            let of = answer.responses.iter().find(|of| of.topic.0.as_str() == self.topics[part.topic].name);
            let mut told = of.into_iter().flat_map(|of| &of.partitions);
            let Some(told) = told.find(|told| usize::try_from(told.partition_index) == Ok(part.index)) else {
                self.ask_anew(part, Some(answer.error_code).filter(|code| *code != 0), cluster, now);
                continue;
            };
            match told.error_code {
                0 => {
                    let next = self.read(part, told.records.as_ref().unwrap_or(&Bytes::new()), now);
                    if !self.partition_mut(part).read_to(next, now) {
                        // Where there is more, others' share of the answer left no room for it.
                        let is_all = told.high_watermark <= part.at;
                        self.ask_anew(part, is_all.then_some(NOT_ENOUGH_REPLICAS_AFTER_APPEND), cluster, now);
                    }
                }
                OFFSET_OUT_OF_RANGE => {
                    self.partition_mut(part).lose_place();
                    self.ask_anew(part, None, cluster, now);
                }
                code => self.refused_to_tell(part, code, cluster, now),
            }
        }
        Ok(())
    }

    /// Takes those of the partition's batches that are among `bytes`; gives the offset behind the last batch.
    fn read(&mut self, part: Part, bytes: &Bytes, now: Instant) -> i64 {
        let (mut at, mut next) = (0, part.at);
        while let Some(there) = next_batch(bytes, at) {
            (at, next) = (there.next, next.max(there.next_offset));
            let Ok(batch) = there.batch else { continue };
            let (producer_id, producer_epoch) = (batch.producer_id, batch.producer_epoch);
            let stamp = Stamp { producer_id, producer_epoch, sequence: batch.base_sequence };
            let Some(sealed) = self.partition_mut(part).found(stamp, now) else { continue };
            let (records, offset, index) = (sealed.records(), batch.base_offset, part.index);
            let name = &self.topics[part.topic].name;
            log::debug!(
                "partition {index} of topic {name}: {records} records without an answer are there, from {offset} on"
            );
            self.settle(sealed);
        }
        next
    }

    fn refused_to_tell(&mut self, part: Part, code: i16, cluster: &mut Cluster, now: Instant) {
        if is_lasting(code) {
            self.give_up(part, &describe(code), now);
        } else {
            cluster.refresh_metadata(now);
            self.ask_anew(part, Some(code), cluster, now);
        }
    }

    fn ask_anew(&mut self, part: Part, code: Option<i16>, cluster: &mut Cluster, now: Instant) {
        self.errors += u64::from(code.is_some());
        let partition = self.partition_mut(part);
        partition.note(code, false);
        partition.ask_anew(now + cluster.backoff(partition.failures()));
    }

    fn give_up(&mut self, part: Part, why: &dyn std::fmt::Display, now: Instant) {
        let topic = &mut self.topics[part.topic];
        topic.tell_unsearchable(why);
        topic.partitions[part.index].give_up_search(now);
    }

    fn partition_mut(&mut self, part: Part) -> &mut Partition {
        &mut self.topics[part.topic].partitions[part.index]
    }
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

fn send<R: Request>(
    request: &R,
    version: i16,
    target: Target,
    cluster: &mut Cluster,
    now: Instant,
) -> Result<Option<Ticket>, Failure> {
    let deadline = now + cluster.settings().request_timeout;
    cluster.send(Owner::Producer, target, request, version, deadline).map(Some)
}
