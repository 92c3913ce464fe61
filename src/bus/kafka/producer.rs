//! An idempotent producer: `acks=all`, every record once and in order per key, or still here.
//!
//! Records are encoded into the open batch of their partition, and stay in it until the broker has it: there is no other copy.
//! Nothing is ever given up for time: a batch leaves by acknowledgement, or when the broker says that it can never take it.

mod cause;
mod identity;
mod partition;
mod place;
mod request;
mod review;
mod search;
mod topic;
mod verdict;

use self::identity::Introduction;
use self::partition::{Identity, Partition};
use self::request::TopicPart;
use self::review::Concern;
use self::search::Inquiry;
use self::topic::Topic;
use self::verdict::{Verdict, is_lasting};
use super::batch::{HEADER_BYTES, Record, Sealed, record_len_max};
use super::cluster::{Cluster, Completion, Owner};
use super::connection::{Answer, Ticket};
use super::inflate::Codec;
use super::link::{Lane, Target};
use super::murmur2::partition_for;
use super::pool::Pool;
use super::told::{Shown, describe};
use bytes::Bytes;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Requests a broker may have unanswered; it remembers as many batches of a producer, to recognise one that is sent again.
const IN_FLIGHT_MAX: usize = 5;
/// The version of Produce from which on a throttled client waits (KIP-219).
const THROTTLED_SINCE: i16 = 6;
/// `max.request.size`: batches of several partitions share a request up to it.
const REQUEST_BYTES_MAX: usize = 1 << 20;

/// Settings of a producer.
#[derive(Clone, Debug)]
pub struct ProducerSettings {
    /// `batch.size`: a batch is sent at the latest when the next record would make it larger. More than the broker's
    /// `message.max.bytes` (1 MB by default) is refused by it.
    pub batch_bytes: usize,
    /// `linger.ms`: a batch is sent at the latest after so long.
    pub linger: Duration,
    /// `compression.type`
    pub codec: Codec,
    /// `buffer.memory`: records that wait, or are not acknowledged, take at most so much; besides, each partition that is written
    /// to has a buffer of `batch_bytes`.
    pub buffer_bytes: usize,
}

/// There is no room, or no partition is known yet: nothing of the record was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// See the module.
#[derive(Debug)]
pub struct Producer {
    settings: ProducerSettings,
    topics: Vec<Topic>,
    identity: Option<Identity>,
    introduction: Introduction,
    requests: BTreeMap<Ticket, Request>,
    inquiries: BTreeMap<Ticket, Inquiry>,
    pool: Pool,
    revision: u64,
    /// As of the last poll.
    now: Instant,
    /// Open batches are sent without lingering.
    hurry: bool,
    bytes: usize,
    records: u64,
    acknowledged: u64,
    refused: u64,
    errors: u64,
    shown: Shown<Concern>,
}

/// What a request carries.
#[derive(Debug)]
struct Request {
    broker: i32,
    /// Topic and partition of each batch.
    parts: Vec<(usize, usize)>,
}

impl Producer {
    /// A producer for these topics; a record names its topic by the place in this list.
    #[must_use]
    pub fn new<'a>(settings: ProducerSettings, topics: impl IntoIterator<Item = &'a str>, now: Instant) -> Self {
        Self {
            pool: Pool::new(settings.batch_bytes, settings.buffer_bytes),
            settings,
            topics: topics.into_iter().map(Topic::new).collect(),
            identity: None,
            introduction: Introduction::default(),
            requests: BTreeMap::new(),
            inquiries: BTreeMap::new(),
            revision: 0,
            now,
            hurry: false,
            bytes: 0,
            records: 0,
            acknowledged: 0,
            refused: 0,
            errors: 0,
            shown: Shown::default(),
        }
    }

    /// Takes a record for the topic of this place. It is copied once, into the batch that will be sent.
    ///
    /// # Errors
    /// [`Full`]: there is no room, or the topic's partitions are not known yet.
    pub fn push(&mut self, topic: usize, record: &Record<'_>) -> Result<(), Full> {
        let topic = self.topics.get_mut(topic).filter(|topic| !topic.partitions.is_empty()).ok_or(Full)?;
        let index = partition_for(record.key, topic.partitions.len() as i32) as usize;
        let partition = &mut topic.partitions[index];
        let size = record_len_max(record);
        if self.bytes + size + HEADER_BYTES > self.settings.buffer_bytes && self.records > 0 {
            return Err(Full);
        }
        if partition.open_bytes().is_some_and(|open| open + size > self.settings.batch_bytes) {
            self.bytes -= partition.seal(self.settings.codec, &mut self.pool);
        }
        self.bytes += partition.append(record, self.now, &mut self.pool);
        self.records += 1;
        Ok(())
    }

    /// Takes in acknowledgements, and sends what is due to brokers that are ready. Bounded by partitions and requests.
    pub fn poll(&mut self, cluster: &mut Cluster, now: Instant) {
        self.now = now;
        while let Some(completion) = cluster.next_completion(Owner::Producer) {
            if self.introduction.ticket == Some(completion.ticket) {
                self.introduced(completion, cluster, now);
            } else if let Some(inquiry) = self.inquiries.remove(&completion.ticket) {
                self.inquired(&inquiry, completion, cluster, now);
            } else {
                self.completed(completion, cluster, now);
            }
        }
        self.follow_metadata(cluster, now);
        self.follow_leaders(cluster);
        self.introduce(cluster, now);
        self.seal_due(now);
        self.inquire(cluster, now);
        self.send_due(cluster, now);
        self.review(cluster, now);
    }

    /// Sends open batches at the next poll, without lingering, as far as brokers take them.
    pub const fn flush(&mut self) {
        self.hurry = true;
    }

    /// When [`Self::poll`] is next of use, if nothing arrives before.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let partitions = self.topics.iter().flat_map(|topic| &topic.partitions);
        let timers = partitions.flat_map(|partition| {
            let lingered = partition.opened().map(|opened| opened + self.settings.linger);
            lingered.into_iter().chain(partition.retry_at())
        });
        timers.chain(self.introduction.retry_at).filter(|at| *at > self.now).min()
    }

    /// Whether it would take many more records.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.bytes < self.settings.buffer_bytes / 2
    }

    /// Records taken and not acknowledged.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// Bytes they take.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Records that every in-sync replica has.
    #[must_use]
    pub const fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Records that the broker refused for good: they are lost.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Refused requests and batches, those included that were sent again.
    #[must_use]
    pub const fn errors(&self) -> u64 {
        self.errors
    }

    // ---- batches ---------------------------------------------------------------------------------------------------

    /// Takes over partitions and leaders from metadata that is news.
    fn follow_metadata(&mut self, cluster: &mut Cluster, now: Instant) {
        if self.revision == 0 {
            // One without a name is a place in the list that is not used.
            let named = self.topics.iter().filter(|topic| !topic.name.is_empty());
            named.for_each(|topic| cluster.want_topic(&topic.name, now));
        }
        let metadata = cluster.metadata();
        if self.revision == metadata.revision() {
            return;
        }
        self.revision = metadata.revision();
        for topic in &mut self.topics {
            let Some(known) = metadata.topic(&topic.name) else { continue };
            topic.note(known.error_code, now);
            topic.id = known.id;
            // Partitions are added, never taken away.
            let count = topic.partitions.len().max(known.partitions.len());
            topic.partitions.resize_with(count, Partition::default);
            for (partition, known) in topic.partitions.iter_mut().zip(&known.partitions) {
                partition.leader = known.leader;
            }
        }
    }

    fn follow_leaders(&mut self, cluster: &Cluster) {
        for partition in self.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.follow(partition.leader.and_then(|leader| cluster.established_since(leader)));
        }
    }

    /// Ends the open batches that have lingered and could be sent. One that could not goes on taking records.
    fn seal_due(&mut self, now: Instant) {
        let hurry = std::mem::take(&mut self.hurry);
        for partition in self.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            let lingered = partition.opened().is_some_and(|opened| opened + self.settings.linger <= now);
            if (hurry || lingered) && partition.is_idle(now, IN_FLIGHT_MAX) {
                self.bytes -= partition.seal(self.settings.codec, &mut self.pool);
            }
        }
    }

    fn send_due(&mut self, cluster: &mut Cluster, now: Instant) {
        let Some(identity) = self.identity else { return };
        let all = self.topics.iter().flat_map(|topic| &topic.partitions);
        let due = all.filter(|partition| partition.sendable(now, IN_FLIGHT_MAX).is_some());
        let mut brokers: Vec<i32> = due.filter_map(|partition| partition.leader).collect();
        brokers.sort_unstable();
        brokers.dedup();
        for broker in brokers {
            while self.send_one(cluster, broker, identity, now) {}
        }
    }

    /// Sends one request with at most one batch of each partition to `broker`; false when there is nothing more to send to it.
    fn send_one(&mut self, cluster: &mut Cluster, broker: i32, identity: Identity, now: Instant) -> bool {
        if self.requests.values().filter(|request| request.broker == broker).count() >= IN_FLIGHT_MAX {
            return false;
        }
        let target = Target { broker, lane: Lane::Main };
        let Some(version) = cluster.version::<ProduceRequest>(target, now) else { return false };
        let parts = self.choose(broker, version, now);
        if parts.is_empty() {
            return false;
        }
        let timeout = cluster.settings().request_timeout;
        // The broker says that its replicas do not follow before it is taken for silent.
        let body = self.encode(version, timeout / 3 * 2, identity, &parts);
        match cluster.send_encoded::<ProduceRequest>(Owner::Producer, target, version, now + timeout, body) {
            Ok(ticket) => {
                parts.iter().for_each(|(topic, index)| self.topics[*topic].partitions[*index].sent(ticket, broker));
                self.requests.insert(ticket, Request { broker, parts });
                true
            }
            Err(failure) => {
                cluster.fail(target, &failure, now);
                false
            }
        }
    }

    /// The partitions whose next batch goes into the next request to `broker`, in the order of topics.
    fn choose(&self, broker: i32, version: i16, now: Instant) -> Vec<(usize, usize)> {
        // Brokers before 1.0 remember one batch of a producer only (KAFKA-5494).
        let in_flight_max = if version < 5 { 1 } else { IN_FLIGHT_MAX };
        let mut bytes = 0;
        let mut parts = Vec::new();
        for (number, topic) in self.topics.iter().enumerate() {
            for (index, partition) in topic.partitions.iter().enumerate() {
                let Some(size) = partition.sendable(now, in_flight_max).filter(|_| partition.leader == Some(broker)) else {
                    continue;
                };
                if parts.is_empty() || bytes + size <= REQUEST_BYTES_MAX {
                    bytes += size;
                    parts.push((number, index));
                }
            }
        }
        parts
    }

    /// The request; the broker waits up to `replica_timeout` for its replicas.
    fn encode(
        &mut self,
        version: i16,
        replica_timeout: Duration,
        identity: Identity,
        parts: &[(usize, usize)],
    ) -> Vec<Bytes> {
        let mut topics: Vec<TopicPart<'_>> = Vec::new();
        let mut parts = parts.iter().peekable();
        for (number, topic) in self.topics.iter_mut().enumerate() {
            let mut batches = Vec::new();
            while let Some((_, index)) = parts.next_if(|(of, _)| *of == number) {
                batches.extend(topic.partitions[*index].next_bytes(identity).map(|bytes| (*index as i32, bytes)));
            }
            if !batches.is_empty() {
                topics.push(TopicPart { name: &topic.name, id: topic.id, batches });
            }
        }
        request::encode(version, replica_timeout.as_millis() as i32, &topics)
    }

    // ---- answers ---------------------------------------------------------------------------------------------------

    fn completed(&mut self, completion: Completion, cluster: &mut Cluster, now: Instant) {
        let Completion { ticket, target, result } = completion;
        let Some(request) = self.requests.remove(&ticket) else { return };
        let version = result.as_ref().map_or(0, Answer::version);
        let decoded = result
            .and_then(|answer| answer.decode::<ProduceRequest>().inspect_err(|failure| cluster.fail(target, failure, now)));
        if let Ok(answer) = &decoded {
            cluster.throttled(target, (version, THROTTLED_SINCE), answer.throttle_time_ms, now);
        }
        for (topic, index) in request.parts {
            // Without an answer nobody knows whether the broker has the batch.
            let part = decoded.as_ref().ok().and_then(|answer| part_of(answer, &self.topics[topic], index));
            let code = part.map(|part| part.error_code);
            match code.map(Verdict::of) {
                Some(Verdict::Acknowledged) => self.acknowledge(ticket, topic, index, part.map(|part| part.base_offset)),
                verdict => self.fail(ticket, topic, index, verdict.unwrap_or(Verdict::Retry), code, cluster),
            }
        }
    }

    fn acknowledge(&mut self, ticket: Ticket, topic: usize, index: usize, offset: Option<i64>) {
        // A repetition may be acknowledged without its offset.
        let offset = offset.filter(|offset| *offset >= 0);
        if let Some(sealed) = self.topics[topic].partitions[index].acknowledged(ticket, offset, self.now) {
            self.settle(sealed);
        }
    }

    /// Every in-sync replica has the batch.
    fn settle(&mut self, sealed: Sealed) {
        self.acknowledged += u64::from(sealed.records());
        self.release(sealed);
    }

    fn fail(
        &mut self,
        ticket: Ticket,
        topic: usize,
        index: usize,
        verdict: Verdict,
        code: Option<i16>,
        cluster: &mut Cluster,
    ) {
        self.errors += u64::from(code.is_some());
        if verdict == Verdict::TooLarge && self.split(ticket, topic, index) {
            return;
        }
        let Topic { name, partitions, .. } = &mut self.topics[topic];
        let partition = &mut partitions[index];
        partition.note(code, code.is_some_and(is_lasting));
        if let Some(code) = code {
            log::debug!("partition {index} of topic {name}: {}", describe(code));
        }
        let in_the_way = verdict == Verdict::Sequence && partition.is_first(ticket);
        if in_the_way || verdict == Verdict::Identity {
            partition.cut_off(ticket);
        }
        let is_refused = matches!(verdict, Verdict::Refused | Verdict::TooLarge);
        let refused = if is_refused { partition.refused(ticket, self.now) } else { None };
        // What is given up is in nobody's way.
        let rest = if is_refused { Duration::ZERO } else { cluster.backoff(partition.failures()) };
        // Other verdicts are of a broker that has not taken it.
        let in_doubt = matches!(verdict, Verdict::Retry | Verdict::Refresh);
        partition.failed(ticket, in_doubt, self.now + rest);
        match verdict {
            Verdict::Refresh => cluster.refresh_metadata(self.now),
            Verdict::Identity => self.identity = None,
            Verdict::Refused | Verdict::TooLarge => self.bump_epoch(),
            Verdict::Sequence if in_the_way => self.bump_epoch(),
            Verdict::Sequence | Verdict::Retry | Verdict::Acknowledged => {}
        }
        if let Some((sealed, code)) = refused.zip(code) {
            self.refused += u64::from(sealed.records());
            self.topics[topic].lose(sealed.records(), code, self.now);
            self.release(sealed);
        }
    }

    /// Splits a batch that is too large; false where it is a single record. Its halves take a header more than it did.
    fn split(&mut self, ticket: Ticket, topic: usize, index: usize) -> bool {
        let partition = &mut self.topics[topic].partitions[index];
        let Some((whole, size)) = partition.split(ticket, self.settings.codec, &mut self.pool) else { return false };
        log::debug!("partition {index} of topic {}: {} bytes are too much, split", self.topics[topic].name, whole.len());
        self.bytes += size;
        self.records += u64::from(whole.records());
        self.release(whole);
        true
    }

    /// A batch has left: its memory is used again.
    fn release(&mut self, sealed: Sealed) {
        self.bytes -= sealed.len();
        self.records -= u64::from(sealed.records());
        if let Some(buffer) = sealed.into_buffer() {
            self.pool.give(buffer);
        }
    }
}

/// What the answer says of a partition; `None` when it says nothing.
fn part_of<'a>(answer: &'a ProduceResponse, topic: &Topic, index: usize) -> Option<&'a PartitionProduceResponse> {
    // From version 13 on topics go by their id, and have no name.
    let of = answer
        .responses
        .iter()
        .find(|of| of.name.0.as_str() == topic.name || (of.name.is_empty() && of.topic_id == topic.id));
    of?.partition_responses.iter().find(|part| usize::try_from(part.index) == Ok(index))
}
