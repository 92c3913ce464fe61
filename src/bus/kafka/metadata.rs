//! What is known of the cluster: brokers, topics, leaders.

use super::settings::Endpoint;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::metadata_response::{MetadataResponsePartition, MetadataResponseTopic};
use kafka_protocol::messages::{MetadataResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;

/// Brokers and the topics that were asked for, as of the last answer.
#[derive(Debug, Default)]
pub struct Metadata {
    brokers: BTreeMap<i32, Endpoint>,
    controller: Option<i32>,
    topics: BTreeMap<StrBytes, Topic>,
    revision: u64,
}

/// A topic that was asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    /// Its id; nil before Kafka 2.8.
    pub id: uuid::Uuid,
    /// Its partitions, by number. Empty: unknown so far, or there is no such topic.
    pub partitions: Vec<Partition>,
    /// The error code of the last answer about it, 0 for none.
    pub error_code: i16,
}

/// A partition of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The broker that leads it, if any does.
    pub leader: Option<i32>,
    /// How often the leader has changed; -1 where the broker does not tell.
    pub leader_epoch: i32,
}

impl Metadata {
    /// Where a broker is.
    #[must_use]
    pub fn broker(&self, id: i32) -> Option<&Endpoint> {
        self.brokers.get(&id)
    }

    /// Every broker's id.
    pub fn broker_ids(&self) -> impl ExactSizeIterator<Item = i32> {
        self.brokers.keys().copied()
    }

    /// The broker that takes requests to create topics.
    #[must_use]
    pub const fn controller(&self) -> Option<i32> {
        self.controller
    }

    /// A topic that was asked for.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(name.as_bytes())
    }

    /// Who leads a partition.
    #[must_use]
    pub fn leader(&self, topic: &str, partition: i32) -> Option<i32> {
        self.partition(topic, partition)?.leader
    }

    /// The epoch of its leader; -1 where that is not known.
    #[must_use]
    pub fn leader_epoch(&self, topic: &str, partition: i32) -> i32 {
        self.partition(topic, partition).map_or(-1, |partition| partition.leader_epoch)
    }

    fn partition(&self, topic: &str, partition: i32) -> Option<&Partition> {
        self.topic(topic)?.partitions.get(usize::try_from(partition).ok()?)
    }

    /// Grows whenever an answer was taken, so that what was derived from it can be kept until then.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Asks for a topic from now on; false when it was asked for already.
    pub(super) fn want(&mut self, name: &str) -> bool {
        let missing = !self.topics.contains_key(name.as_bytes());
        if missing {
            self.topics.insert(StrBytes::from_string(name.into()), Topic::default());
        }
        missing
    }

    /// The topics that are asked for.
    pub(super) fn wanted(&self) -> impl Iterator<Item = TopicName> {
        self.topics.keys().cloned().map(TopicName)
    }

    /// Takes an answer. True when something in it is on the move, and worth asking again soon.
    pub(super) fn update(&mut self, answer: &MetadataResponse) -> bool {
        let endpoint = |host: &StrBytes, port: i32| Some(Endpoint { host: host.to_string(), port: port.try_into().ok()? });
        let brokers = answer.brokers.iter().filter_map(|b| Some((b.node_id.0, endpoint(&b.host, b.port)?)));
        self.brokers = brokers.collect();
        self.controller = Some(answer.controller_id.0).filter(|id| *id >= 0);
        let mut unsettled = false;
        for answered in &answer.topics {
            let name = answered.name.as_ref().map(|name| &name.0);
            if let Some(topic) = name.and_then(|name| self.topics.get_mut(name)) {
                topic.update(answered);
                unsettled |= topic.is_unsettled();
            }
        }
        self.revision += 1;
        unsettled
    }
}

impl Topic {
    fn update(&mut self, answer: &MetadataResponseTopic) {
        self.error_code = answer.error_code;
        if answer.error_code != 0 {
            if answer.error_code == ResponseError::UnknownTopicOrPartition.code() {
                // Created again, it begins with the first epoch.
                self.partitions.iter_mut().for_each(|partition| partition.leader_epoch = -1);
            }
            return;
        }
        if self.id != answer.topic_id {
            // Deleted and created again: what was known is of another topic.
            *self = Self { id: answer.topic_id, ..Self::default() };
        }
        let mut answered: Vec<&MetadataResponsePartition> = answer.partitions.iter().collect();
        answered.sort_by_key(|partition| partition.partition_index);
        let known = std::mem::take(&mut self.partitions);
        // Partitions are numbered from 0 without gaps; an answer that says otherwise is used as far as it does not.
        for (index, answer) in answered.iter().enumerate().take_while(|(index, p)| p.partition_index == *index as i32) {
            let leader = Some(answer.leader_id.0).filter(|id| *id >= 0);
            let new = Partition { leader, leader_epoch: answer.leader_epoch };
            let old = known.get(index).copied().filter(|old| old.leader_epoch > new.leader_epoch && new.leader_epoch >= 0);
            // A broker that lags behind must not bring back a leader that was already replaced (KIP-320).
            self.partitions.push(old.unwrap_or(new));
        }
    }

    fn is_unsettled(&self) -> bool {
        self.error_code != 0
            || self.partitions.is_empty()
            || self.partitions.iter().any(|partition| partition.leader.is_none())
    }
}
