//! What an error code of the coordinator calls for.

use super::super::error::Api;
use kafka_protocol::error::ResponseError::{self, *};
use kafka_protocol::messages::ConsumerGroupHeartbeatRequest;
use kafka_protocol::protocol::Request;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reaction {
    /// Ask again after a short delay.
    Retry,
    /// Ask again after a long delay: somebody has to change something first.
    RetryLater,
    /// Look for the coordinator, then ask again.
    FindCoordinator,
    /// Tell the coordinator everything anew, and learn the present epoch.
    Heartbeat,
    /// Our name is taken: by the run before this one, by ourselves, or by another process.
    Release,
    /// Join again as the member that we are; what is assigned stays so until then.
    Rejoin,
    /// The membership is void, and with it the assignment: join again.
    JoinAfresh,
    /// The coordinator does not speak the new protocol: join by the classic one.
    UseClassic,
    /// Another process uses our `group.instance.id`: leave it the field.
    Stop,
}

/// The errors that these requests are answered with, by the protocol's documentation and the coordinator's sources.
const REACTIONS: &[(ResponseError, Reaction)] = &[
    (CoordinatorNotAvailable, Reaction::FindCoordinator),
    (NotCoordinator, Reaction::FindCoordinator),
    (RebalanceInProgress, Reaction::Rejoin),
    // A coordinator that died before it wrote the latest one down is followed by one that knows us in the one before: as a new
    // member we would have the group wait for the old one, and give away what is read and not committed.
    (IllegalGeneration, Reaction::Rejoin),
    (UnknownMemberId, Reaction::JoinAfresh),
    (FencedMemberEpoch, Reaction::JoinAfresh),
    (GroupIdNotFound, Reaction::JoinAfresh),
    (StaleMemberEpoch, Reaction::Heartbeat),
    (UnreleasedInstanceId, Reaction::Release),
    (UnsupportedVersion, Reaction::UseClassic),
    (FencedInstanceId, Reaction::Stop),
    (GroupAuthorizationFailed, Reaction::RetryLater),
    (TopicAuthorizationFailed, Reaction::RetryLater),
    (ClusterAuthorizationFailed, Reaction::RetryLater),
    (InvalidGroupId, Reaction::RetryLater),
    (InvalidSessionTimeout, Reaction::RetryLater),
    (InconsistentGroupProtocol, Reaction::RetryLater),
    (GroupMaxSizeReached, Reaction::RetryLater),
    (UnsupportedAssignor, Reaction::RetryLater),
    (InvalidRequest, Reaction::RetryLater),
    (OffsetMetadataTooLarge, Reaction::RetryLater),
    (InvalidCommitOffsetSize, Reaction::RetryLater),
];

impl Reaction {
    /// Everything that is not in the table is taken for passing: coordinator loading, unstable offsets,
    /// codes of brokers to come.
    pub(super) fn to(api: Api, error: ResponseError) -> Self {
        // To a heartbeat of the modern protocol this says that the group exists, is a classic one, and may not be converted.
        if api.0 == ConsumerGroupHeartbeatRequest::KEY && matches!(error, GroupIdNotFound | InconsistentGroupProtocol) {
            return Self::UseClassic;
        }
        REACTIONS.iter().find(|(listed, _)| *listed == error).map_or(Self::Retry, |&(_, reaction)| reaction)
    }
}
