//! A batch on its way to the broker, sent again until every record of it is confirmed or refused for good.

use super::batch::{Batch, BatchRecord};
use super::worker::Failure;
use crate::bus::kafka::murmur2::partition_for;
use kafka::client::{KafkaClient, ProduceConfirm, ProduceMessage, RequiredAcks};
use kafka::error::KafkaCode;
use std::collections::{HashMap, HashSet};
use std::time::Duration;

/// How long the broker may wait for its replicas.
const ACK_TIME_MAX: Duration = Duration::from_secs(10);
/// Refusals in a row before the connection is given up.
const REFUSALS_MAX: u32 = 5;
/// Refusals without a name known to the crate before they are held to be the record's fault.
const UNNAMED_REFUSALS_MAX: u32 = 20;

/// The batch, and how far it got.
pub(super) struct Sending {
    batch: Batch,
    /// Records that are not confirmed yet, in order.
    pending: Vec<usize>,
    /// One record a partition and round, so that a refusal names it.
    singly: bool,
    refusals: u32,
    unnamed_refusals: u32,
    /// Records given up.
    refused: u64,
}

/// The topics that records go to, by `TopicId`.
pub(super) struct Topics {
    /// Their names; one without is a place that is not used.
    pub(super) names: Vec<String>,
    /// How many partitions each has.
    pub(super) partitions: Vec<i32>,
}

/// A topic and a partition of it.
type Place<'a> = (&'a str, i32);

impl Topics {
    /// The number of partitions is to be filled in before a round.
    pub(super) fn new(names: Vec<String>) -> Self {
        Self { names, partitions: Vec::new() }
    }

    fn place(&self, record: BatchRecord<'_>) -> Place<'_> {
        let topic = usize::from(record.topic.0);
        (&self.names[topic], partition_for(record.key, self.partitions[topic]))
    }
}

impl Sending {
    pub(super) fn new(batch: Batch) -> Self {
        let pending = (0..batch.len() as usize).collect();
        Self { batch, pending, singly: false, refusals: 0, unnamed_refusals: 0, refused: 0 }
    }

    pub(super) fn is_done(&self) -> bool {
        self.pending.is_empty()
    }

    /// The batch, and how many records of it the broker refused for good.
    pub(super) fn finish(self) -> (Batch, u64) {
        (self.batch, self.refused)
    }

    /// Whether the broker has refused so often that the connection is to be given up.
    pub(super) fn is_stuck(&self) -> bool {
        self.refusals >= REFUSALS_MAX
    }

    /// Sends what is pending once and takes in what the broker says. What remains pending keeps its order. A refusal that may
    /// pass is returned: the leader moved, replicas are missing.
    pub(super) fn round(&mut self, client: &mut KafkaClient, topics: &Topics) -> Result<Option<Failure>, Failure> {
        let round = self.next_round(topics);
        let messages = round.iter().map(|&index| {
            let record = self.batch.record(index);
            let (topic, partition) = topics.place(record);
            ProduceMessage::new(topic, partition, Some(record.key), Some(record.value))
        });
        // `Ok` says only that the broker answered: each partition has a word of its own.
        let confirms = client.produce_messages(RequiredAcks::All, ACK_TIME_MAX, messages)?;
        Ok(self.take_in(&round, topics, &confirms))
    }

    fn next_round(&self, topics: &Topics) -> Vec<usize> {
        let mut taken = HashSet::new();
        let first = |index: &usize| !self.singly || taken.insert(topics.place(self.batch.record(*index)));
        self.pending.iter().copied().filter(first).collect()
    }

    fn take_in(&mut self, round: &[usize], topics: &Topics, confirms: &[ProduceConfirm]) -> Option<Failure> {
        let answers: HashMap<Place<'_>, Result<i64, KafkaCode>> = confirms
            .iter()
            .flat_map(|topic| topic.partition_confirms.iter().map(|one| ((topic.topic.as_str(), one.partition), one.offset)))
            .collect();
        let mut settled = Vec::with_capacity(round.len());
        let mut refusal = None;
        let mut search = false;
        for &index in round {
            let place = topics.place(self.batch.record(index));
            match answers.get(&place).copied().unwrap_or(Err(KafkaCode::Unknown)) {
                Ok(_) => settled.push(index),
                Err(code) if !self.blames_record(code) => refusal = Some((place, code)),
                Err(_) if !self.singly => search = true,
                Err(code) => {
                    self.give_up(index, place, code);
                    settled.push(index);
                }
            }
        }
        self.pending.retain(|index| settled.binary_search(index).is_err());
        self.singly |= search;
        let ((topic, partition), code) = match refusal {
            Some(refusal) => refusal,
            None => {
                self.refusals = 0;
                return None;
            }
        };
        self.refusals += 1;
        self.unnamed_refusals += u32::from(code == KafkaCode::Unknown);
        Some(Failure::Refused { topic: topic.to_owned(), partition, code })
    }

    /// Whether the broker would refuse the record however often it is sent.
    fn blames_record(&self, code: KafkaCode) -> bool {
        match code {
            KafkaCode::MessageSizeTooLarge
            | KafkaCode::RecordListTooLarge
            | KafkaCode::InvalidMessageSize
            | KafkaCode::InvalidTimestamp => true,
            KafkaCode::Unknown => self.unnamed_refusals >= UNNAMED_REFUSALS_MAX,
            _ => false,
        }
    }

    fn give_up(&mut self, index: usize, (topic, partition): Place<'_>, code: KafkaCode) {
        let record = self.batch.record(index);
        let (key, bytes) = (String::from_utf8_lossy(record.key), record.value.len());
        log::error!(
            "topic {topic}, partition {partition}: record of {bytes} bytes, key `{key}`, refused for good: {code:?}"
        );
        self.refused += 1;
    }
}
