//! What a group member is told at its start.

use kafka_protocol::messages::{GroupId, TopicName};
use kafka_protocol::protocol::StrBytes;
use std::time::Duration;

/// Settings of a group member; names and defaults are those of the Java client unless said otherwise.
#[derive(Clone, Debug)]
pub struct GroupSettings {
    /// `group.id`
    pub group_id: String,
    /// The topic to read.
    pub topic: String,
    /// `group.instance.id`: a name that outlives the process. Its next run gets the same partitions without a rebalance, if it
    /// starts within the session time-out.
    pub instance_id: Option<String>,
    /// The member id of the run before this one, where the caller knows it, and knows that this run is no more. The coordinator is
    /// told that it has gone, if it still has the instance id.
    pub previous_member_id: Option<String>,
    /// `group.protocol`: whether to use the protocol of KIP-848 where the broker offers it.
    pub modern: bool,
    /// `session.timeout.ms`: unheard of for so long, a member is taken for dead. (The modern protocol has it on the broker.)
    pub session_timeout: Duration,
    /// `heartbeat.interval.ms` of the classic protocol.
    pub heartbeat_interval: Duration,
    /// `max.poll.interval.ms` as far as a rebalance goes: how long it waits for a member to join. A tick loop needs no 5 minutes.
    pub rebalance_timeout: Duration,
    /// `auto.commit.interval.ms`: the most that is read again after a crash. Shorter than the Java client's 5 s.
    pub commit_interval: Duration,
    /// How long a leader waits for the metadata of a topic before it leaves it out.
    pub metadata_wait: Duration,
    /// The delay after an error that somebody has to mend first, such as a missing permission.
    pub backoff_refused: Duration,
}

impl GroupSettings {
    /// Defaults for a group and a topic.
    #[must_use]
    pub fn new(group_id: &str, topic: &str) -> Self {
        Self {
            group_id: group_id.into(),
            topic: topic.into(),
            instance_id: None,
            previous_member_id: None,
            modern: true,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            rebalance_timeout: Duration::from_secs(60),
            commit_interval: Duration::from_millis(500),
            metadata_wait: Duration::from_secs(5),
            backoff_refused: Duration::from_secs(15),
        }
    }

    pub(super) fn group_name(&self) -> GroupId {
        GroupId(StrBytes::from_string(self.group_id.clone()))
    }

    pub(super) fn topic_name(&self) -> TopicName {
        TopicName(StrBytes::from_string(self.topic.clone()))
    }

    /// The instance id for a request that knows it from version `since` on. An older broker has no static members: there the
    /// member is a dynamic one.
    pub(super) fn instance_id_since(&self, version: i16, since: i16) -> Option<StrBytes> {
        self.instance_id.clone().filter(|_| version >= since).map(StrBytes::from_string)
    }
}
