//! How far each partition has been read, here and as the coordinator knows it.

use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::{OffsetCommitResponse, OffsetFetchResponse, TopicName};
use std::collections::BTreeMap;

/// Where reading a partition begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The coordinator has not said yet.
    Unknown,
    /// Where the group had come to.
    Committed {
        /// The next offset to read.
        offset: i64,
        /// Leader epoch of the record before it, -1 when unknown.
        leader_epoch: i32,
    },
    /// The group has never read the partition: `auto_offset_reset` says where to begin.
    Absent,
}

/// Offsets of the partitions that are assigned.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    partitions: BTreeMap<i32, Progress>,
    /// Were ours when the topic was created anew: what is committed for them, if anything is, we committed for the one before.
    former: Vec<i32>,
}

#[derive(Debug)]
struct Progress {
    start: Start,
    /// Next offset and leader epoch after what the caller is done with.
    done: Option<(i64, i32)>,
    sent: Option<i64>,
    committed: Option<i64>,
}

impl Progress {
    fn is_dirty(&self) -> bool {
        self.done.is_some_and(|(next, _)| self.committed != Some(next))
    }
}

impl Offsets {
    /// Keeps the progress of `partitions`, forgets every other, begins anew with those it did not have.
    pub(super) fn assign(&mut self, partitions: &[i32]) {
        self.partitions.retain(|partition, _| partitions.contains(partition));
        for &partition in partitions {
            let start = if self.former.contains(&partition) { Start::Absent } else { Start::Unknown };
            self.partitions.entry(partition).or_insert(Progress { start, done: None, sent: None, committed: None });
        }
        if !partitions.is_empty() {
            self.former.clear();
        }
    }

    /// The topic is another one of the same name.
    pub(super) fn begin_anew(&mut self) {
        self.former = std::mem::take(&mut self.partitions).into_keys().collect();
    }

    pub(super) fn start(&self, partition: i32) -> Start {
        self.partitions.get(&partition).map_or(Start::Unknown, |progress| progress.start)
    }

    pub(super) fn done(&mut self, partition: i32, next: i64, leader_epoch: i32) {
        if let Some(progress) = self.partitions.get_mut(&partition) {
            progress.done = Some((next, leader_epoch));
        }
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.partitions.values().any(Progress::is_dirty)
    }

    /// Whether something of a partition that `target` lacks is not committed.
    pub(super) fn is_dirty_outside(&self, target: &[i32]) -> bool {
        self.partitions.iter().any(|(partition, progress)| progress.is_dirty() && !target.contains(partition))
    }

    /// Partitions whose beginning is unknown.
    pub(super) fn unknown(&self) -> Vec<i32> {
        self.partitions
            .iter()
            .filter(|(_, progress)| progress.start == Start::Unknown)
            .map(|(&partition, _)| partition)
            .collect()
    }

    /// What there is to commit, for a request.
    pub(super) fn take_commit(&mut self, topic: TopicName, with_epoch: bool) -> OffsetCommitRequestTopic {
        let dirty =
            self.partitions.iter_mut().filter(|(_, progress)| progress.is_dirty()).filter_map(|(&index, progress)| {
                let (next, leader_epoch) = progress.done?;
                progress.sent = Some(next);
                let partition =
                    OffsetCommitRequestPartition::default().with_partition_index(index).with_committed_offset(next);
                Some(partition.with_committed_leader_epoch(if with_epoch { leader_epoch } else { -1 }))
            });
        OffsetCommitRequestTopic::default().with_partitions(dirty.collect()).with_name(topic)
    }

    /// Takes the answer to a commit; gives the first error in it. What the answer left out counts as an unknown error.
    pub(super) fn committed(&mut self, answer: &OffsetCommitResponse) -> i16 {
        let mut error_code = 0;
        for answered in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            let Some(progress) = self.partitions.get_mut(&answered.partition_index) else { continue };
            match (answered.error_code, progress.sent.take()) {
                (0, Some(sent)) => progress.committed = Some(sent),
                (code, _) => error_code = first(error_code, code),
            }
        }
        let left_out = self.partitions.values_mut().filter_map(|progress| progress.sent.take()).count() > 0;
        first(error_code, if left_out { UNKNOWN_SERVER_ERROR } else { 0 })
    }

    /// Takes the answer to an OffsetFetch; gives the first error in it. What the answer left out counts as an unknown error.
    pub(super) fn fetched(&mut self, answer: &OffsetFetchResponse) -> i16 {
        // Up to version 7 the answer is about one group, later about a list of them.
        let single = answer.topics.iter().flat_map(|topic| &topic.partitions);
        let single = single.map(|p| (p.partition_index, p.committed_offset, p.committed_leader_epoch, p.error_code));
        let listed = answer.groups.iter().flat_map(|group| &group.topics).flat_map(|topic| &topic.partitions);
        let listed = listed.map(|p| (p.partition_index, p.committed_offset, p.committed_leader_epoch, p.error_code));
        let mut error_code = answer.groups.iter().map(|group| group.error_code).fold(answer.error_code, first);
        if error_code != 0 {
            return error_code;
        }
        for (partition, offset, leader_epoch, code) in single.chain(listed) {
            let Some(progress) = self.partitions.get_mut(&partition) else { continue };
            if code != 0 {
                error_code = first(error_code, code);
            } else if offset < 0 {
                progress.start = Start::Absent;
            } else {
                progress.start = Start::Committed { offset, leader_epoch };
                progress.committed = Some(offset);
            }
        }
        first(error_code, if self.unknown().is_empty() { 0 } else { UNKNOWN_SERVER_ERROR })
    }
}

const UNKNOWN_SERVER_ERROR: i16 = -1;

/// The first of two error codes that is one.
fn first(a: i16, b: i16) -> i16 {
    if a != 0 { a } else { b }
}
