//! What the numbers of `ListOffsets` and `Fetch` mean, the requests about a partition's log
//! (<https://kafka.apache.org/protocol#protocol_messages>).

/// The timestamp that stands for the first offset of a partition.
pub(super) const EARLIEST: i64 = -2;
/// The timestamp that stands for its next offset.
pub(super) const LATEST: i64 = -1;
/// Who sees only what every in-sync replica has.
pub(super) const CONSUMER: i32 = -1;
/// Who is told by `ListOffsets` of the leader's log as it is (`DEBUGGING_REPLICA_ID` of Kafka's `ListOffsetsRequest`).
pub(super) const DEBUGGER: i32 = -2;
/// The epoch of a Fetch without a session.
pub(super) const NO_SESSION: i32 = -1;
/// The version of `ListOffsets` from which on it names the leader's epoch: a leader of another one refuses.
pub(super) const LIST_OFFSETS_WITH_EPOCH: i16 = 4;
/// The same of `Fetch`.
pub(super) const FETCH_WITH_EPOCH: i16 = 9;
/// The highest version of `Fetch` that names topics instead of their ids.
pub(super) const FETCH_BY_NAME: i16 = 12;
/// The version of `Fetch` from which on a throttled client waits (KIP-219).
pub(super) const FETCH_THROTTLED_SINCE: i16 = 8;
