//! What brokers are asked.

use super::super::cluster::{Cluster, Owner};
use super::super::error::Failure;
use super::super::link::{Lane, Target};
use super::super::log_api::{
    CONSUMER, EARLIEST, FETCH_BY_NAME, FETCH_WITH_EPOCH, LATEST, LIST_OFFSETS_WITH_EPOCH, NO_SESSION,
};
use super::trouble::{Cause, Problem};
use super::{BUFFERS_MAX, Fetch, Fetcher};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{FetchRequest, ListOffsetsRequest, TopicName};
use kafka_protocol::protocol::VersionRange;
use std::collections::BTreeMap;
use std::time::Instant;

/// Only records of committed transactions are read; for those without a transaction it makes no difference.
const READ_COMMITTED: i8 = 1;

impl Fetcher {
    /// Sends what is to be asked: the offsets to begin with, and a long poll to each leader that has none.
    pub(in super::super) fn poll(&mut self, now: Instant, cluster: &mut Cluster) {
        let leaders = self.leaders(now, cluster);
        for (&broker, indices) in &leaders {
            let (to_reset, placed): (Vec<i32>, Vec<i32>) =
                indices.iter().partition(|index| self.partitions.get(index).is_some_and(|partition| partition.reset));
            if !to_reset.is_empty()
                && let Err(failure) = self.list_offsets(broker, &to_reset, now, cluster)
            {
                self.failed(&to_reset, &failure, now, cluster);
            }
            let to_fetch: Vec<i32> = placed.into_iter().filter(|index| self.has_room(*index)).collect();
            if !to_fetch.is_empty()
                && self.fetches.values().all(|fetch| fetch.broker != broker)
                && let Err(failure) = self.fetch(broker, &to_fetch, now, cluster)
            {
                self.failed(&to_fetch, &failure, now, cluster);
            }
        }
    }

    fn has_room(&self, index: i32) -> bool {
        self.partitions.get(&index).is_some_and(|p| p.place.is_some() && p.buffers.len() < BUFFERS_MAX)
    }

    /// Partitions about which something may be asked, by the broker that leads them.
    fn leaders(&mut self, now: Instant, cluster: &mut Cluster) -> BTreeMap<i32, Vec<i32>> {
        let mut leaders: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        let mut leaderless = false;
        for (&index, partition) in &mut self.partitions {
            if partition.asked || partition.is_resting(now) || (partition.place.is_none() && !partition.reset) {
                continue;
            }
            match cluster.metadata().leader(&self.topic, index) {
                Some(broker) => leaders.entry(broker).or_default().push(index),
                None => {
                    leaderless = true;
                    Problem::note(&mut partition.problem, Cause::Leaderless, now);
                }
            }
        }
        if leaderless {
            cluster.refresh_metadata(now);
        }
        leaders
    }

    fn list_offsets(&mut self, broker: i32, indices: &[i32], now: Instant, cluster: &mut Cluster) -> Result<(), Failure> {
        let target = Target { broker, lane: Lane::Main };
        let Some(versions) = cluster.ready(target) else { return Ok(()) };
        let version = versions.highest::<ListOffsetsRequest>()?;
        let timestamp = if self.settings.from_earliest { EARLIEST } else { LATEST };
        let epoch = |index| cluster.metadata().leader_epoch(&self.topic, index);
        let partitions = indices.iter().map(|&index| {
            let partition = ListOffsetsPartition::default().with_partition_index(index).with_timestamp(timestamp);
            partition.with_current_leader_epoch(if version >= LIST_OFFSETS_WITH_EPOCH { epoch(index) } else { -1 })
        });
        let topic =
            ListOffsetsTopic::default().with_name(TopicName(self.topic.clone())).with_partitions(partitions.collect());
        let request = ListOffsetsRequest::default()
            .with_replica_id(CONSUMER.into())
            .with_isolation_level(if version >= 2 { READ_COMMITTED } else { 0 })
            .with_topics(vec![topic]);
        let deadline = now + cluster.settings().request_timeout;
        let ticket = cluster.send(Owner::Consumer, target, &request, version, deadline)?;
        self.listings.insert(ticket, indices.to_vec());
        self.mark_asked(indices, true);
        Ok(())
    }

    fn fetch(&mut self, broker: i32, indices: &[i32], now: Instant, cluster: &mut Cluster) -> Result<(), Failure> {
        let target = Target { broker, lane: Lane::Fetch };
        let topic_id = cluster.metadata().topic(&self.topic).map_or(uuid::Uuid::nil(), |topic| topic.id);
        let Some(versions) = cluster.ready(target) else { return Ok(()) };
        let max = if topic_id.is_nil() { FETCH_BY_NAME } else { i16::MAX };
        let known = <FetchRequest as kafka_protocol::protocol::Message>::VERSIONS;
        let version = versions.highest_in::<FetchRequest>(known.intersect(&VersionRange { min: 0, max }))?;
        let from: Vec<(i32, i64)> =
            indices.iter().filter_map(|index| Some((*index, self.partitions.get(index)?.fetch_from))).collect();
        let epoch = |index| cluster.metadata().leader_epoch(&self.topic, index);
        let partitions = from.iter().map(|&(index, offset)| {
            FetchPartition::default()
                .with_partition(index)
                .with_fetch_offset(offset)
                .with_current_leader_epoch(if version >= FETCH_WITH_EPOCH { epoch(index) } else { -1 })
                .with_partition_max_bytes(self.settings.partition_bytes_max)
        });
        let topic = FetchTopic::default().with_partitions(partitions.collect());
        let topic = match version > FETCH_BY_NAME {
            true => topic.with_topic_id(topic_id),
            false => topic.with_topic(TopicName(self.topic.clone())),
        };
        let request = FetchRequest::default()
            .with_replica_id(CONSUMER.into())
            .with_max_wait_ms(self.settings.max_wait.as_millis() as i32)
            .with_min_bytes(1)
            .with_max_bytes(self.settings.bytes_max)
            .with_isolation_level(READ_COMMITTED)
            .with_session_epoch(NO_SESSION)
            .with_topics(vec![topic]);
        let deadline = now + cluster.settings().request_timeout + self.settings.max_wait;
        let ticket = cluster.send(Owner::Consumer, target, &request, version, deadline)?;
        self.fetches.insert(ticket, Fetch { broker, from });
        self.mark_asked(indices, true);
        Ok(())
    }

    pub(super) fn mark_asked(&mut self, indices: &[i32], asked: bool) {
        for index in indices {
            if let Some(partition) = self.partitions.get_mut(index) {
                partition.asked = asked;
            }
        }
    }
}
