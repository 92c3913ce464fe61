//! Membership by the classic protocol: the members work out the assignment among themselves.
//!
//! ```text
//!              MEMBER_ID_REQUIRED
//!                 ┌───┐
//!                 │   v      leader: wait for metadata of every topic, then assign
//!  Unjoined ──> JoinGroup ──> Joined ──> SyncGroup ──> Stable ── Heartbeat every interval
//!     ^                                                  │
//!     └── rebalance in progress, partitions given up, ───┘
//!         partitions added, unknown member
//! ```
//!
//! Two assignors are offered. `cooperative-sticky` comes first: partitions that stay are read on through a rebalance. `range` is
//! for groups whose other members know nothing better, such as the Java client before 2.4.

use super::assign::{self, Assignment, Member, PartitionsOf};
use super::settings::GroupSettings;
use super::subscription::{decode_assignment, decode_subscription, encode_assignment, encode_subscription};
use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest, SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use std::time::Instant;

/// `protocol_type` of consumers.
const PROTOCOL_TYPE: &str = "consumer";

type Assignor = fn(&[Member], PartitionsOf<'_>) -> Vec<Assignment>;

/// How partitions are given out, the preferred way first.
struct Protocol {
    name: &'static str,
    assign: Assignor,
    /// Whether a partition changes hands only after its owner has given it up, so that it can be read on meanwhile.
    cooperative: bool,
}

const PROTOCOLS: [Protocol; 2] = [
    Protocol { name: "cooperative-sticky", assign: assign::cooperative_sticky, cooperative: true },
    Protocol { name: "range", assign: assign::range, cooperative: false },
];

#[derive(Debug)]
pub(super) struct Classic {
    pub(super) member_id: StrBytes,
    /// -1 while there is none.
    pub(super) generation: i32,
    /// The row of [`PROTOCOLS`] in use.
    protocol: usize,
    phase: Phase,
    heartbeat_at: Option<Instant>,
    /// While leading: the group's topics and how many partitions each had when they were given out.
    led: Vec<(String, Option<usize>)>,
}

#[derive(Debug)]
enum Phase {
    Unjoined,
    Joined {
        /// Empty unless leading.
        members: Vec<Member>,
        since: Instant,
    },
    Stable,
}

/// What to send next.
pub(super) enum Next {
    Join,
    Sync,
    Heartbeat,
    /// A leader waits for metadata of these.
    Nothing,
}

impl Classic {
    pub(super) fn new() -> Self {
        Self {
            member_id: StrBytes::new(),
            generation: -1,
            protocol: 0,
            phase: Phase::Unjoined,
            heartbeat_at: None,
            led: Vec::new(),
        }
    }

    /// Whether partitions may be read on during a rebalance.
    pub(super) fn is_cooperative(&self) -> bool {
        PROTOCOLS[self.protocol].cooperative
    }

    pub(super) fn is_stable(&self) -> bool {
        matches!(self.phase, Phase::Stable)
    }

    pub(super) fn wants_to_join(&self) -> bool {
        matches!(self.phase, Phase::Unjoined)
    }

    /// Whether the coordinator takes commits: not between the two halves of a rebalance.
    pub(super) fn may_commit(&self) -> bool {
        !matches!(self.phase, Phase::Joined { .. })
    }

    pub(super) fn rejoin(&mut self) {
        self.phase = Phase::Unjoined;
    }

    /// Topics of the group whose metadata a leader needs.
    pub(super) fn topics(&self) -> impl Iterator<Item = &str> {
        self.led.iter().map(|(topic, _)| topic.as_str())
    }

    pub(super) fn next(&mut self, now: Instant, settings: &GroupSettings, partitions_of: PartitionsOf<'_>) -> Next {
        match &self.phase {
            Phase::Unjoined => Next::Join,
            Phase::Joined { since, .. } => {
                let known = self.topics().all(|topic| partitions_of(topic).is_some());
                // A topic that does not exist must not keep the others from their partitions.
                let waited = now.saturating_duration_since(*since) > settings.metadata_wait;
                if known || waited { Next::Sync } else { Next::Nothing }
            }
            Phase::Stable => {
                if self.led.iter().any(|(topic, count)| partitions_of(topic) != *count) {
                    self.rejoin();
                    return Next::Join;
                }
                if self.heartbeat_at.is_none_or(|at| at <= now) { Next::Heartbeat } else { Next::Nothing }
            }
        }
    }

    /// # Errors
    /// A name is longer than the protocol allows.
    pub(super) fn join(&self, settings: &GroupSettings, version: i16, owned: &[i32]) -> Result<JoinGroupRequest, String> {
        let owned = if self.generation < 0 { &[][..] } else { owned };
        let metadata = encode_subscription(&settings.topic, owned, self.generation)?;
        let protocols = PROTOCOLS.iter().map(|protocol| {
            JoinGroupRequestProtocol::default()
                .with_name(StrBytes::from_static_str(protocol.name))
                .with_metadata(metadata.clone())
        });
        Ok(JoinGroupRequest::default()
            .with_group_id(settings.group_name())
            .with_session_timeout_ms(settings.session_timeout.as_millis() as i32)
            .with_rebalance_timeout_ms(settings.rebalance_timeout.as_millis() as i32)
            .with_member_id(self.member_id.clone())
            .with_group_instance_id(settings.instance_id_since(version, 5))
            .with_protocol_type(StrBytes::from_static_str(PROTOCOL_TYPE))
            .with_protocols(protocols.collect()))
    }

    /// Takes the id that the coordinator wants us to join with.
    pub(super) fn named(&mut self, member_id: StrBytes) {
        self.member_id = member_id;
    }

    /// # Errors
    /// The answer names a protocol that was not offered, or its members' metadata cannot be read.
    pub(super) fn joined(&mut self, now: Instant, answer: &JoinGroupResponse) -> Result<(), String> {
        let name = answer.protocol_name.as_ref().map_or("", |name| name.as_str());
        let protocol = PROTOCOLS.iter().position(|protocol| protocol.name == name);
        self.protocol = protocol.ok_or_else(|| format!("the group uses the assignor `{name}`, which was not offered"))?;
        self.member_id = answer.member_id.clone();
        self.generation = answer.generation_id;
        let leads = answer.leader == answer.member_id && !answer.skip_assignment;
        let mut members = Vec::new();
        for joined in answer.members.iter().filter(|_| leads) {
            let member = decode_subscription(&joined.metadata)
                .map_err(|error| format!("subscription of member {}: {error}", joined.member_id))?;
            let instance_id = joined.group_instance_id.as_ref().map(ToString::to_string);
            members.push(Member { id: joined.member_id.to_string(), instance_id, ..member });
        }
        let mut topics: Vec<String> = members.iter().flat_map(|member| &member.topics).cloned().collect();
        topics.sort_unstable();
        topics.dedup();
        self.led = topics.into_iter().map(|topic| (topic, None)).collect();
        self.phase = Phase::Joined { members, since: now };
        Ok(())
    }

    /// # Errors
    /// A name is longer than the protocol allows.
    pub(super) fn sync(
        &mut self,
        settings: &GroupSettings,
        version: i16,
        partitions_of: PartitionsOf<'_>,
    ) -> Result<SyncGroupRequest, String> {
        let protocol = &PROTOCOLS[self.protocol];
        let mut assignments = Vec::new();
        if let Phase::Joined { members, .. } = &self.phase {
            for (topic, count) in &mut self.led {
                *count = partitions_of(topic);
            }
            for (member, assignment) in members.iter().zip((protocol.assign)(members, partitions_of)) {
                assignments.push(
                    SyncGroupRequestAssignment::default()
                        .with_member_id(StrBytes::from_string(member.id.clone()))
                        .with_assignment(encode_assignment(&assignment)?),
                );
            }
        }
        let named = |name| (version >= 5).then_some(StrBytes::from_static_str(name));
        Ok(SyncGroupRequest::default()
            .with_group_id(settings.group_name())
            .with_generation_id(self.generation)
            .with_member_id(self.member_id.clone())
            .with_group_instance_id(settings.instance_id_since(version, 3))
            .with_protocol_type(named(PROTOCOL_TYPE))
            .with_protocol_name(named(protocol.name))
            .with_assignments(assignments))
    }

    /// The partitions that we were given.
    ///
    /// # Errors
    /// The assignment cannot be read.
    pub(super) fn synced(
        &mut self,
        now: Instant,
        settings: &GroupSettings,
        answer: &SyncGroupResponse,
    ) -> Result<Vec<i32>, String> {
        let assignment: &Bytes = &answer.assignment;
        let partitions = decode_assignment(assignment, &settings.topic)?;
        self.phase = Phase::Stable;
        self.heartbeat_at = Some(now + settings.heartbeat_interval);
        Ok(partitions)
    }

    pub(super) fn heartbeat(&mut self, now: Instant, settings: &GroupSettings, version: i16) -> HeartbeatRequest {
        self.heartbeat_at = Some(now + settings.heartbeat_interval);
        HeartbeatRequest::default()
            .with_group_id(settings.group_name())
            .with_generation_id(self.generation)
            .with_member_id(self.member_id.clone())
            .with_group_instance_id(settings.instance_id_since(version, 3))
    }

    /// A static member stays in the group when it stops, so that its next run finds its partitions; it has nothing to send.
    pub(super) fn leave(&self, settings: &GroupSettings, version: i16) -> Option<LeaveGroupRequest> {
        if settings.instance_id.is_some() || self.member_id.is_empty() {
            return None;
        }
        let request = LeaveGroupRequest::default().with_group_id(settings.group_name());
        Some(if version >= 3 {
            request.with_members(vec![MemberIdentity::default().with_member_id(self.member_id.clone())])
        } else {
            request.with_member_id(self.member_id.clone())
        })
    }

    /// The coordinator no longer knows us.
    pub(super) fn forget(&mut self) {
        *self = Self::new();
    }

    /// When there is something to send although nothing arrives.
    pub(super) const fn deadline(&self) -> Option<Instant> {
        self.heartbeat_at
    }
}
