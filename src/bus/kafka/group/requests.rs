//! What the coordinator is asked.

use super::super::cluster::{Cluster, Owner};
use super::super::connection::Ticket;
use super::super::link::Target;
use super::super::metadata::Metadata;
use super::classic::Classic;
use super::{Ask, Ending, Group, InFlight, Member, Trouble, partitions_of};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetFetchRequest};
use kafka_protocol::protocol::{Request, StrBytes, VersionRange};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// The first version of OffsetCommit and OffsetFetch that takes the epoch of the modern protocol.
const EPOCH_VERSION: i16 = 9;

const NOT_CLASSIC: &str = "not a member by the classic protocol";
const NOT_MODERN: &str = "not a member by the modern protocol";
/// Every version that the codec knows.
const ANY: VersionRange = VersionRange { min: 0, max: i16::MAX };

impl Group {
    pub(super) fn send(&mut self, ask: Ask, target: Target, now: Instant, cluster: &mut Cluster) -> Result<(), Trouble> {
        // A rebalance is answered when every member has joined, which may take its whole time-out.
        let patience = match ask {
            Ask::Join | Ask::Sync => self.settings.rebalance_timeout,
            _ => Duration::ZERO,
        };
        let deadline = now + cluster.settings().request_timeout + patience;
        let epochs = matches!(self.member, Member::Modern(_));
        let offsets = VersionRange { min: if epochs { EPOCH_VERSION } else { 0 }, max: EPOCH_VERSION };
        let mut sender = Sender { group: self, ask, target, now, deadline, cluster };
        match ask {
            Ask::Join => {
                sender.send(ANY, |group, version, _| group.classic()?.join(&group.settings, version, &group.assigned))
            }
            Ask::Sync => sender.send(ANY, |group, version, metadata| {
                let Member::Classic(classic) = &mut group.member else { return Err(NOT_CLASSIC.into()) };
                classic.sync(&group.settings, version, &partitions_of(metadata))
            }),
            Ask::Heartbeat => sender.send(ANY, |group, version, _| {
                let Member::Classic(classic) = &mut group.member else { return Err(NOT_CLASSIC.into()) };
                Ok(classic.heartbeat(now, &group.settings, version))
            }),
            Ask::Leave => sender.send_or_end(|group, version| group.classic().ok()?.leave(&group.settings, version)),
            Ask::ModernHeartbeat => sender.send(ANY, |group, _, metadata| {
                let topic = metadata.topic(&group.settings.topic).map_or(Uuid::nil(), |topic| topic.id);
                let Member::Modern(modern) = &mut group.member else { return Err(NOT_MODERN.into()) };
                Ok(modern.heartbeat(&group.settings, topic, &group.assigned))
            }),
            Ask::ModernRelease => sender.send(ANY, |group, _, _| {
                let Member::Modern(modern) = &group.member else { return Err(NOT_MODERN.into()) };
                Ok(modern.release(&group.settings))
            }),
            Ask::ModernLeave => sender.send_or_end(|group, _| match &group.member {
                Member::Modern(modern) => modern.leave(&group.settings),
                _ => None,
            }),
            Ask::FetchOffsets => sender.send(offsets, |group, version, _| Ok(group.offset_fetch(version))),
            Ask::Commit => sender.send(offsets, |group, version, _| Ok(group.offset_commit(version))),
        }
    }

    fn classic(&self) -> Result<&Classic, String> {
        match &self.member {
            Member::Classic(classic) => Ok(classic),
            _ => Err(NOT_CLASSIC.into()),
        }
    }

    fn offset_fetch(&self, version: i16) -> OffsetFetchRequest {
        let (topic, partitions) = (self.settings.topic_name(), self.offsets.unknown());
        // With "require stable" a commit of a transaction that is under way is waited for.
        let request = OffsetFetchRequest::default().with_require_stable(version >= 7);
        if version < 8 {
            let topic = OffsetFetchRequestTopic::default().with_name(topic).with_partition_indexes(partitions);
            return request.with_group_id(self.settings.group_name()).with_topics(Some(vec![topic]));
        }
        let topic = OffsetFetchRequestTopics::default().with_name(topic).with_partition_indexes(partitions);
        let mut group =
            OffsetFetchRequestGroup::default().with_group_id(self.settings.group_name()).with_topics(Some(vec![topic]));
        if let Member::Modern(modern) = &self.member {
            group = group.with_member_id(Some(modern.member_id.clone())).with_member_epoch(modern.epoch);
        }
        request.with_groups(vec![group])
    }

    fn offset_commit(&mut self, version: i16) -> OffsetCommitRequest {
        let (member_id, generation) = self.identity().unwrap_or((StrBytes::new(), -1));
        OffsetCommitRequest::default()
            .with_group_id(self.settings.group_name())
            .with_generation_id_or_member_epoch(generation)
            .with_member_id(member_id)
            .with_group_instance_id(self.settings.instance_id_since(version, 7))
            .with_topics(vec![self.offsets.take_commit(self.settings.topic_name(), version >= 6)])
    }
}

/// One request on its way out.
struct Sender<'a> {
    group: &'a mut Group,
    ask: Ask,
    target: Target,
    now: Instant,
    deadline: Instant,
    cluster: &'a mut Cluster,
}

impl Sender<'_> {
    fn send<R: Request>(
        &mut self,
        versions: VersionRange,
        build: impl FnOnce(&mut Group, i16, &Metadata) -> Result<R, String>,
    ) -> Result<(), Trouble> {
        let Some(broker) = self.cluster.ready(self.target) else { return Ok(()) };
        let version = broker.highest_in::<R>(R::VERSIONS.intersect(&versions))?;
        let request = build(self.group, version, self.cluster.metadata()).map_err(Trouble::Format)?;
        let ticket = self.cluster.send(Owner::Consumer, self.target, &request, version, self.deadline)?;
        self.note(ticket);
        Ok(())
    }

    /// Sends what there is to say at the end, if there is anything.
    fn send_or_end<R: Request>(&mut self, build: impl FnOnce(&Group, i16) -> Option<R>) -> Result<(), Trouble> {
        let Some(broker) = self.cluster.ready(self.target) else { return Ok(()) };
        let version = broker.highest::<R>()?;
        let Some(request) = build(self.group, version) else {
            self.group.ending = Ending::Over;
            return Ok(());
        };
        let ticket = self.cluster.send(Owner::Consumer, self.target, &request, version, self.deadline)?;
        self.note(ticket);
        Ok(())
    }

    fn note(&mut self, ticket: Ticket) {
        let Self { group, ask, now, .. } = self;
        let request = InFlight { ticket, ask: *ask, generation: group.generation(), since: *now };
        match ask {
            Ask::Join | Ask::Sync => group.parked = Some(request),
            // Whoever leaves has no use for the answer to a parked request.
            Ask::Leave => (group.parked, group.in_flight) = (None, Some(request)),
            _ => group.in_flight = Some(request),
        }
    }
}
