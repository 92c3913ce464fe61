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
//! name until the session has timed out. So the id of a static member follows from its name: with it the next run says, once,
//! that the one before has gone. A process that has been fenced does not: then another one lives under its name.

use super::settings::GroupSettings;
use kafka_protocol::messages::consumer_group_heartbeat_request::TopicPartitions;
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};
use kafka_protocol::protocol::StrBytes;
use sha2::{Digest as _, Sha256};
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
    /// What the coordinator knows that we read; `None` makes the next heartbeat tell everything.
    told: Option<Vec<i32>>,
    telling: Vec<i32>,
    release: Release,
}

/// Whether the place of a run before this one may be, or is to be, given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Release {
    /// It has none, or has been asked for already.
    No,
    Allowed,
    Due,
}

impl Modern {
    pub(super) fn new(settings: &GroupSettings) -> Self {
        let (id, release) = match &settings.instance_id {
            Some(instance_id) => (uuid_of(&[&settings.group_id, instance_id]), Release::Allowed),
            None => (random_uuid(), Release::No),
        };
        let member_id = StrBytes::from_string(id.to_string());
        Self { member_id, epoch: 0, heartbeat_at: None, told: None, telling: Vec::new(), release }
    }

    /// The place of our name is taken: by the run before this one, if we have not been a member yet.
    pub(super) fn unreleased(&mut self) {
        if self.release == Release::Allowed {
            self.release = Release::Due;
        }
    }

    pub(super) fn wants_to_release(&self) -> bool {
        self.release == Release::Due
    }

    /// Says that the run before this one has gone.
    pub(super) fn release(&mut self, settings: &GroupSettings) -> ConsumerGroupHeartbeatRequest {
        self.release = Release::No;
        self.gone(settings, LEAVE_STATIC)
    }

    pub(super) const fn is_member(&self) -> bool {
        self.epoch > 0
    }

    /// Whether the coordinator may not know what it should.
    pub(super) const fn is_unheard(&self) -> bool {
        self.told.is_none()
    }

    pub(super) fn is_due(&self, now: Instant, assigned: &[i32]) -> bool {
        self.told.as_deref() != Some(assigned) || self.heartbeat_at.is_none_or(|at| at <= now)
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
        if self.told.is_none() {
            request = request
                .with_rebalance_timeout_ms(settings.rebalance_timeout.as_millis() as i32)
                .with_subscribed_topic_names(Some(vec![settings.topic_name()]));
        }
        if self.told.as_deref() != Some(assigned) {
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
        self.release = Release::No;
        self.told = Some(std::mem::take(&mut self.telling));
        let interval = Duration::from_millis(u64::try_from(answer.heartbeat_interval_ms).unwrap_or(0).max(100));
        self.heartbeat_at = Some(now + interval);
        let assignment = answer.assignment.as_ref()?;
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
    }

    pub(super) fn leave(&self, settings: &GroupSettings) -> Option<ConsumerGroupHeartbeatRequest> {
        let epoch = if settings.instance_id.is_some() { LEAVE_STATIC } else { LEAVE };
        self.is_member().then(|| self.gone(settings, epoch))
    }

    fn gone(&self, settings: &GroupSettings, epoch: i32) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(settings.group_name())
            .with_member_id(self.member_id.clone())
            .with_member_epoch(epoch)
            .with_instance_id(settings.instance_id.clone().map(StrBytes::from_string))
            .with_rebalance_timeout_ms(-1)
    }

    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.heartbeat_at
    }
}

/// The standard library seeds its hashers from the operating system; nothing here is a secret.
fn random_uuid() -> Uuid {
    let word = || RandomState::new().build_hasher().finish();
    uuid::Builder::from_random_bytes(((u128::from(word()) << 64) | u128::from(word())).to_be_bytes()).into_uuid()
}

/// The same for the same names, and no other (version 8 of RFC 9562).
fn uuid_of(names: &[&str]) -> Uuid {
    let mut hash = Sha256::new();
    for name in names {
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}
