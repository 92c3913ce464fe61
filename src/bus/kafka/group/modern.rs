//! Membership by the protocol of KIP-848: the coordinator works out the assignment, and one request does everything.
//!
//! ```text
//!  epoch 0 ── heartbeat with everything ──> epoch n ── heartbeat every interval the broker names
//!     ^                                       │ ^
//!     │                        new assignment │ │ heartbeat with what is read now,
//!     │                                       v │ once the rest is committed and given up
//!     └── fenced, unknown member ───────── reconcile
//! ```
//!
//! A static member that was killed is still in the group when its next run begins, and the coordinator lets nobody join under its
//! name (`UNRELEASED_INSTANCE_ID`) until that member has said that it goes, or its session has timed out:
//!
//! ```text
//!  join ── unreleased ──> the run before this one has gone ── fenced: not who has the name ──> we ourselves have gone
//!    ^                        │ done                                                           │ done        │ fenced
//!    └────────────────────────┴────────────────────────────────────────────────────────────────┘             v
//!                                                                                             another process has the name
//! ```
//!
//! That we ourselves have it comes of a join whose answer was lost. The id is another one in each process, so that one that was
//! never a member knows that it comes second and waits, and one that was a member knows that it has been replaced.

use super::settings::GroupSettings;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use kafka_protocol::protocol::StrBytes;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// Epochs of a member that leaves: for good, and for its next run to come back.
const LEAVE: i32 = -1;
const LEAVE_STATIC: i32 = -2;

#[derive(Debug)]
pub(super) struct Modern {
    pub(super) member_id: StrBytes,
    /// 0 while joining.
    pub(super) epoch: i32,
    heartbeat_at: Option<Instant>,
    /// Between two heartbeats; the coordinator names it.
    interval: Duration,
    /// What the coordinator knows that we read; `None` makes the next heartbeat tell everything.
    told: Option<Vec<i32>>,
    telling: Vec<i32>,
    /// An assignment has come, and the coordinator waits to hear what we read by it, were it no other than before: what it has taken
    /// away of a topic that is gone was never ours to give up.
    owes_answer: bool,
    /// Of the run before this one; until it is not, or no longer, who has our name.
    previous_id: Option<StrBytes>,
    /// Before the next join, a member that may have our name is to be declared gone.
    releases: bool,
    has_joined: bool,
}

/// What to do when a member that was declared gone was not who has our name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotHeld {
    /// It may be the next.
    AskNext,
    /// It is another process.
    ByAnother,
}

impl Modern {
    pub(super) fn new(settings: &GroupSettings) -> Self {
        Self {
            member_id: StrBytes::from_string(random_uuid().to_string()),
            epoch: 0,
            heartbeat_at: None,
            interval: Duration::ZERO,
            told: None,
            telling: Vec::new(),
            owes_answer: false,
            previous_id: settings.previous_member_id.clone().map(StrBytes::from_string),
            releases: false,
            has_joined: false,
        }
    }

    /// Our name is taken.
    pub(super) fn unreleased(&mut self) {
        self.releases = true;
    }

    pub(super) const fn wants_to_release(&self) -> bool {
        self.releases
    }

    /// Says that the run before this one has gone, or that we have.
    pub(super) fn release(&self, settings: &GroupSettings) -> ConsumerGroupHeartbeatRequest {
        gone(settings, self.previous_id.as_ref().unwrap_or(&self.member_id), LEAVE_STATIC)
    }

    /// The name is free.
    pub(super) fn released(&mut self) {
        self.previous_id = None;
        self.releases = false;
    }

    /// Who was declared gone was not who has our name.
    pub(super) fn not_held(&mut self) -> NotHeld {
        if self.previous_id.take().is_some() {
            return NotHeld::AskNext;
        }
        self.releases = false;
        NotHeld::ByAnother
    }

    /// Whether this process has been a member.
    pub(super) const fn has_joined(&self) -> bool {
        self.has_joined
    }

    pub(super) const fn is_member(&self) -> bool {
        self.epoch > 0
    }

    /// How long it is certain after a heartbeat that the session has not ended. The coordinator does not tell its session time-out;
    /// nobody sets it below three heartbeats.
    pub(super) fn certainty(&self) -> Duration {
        3 * self.interval
    }

    /// Whether the coordinator may not know what it should.
    pub(super) const fn is_unheard(&self) -> bool {
        self.told.is_none()
    }

    pub(super) fn is_due(&self, now: Instant, assigned: &[i32]) -> bool {
        self.owes_answer || self.told.as_deref() != Some(assigned) || self.heartbeat_at.is_none_or(|at| at <= now)
    }

    /// The next heartbeat. `topic` is the id of the topic that is read.
    pub(super) fn heartbeat(
        &mut self,
        settings: &GroupSettings,
        topic: Uuid,
        assigned: &[i32],
    ) -> ConsumerGroupHeartbeatRequest {
        let mut request = ConsumerGroupHeartbeatRequest::default()
            .with_group_id(settings.group_name())
            .with_member_id(self.member_id.clone())
            .with_member_epoch(self.epoch)
            .with_instance_id(settings.instance_id.clone().map(StrBytes::from_string))
            .with_rebalance_timeout_ms(-1);
        // Who joins says everything.
        let told = self.told.as_deref().filter(|_| self.is_member());
        if told.is_none() {
            request = request
                .with_rebalance_timeout_ms(settings.rebalance_timeout.as_millis() as i32)
                .with_subscribed_topic_names(Some(vec![settings.topic_name()]));
        }
        if std::mem::take(&mut self.owes_answer) || told != Some(assigned) {
            let owned = TopicPartitions::default().with_topic_id(topic).with_partitions(assigned.to_vec());
            request = request.with_topic_partitions(Some(if assigned.is_empty() { Vec::new() } else { vec![owned] }));
        }
        self.telling = assigned.to_vec();
        request
    }

    /// Takes the answer; gives the assignment by topic id when it has changed.
    pub(super) fn heard(&mut self, now: Instant, answer: &ConsumerGroupHeartbeatResponse) -> Option<Vec<(Uuid, Vec<i32>)>> {
        if let Some(member_id) = answer.member_id.clone().filter(|id| !id.is_empty()) {
            self.member_id = member_id;
        }
        self.epoch = answer.member_epoch;
        self.previous_id = None;
        self.has_joined = true;
        self.told = Some(std::mem::take(&mut self.telling));
        self.interval = Duration::from_millis(u64::try_from(answer.heartbeat_interval_ms).unwrap_or(0).max(100));
        self.heartbeat_at = Some(now + self.interval);
        let assignment = answer.assignment.as_ref()?;
        self.owes_answer = true;
        Some(assignment.topic_partitions.iter().map(|topic| (topic.topic_id, topic.partitions.clone())).collect())
    }

    /// The coordinator may not have taken the last heartbeat: the next one tells everything.
    pub(super) fn unheard(&mut self) {
        self.told = None;
    }

    /// The coordinator has put us out: join again under the same id.
    pub(super) fn forget(&mut self) {
        self.epoch = 0;
        self.told = None;
        self.heartbeat_at = None;
        self.releases = false;
    }

    pub(super) fn leave(&self, settings: &GroupSettings) -> Option<ConsumerGroupHeartbeatRequest> {
        let epoch = if settings.instance_id.is_some() { LEAVE_STATIC } else { LEAVE };
        self.is_member().then(|| gone(settings, &self.member_id, epoch))
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.heartbeat_at
    }
}

fn gone(settings: &GroupSettings, member_id: &StrBytes, epoch: i32) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest::default()
        .with_group_id(settings.group_name())
        .with_member_id(member_id.clone())
        .with_member_epoch(epoch)
        .with_instance_id(settings.instance_id.clone().map(StrBytes::from_string))
        .with_rebalance_timeout_ms(-1)
}

/// The standard library seeds its hashers from the operating system; nothing here is a secret.
fn random_uuid() -> Uuid {
    let word = || RandomState::new().build_hasher().finish();
    uuid::Builder::from_random_bytes(((u128::from(word()) << 64) | u128::from(word())).to_be_bytes()).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::consumer_group_heartbeat_response::Assignment;

    #[test]
    fn each_assignment_is_answered_with_what_is_read_though_that_has_not_changed() {
        let now = crate::clock::now();
        let settings = GroupSettings::new("g", "orders");
        let mut modern = Modern::new(&settings);
        let told = |modern: &mut Modern| modern.heartbeat(&settings, Uuid::nil(), &[]).topic_partitions;
        let answer = ConsumerGroupHeartbeatResponse::default().with_member_epoch(1).with_heartbeat_interval_ms(5_000);
        assert_eq!(told(&mut modern), Some(Vec::new()), "a join says everything");
        modern.heard(now, &answer);
        assert!(!modern.is_due(now, &[]));
        assert_eq!(told(&mut modern), None);
        modern.heard(now, &answer.with_assignment(Some(Assignment::default())));
        assert!(modern.is_due(now, &[]));
        assert_eq!(told(&mut modern), Some(Vec::new()));
    }
}
