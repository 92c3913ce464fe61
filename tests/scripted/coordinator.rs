//! The group coordinator as far as its answers depend on what was before.

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;
use uuid::Uuid;

const UNKNOWN_MEMBER_ID: i16 = 25;
const FENCED_INSTANCE_ID: i16 = 82;
pub(super) const FENCED_MEMBER_EPOCH: i16 = 110;
const UNRELEASED_INSTANCE_ID: i16 = 111;

/// The group coordinator, of one group with one member: whoever joined last. All static members have the same name.
#[derive(Debug, Default)]
pub(super) struct Coordinator {
    pub(super) member: StrBytes,
    /// The static member has gone and is to come back.
    pub(super) is_released: bool,
    pub(super) generation: i32,
    pub(super) members: usize,
    pub(super) protocol: StrBytes,
    pub(super) assignment: Bytes,
    /// By the protocol of KIP-848: topics by name that the member reads, and ids of those that it was given and says that it has.
    pub(super) subscribed: Vec<String>,
    pub(super) given: Vec<Uuid>,
    pub(super) owned: Vec<Uuid>,
    pub(super) committed: BTreeMap<(String, i32), i64>,
}

impl Coordinator {
    pub(super) fn committed(&self, topic: &str, partition: i32) -> Option<i64> {
        self.committed.get(&(topic.to_owned(), partition)).copied()
    }

    /// Makes a process of this id the member; with an empty one, the session has ended.
    pub(super) fn set_member(&mut self, member: &str) {
        self.member = StrBytes::from_string(member.into());
        self.is_released = false;
        self.generation += 1;
    }

    pub(super) fn member(&self) -> (&str, bool) {
        (&self.member, self.is_released)
    }

    /// The error code for a heartbeat of a static member by the protocol of KIP-848.
    pub(super) fn check_name(&self, member: &StrBytes, epoch: i32) -> i16 {
        let (held, ours) = (!self.member.is_empty(), *member == self.member);
        match epoch {
            0 if held && !self.is_released => UNRELEASED_INSTANCE_ID,
            0 => 0,
            _ if !held => UNKNOWN_MEMBER_ID,
            _ if !ours => FENCED_INSTANCE_ID,
            1.. if self.is_released => FENCED_MEMBER_EPOCH,
            _ => 0,
        }
    }

    /// The error code for a request of this member and generation.
    pub(super) fn check(&self, member: &StrBytes, generation: i32, wrong_generation: i16) -> i16 {
        match () {
            () if *member != self.member => UNKNOWN_MEMBER_ID,
            () if generation != self.generation => wrong_generation,
            () => 0,
        }
    }
}
