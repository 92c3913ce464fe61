//! What brokers are asked.

use super::super::cluster::{Cluster, Owner};
use super::super::error::Failure;
use super::super::link::{Lane, Target};
use super::trouble::{Cause, Problem};
use super::{BUFFERS_MAX, Fetch, Fetcher};
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::{FetchRequest, ListOffsetsRequest, TopicName};
use kafka_protocol::protocol::VersionRange;
use std::collections::BTreeMap;
use std::time::Instant;

/// The highest version of Fetch that names topics instead of their ids.
const FETCH_VERSION_BY_NAME: i16 = 12;
/// Timestamps that stand for the first and the next offset of a partition.
const EARLIEST: i64 = -2;
const LATEST: i64 = -1;
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

    fn leader_epoch(&self, index: i32, cluster: &Cluster) -> i32 {
        let topic = cluster.metadata().topic(&self.topic);
        let partition = topic.and_then(|topic| topic.partitions.get(usize::try_from(index).ok()?));
        partition.map_or(-1, |partition| partition.leader_epoch)
    }

    fn list_offsets(&mut self, broker: i32, indices: &[i32], now: Instant, cluster: &mut Cluster) -> Result<(), Failure> {
        let target = Target { broker, lane: Lane::Main };
        let Some(versions) = cluster.ready(target) else { return Ok(()) };
        let version = versions.highest::<ListOffsetsRequest>()?;
        let timestamp = if self.settings.from_earliest { EARLIEST } else { LATEST };
        let partitions = indices.iter().map(|&index| {
            let partition = ListOffsetsPartition::default().with_partition_index(index).with_timestamp(timestamp);
            partition.with_current_leader_epoch(if version >= 4 { self.leader_epoch(index, cluster) } else { -1 })
        });
        let topic =
            ListOffsetsTopic::default().with_name(TopicName(self.topic.clone())).with_partitions(partitions.collect());
        let request = ListOffsetsRequest::default()
            .with_replica_id((-1).into())
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
        let max = if topic_id.is_nil() { FETCH_VERSION_BY_NAME } else { i16::MAX };
        let known = <FetchRequest as kafka_protocol::protocol::Message>::VERSIONS;
        let version = versions.highest_in::<FetchRequest>(known.intersect(&VersionRange { min: 0, max }))?;
        let from: Vec<(i32, i64)> =
            indices.iter().filter_map(|index| Some((*index, self.partitions.get(index)?.fetch_from))).collect();
        let partitions = from.iter().map(|&(index, offset)| {
            FetchPartition::default()
                .with_partition(index)
                .with_fetch_offset(offset)
                .with_current_leader_epoch(if version >= 9 { self.leader_epoch(index, cluster) } else { -1 })
                .with_partition_max_bytes(self.settings.partition_bytes_max)
        });
        let topic = FetchTopic::default().with_partitions(partitions.collect());
        let topic = match version > FETCH_VERSION_BY_NAME {
            true => topic.with_topic_id(topic_id),
            false => topic.with_topic(TopicName(self.topic.clone())),
        };
        let request = FetchRequest::default()
            .with_replica_id((-1).into())
            .with_max_wait_ms(self.settings.max_wait.as_millis() as i32)
            .with_min_bytes(1)
            .with_max_bytes(self.settings.bytes_max)
            .with_isolation_level(READ_COMMITTED)
            .with_session_epoch(-1)
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
