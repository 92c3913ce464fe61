//! The answers that this client reads, as Kafka's message definitions describe them
//! (<https://github.com/apache/kafka/tree/trunk/clients/src/main/resources/common/message>), for the versions that the codec knows.

use super::Kind::{self, Blob, Fixed, List, Many, Nullable, One, Text};
use super::{Field, Struct};
use kafka_protocol::messages::ApiKey;

const I8: Kind = Fixed(1);
const I16: Kind = Fixed(2);
const I32: Kind = Fixed(4);
const I64: Kind = Fixed(8);
const ID: Kind = Fixed(16);

const fn since(first: i16, name: &'static str, kind: Kind) -> Field {
    between(first, i16::MAX, name, kind)
}

const fn between(first: i16, last: i16, name: &'static str, kind: Kind) -> Field {
    Field { versions: (first, last), name, kind }
}

/// API, first version with compact lengths and tagged fields, contents.
pub(super) const ANSWERS: &[(ApiKey, i16, &Struct)] = &[
    (ApiKey::ApiVersions, 3, &API_VERSIONS),
    (ApiKey::Metadata, 9, &METADATA),
    (ApiKey::FindCoordinator, 3, &FIND_COORDINATOR),
    (ApiKey::InitProducerId, 2, &INIT_PRODUCER_ID),
    (ApiKey::Produce, 9, &PRODUCE),
    (ApiKey::Fetch, 12, &FETCH),
    (ApiKey::ListOffsets, 6, &LIST_OFFSETS),
    (ApiKey::JoinGroup, 6, &JOIN_GROUP),
    (ApiKey::SyncGroup, 4, &SYNC_GROUP),
    (ApiKey::Heartbeat, 4, &HEARTBEAT),
    (ApiKey::LeaveGroup, 4, &LEAVE_GROUP),
    (ApiKey::OffsetCommit, 8, &OFFSET_COMMIT),
    (ApiKey::OffsetFetch, 6, &OFFSET_FETCH),
    (ApiKey::ConsumerGroupHeartbeat, 0, &CONSUMER_GROUP_HEARTBEAT),
    (ApiKey::SaslHandshake, i16::MAX, &SASL_HANDSHAKE),
    (ApiKey::SaslAuthenticate, 2, &SASL_AUTHENTICATE),
    (ApiKey::CreateTopics, 5, &CREATE_TOPICS),
    (ApiKey::DescribeConfigs, 4, &DESCRIBE_CONFIGS),
];

const API_VERSIONS: Struct = Struct {
    fields: &[since(0, "error_code", I16), since(0, "api_keys", Many(&API_VERSION)), since(1, "throttle_time_ms", I32)],
    tagged: &[
        (0, "supported_features", Many(&SUPPORTED_FEATURE_KEY)),
        (1, "finalized_features_epoch", I64),
        (2, "finalized_features", Many(&FINALIZED_FEATURE_KEY)),
        (3, "zk_migration_ready", I8),
    ],
};
const API_VERSION: Struct =
    Struct { fields: &[since(0, "api_key", I16), since(0, "min_version", I16), since(0, "max_version", I16)], tagged: &[] };
const SUPPORTED_FEATURE_KEY: Struct =
    Struct { fields: &[since(3, "name", Text), since(3, "min_version", I16), since(3, "max_version", I16)], tagged: &[] };
const FINALIZED_FEATURE_KEY: Struct = Struct {
    fields: &[since(3, "name", Text), since(3, "max_version_level", I16), since(3, "min_version_level", I16)],
    tagged: &[],
};
const METADATA: Struct = Struct {
    fields: &[
        since(3, "throttle_time_ms", I32),
        since(0, "brokers", Many(&METADATA_BROKER)),
        since(2, "cluster_id", Text),
        since(1, "controller_id", I32),
        since(0, "topics", Many(&METADATA_TOPIC)),
        between(8, 10, "cluster_authorized_operations", I32),
        since(13, "error_code", I16),
    ],
    tagged: &[],
};
const METADATA_BROKER: Struct = Struct {
    fields: &[since(0, "node_id", I32), since(0, "host", Text), since(0, "port", I32), since(1, "rack", Text)],
    tagged: &[],
};
const METADATA_TOPIC: Struct = Struct {
    fields: &[
        since(0, "error_code", I16),
        since(0, "name", Text),
        since(10, "topic_id", ID),
        since(1, "is_internal", I8),
        since(0, "partitions", Many(&METADATA_PARTITION)),
        since(8, "topic_authorized_operations", I32),
    ],
    tagged: &[],
};
const METADATA_PARTITION: Struct = Struct {
    fields: &[
        since(0, "error_code", I16),
        since(0, "partition_index", I32),
        since(0, "leader_id", I32),
        since(7, "leader_epoch", I32),
        since(0, "replica_nodes", List(&I32)),
        since(0, "isr_nodes", List(&I32)),
        since(5, "offline_replicas", List(&I32)),
    ],
    tagged: &[],
};
const FIND_COORDINATOR: Struct = Struct {
    fields: &[
        since(1, "throttle_time_ms", I32),
        between(0, 3, "error_code", I16),
        between(1, 3, "error_message", Text),
        between(0, 3, "node_id", I32),
        between(0, 3, "host", Text),
        between(0, 3, "port", I32),
        since(4, "coordinators", Many(&COORDINATOR)),
    ],
    tagged: &[],
};
const COORDINATOR: Struct = Struct {
    fields: &[
        since(4, "key", Text),
        since(4, "node_id", I32),
        since(4, "host", Text),
        since(4, "port", I32),
        since(4, "error_code", I16),
        since(4, "error_message", Text),
    ],
    tagged: &[],
};
const INIT_PRODUCER_ID: Struct = Struct {
    fields: &[
        since(0, "throttle_time_ms", I32),
        since(0, "error_code", I16),
        since(0, "producer_id", I64),
        since(0, "producer_epoch", I16),
        since(6, "ongoing_txn_producer_id", I64),
        since(6, "ongoing_txn_producer_epoch", I16),
    ],
    tagged: &[],
};
const PRODUCE: Struct = Struct {
    fields: &[since(0, "responses", Many(&TOPIC_PRODUCE)), since(0, "throttle_time_ms", I32)],
    tagged: &[(0, "node_endpoints", Many(&PRODUCE_NODE_ENDPOINT))],
};
const TOPIC_PRODUCE: Struct = Struct {
    fields: &[
        between(0, 12, "name", Text),
        since(13, "topic_id", ID),
        since(0, "partition_responses", Many(&PARTITION_PRODUCE)),
    ],
    tagged: &[],
};
const PRODUCE_NODE_ENDPOINT: Struct = Struct {
    fields: &[since(10, "node_id", I32), since(10, "host", Text), since(10, "port", I32), since(10, "rack", Text)],
    tagged: &[],
};
const PARTITION_PRODUCE: Struct = Struct {
    fields: &[
        since(0, "index", I32),
        since(0, "error_code", I16),
        since(0, "base_offset", I64),
        since(0, "log_append_time_ms", I64),
        since(5, "log_start_offset", I64),
        since(8, "record_errors", Many(&BATCH_INDEX_AND_ERROR_MESSAGE)),
        since(8, "error_message", Text),
    ],
    tagged: &[(0, "current_leader", One(&PRODUCE_LEADER_ID_AND_EPOCH))],
};
const BATCH_INDEX_AND_ERROR_MESSAGE: Struct =
    Struct { fields: &[since(8, "batch_index", I32), since(8, "batch_index_error_message", Text)], tagged: &[] };
const PRODUCE_LEADER_ID_AND_EPOCH: Struct =
    Struct { fields: &[since(10, "leader_id", I32), since(10, "leader_epoch", I32)], tagged: &[] };
const FETCH: Struct = Struct {
    fields: &[
        since(0, "throttle_time_ms", I32),
        since(7, "error_code", I16),
        since(7, "session_id", I32),
        since(0, "responses", Many(&FETCHABLE_TOPIC)),
    ],
    tagged: &[(0, "node_endpoints", Many(&FETCH_NODE_ENDPOINT))],
};
const FETCHABLE_TOPIC: Struct = Struct {
    fields: &[between(0, 12, "topic", Text), since(13, "topic_id", ID), since(0, "partitions", Many(&PARTITION_DATA))],
    tagged: &[],
};
const FETCH_NODE_ENDPOINT: Struct = Struct {
    fields: &[since(16, "node_id", I32), since(16, "host", Text), since(16, "port", I32), since(16, "rack", Text)],
    tagged: &[],
};
const PARTITION_DATA: Struct = Struct {
    fields: &[
        since(0, "partition_index", I32),
        since(0, "error_code", I16),
        since(0, "high_watermark", I64),
        since(0, "last_stable_offset", I64),
        since(5, "log_start_offset", I64),
        since(0, "aborted_transactions", Many(&ABORTED_TRANSACTION)),
        since(11, "preferred_read_replica", I32),
        since(0, "records", Blob),
    ],
    tagged: &[
        (0, "diverging_epoch", One(&EPOCH_END_OFFSET)),
        (1, "current_leader", One(&FETCH_LEADER_ID_AND_EPOCH)),
        (2, "snapshot_id", One(&SNAPSHOT_ID)),
    ],
};
const ABORTED_TRANSACTION: Struct =
    Struct { fields: &[since(0, "producer_id", I64), since(0, "first_offset", I64)], tagged: &[] };
const EPOCH_END_OFFSET: Struct = Struct { fields: &[since(12, "epoch", I32), since(12, "end_offset", I64)], tagged: &[] };
const FETCH_LEADER_ID_AND_EPOCH: Struct =
    Struct { fields: &[since(12, "leader_id", I32), since(12, "leader_epoch", I32)], tagged: &[] };
const SNAPSHOT_ID: Struct = Struct { fields: &[since(0, "end_offset", I64), since(0, "epoch", I32)], tagged: &[] };
const LIST_OFFSETS: Struct =
    Struct { fields: &[since(2, "throttle_time_ms", I32), since(0, "topics", Many(&LIST_OFFSETS_TOPIC))], tagged: &[] };
const LIST_OFFSETS_TOPIC: Struct =
    Struct { fields: &[since(0, "name", Text), since(0, "partitions", Many(&LIST_OFFSETS_PARTITION))], tagged: &[] };
const LIST_OFFSETS_PARTITION: Struct = Struct {
    fields: &[
        since(0, "partition_index", I32),
        since(0, "error_code", I16),
        since(0, "timestamp", I64),
        since(0, "offset", I64),
        since(4, "leader_epoch", I32),
    ],
    tagged: &[],
};
const JOIN_GROUP: Struct = Struct {
    fields: &[
        since(2, "throttle_time_ms", I32),
        since(0, "error_code", I16),
        since(0, "generation_id", I32),
        since(7, "protocol_type", Text),
        since(0, "protocol_name", Text),
        since(0, "leader", Text),
        since(9, "skip_assignment", I8),
        since(0, "member_id", Text),
        since(0, "members", Many(&JOIN_GROUP_MEMBER)),
    ],
    tagged: &[],
};
const JOIN_GROUP_MEMBER: Struct = Struct {
    fields: &[since(0, "member_id", Text), since(5, "group_instance_id", Text), since(0, "metadata", Blob)],
    tagged: &[],
};
const SYNC_GROUP: Struct = Struct {
    fields: &[
        since(1, "throttle_time_ms", I32),
        since(0, "error_code", I16),
        since(5, "protocol_type", Text),
        since(5, "protocol_name", Text),
        since(0, "assignment", Blob),
    ],
    tagged: &[],
};
const HEARTBEAT: Struct = Struct { fields: &[since(1, "throttle_time_ms", I32), since(0, "error_code", I16)], tagged: &[] };
const LEAVE_GROUP: Struct = Struct {
    fields: &[since(1, "throttle_time_ms", I32), since(0, "error_code", I16), since(3, "members", Many(&MEMBER))],
    tagged: &[],
};
const MEMBER: Struct = Struct {
    fields: &[since(3, "member_id", Text), since(3, "group_instance_id", Text), since(3, "error_code", I16)],
    tagged: &[],
};
const OFFSET_COMMIT: Struct =
    Struct { fields: &[since(3, "throttle_time_ms", I32), since(0, "topics", Many(&OFFSET_COMMIT_TOPIC))], tagged: &[] };
const OFFSET_COMMIT_TOPIC: Struct = Struct {
    fields: &[
        between(0, 9, "name", Text),
        since(10, "topic_id", ID),
        since(0, "partitions", Many(&OFFSET_COMMIT_PARTITION)),
    ],
    tagged: &[],
};
const OFFSET_COMMIT_PARTITION: Struct =
    Struct { fields: &[since(0, "partition_index", I32), since(0, "error_code", I16)], tagged: &[] };
const OFFSET_FETCH: Struct = Struct {
    fields: &[
        since(3, "throttle_time_ms", I32),
        between(0, 7, "topics", Many(&OFFSET_FETCH_TOPIC)),
        between(2, 7, "error_code", I16),
        since(8, "groups", Many(&OFFSET_FETCH_GROUP)),
    ],
    tagged: &[],
};
const OFFSET_FETCH_TOPIC: Struct = Struct {
    fields: &[between(0, 7, "name", Text), between(0, 7, "partitions", Many(&OFFSET_FETCH_PARTITION))],
    tagged: &[],
};
const OFFSET_FETCH_GROUP: Struct = Struct {
    fields: &[since(8, "group_id", Text), since(8, "topics", Many(&OFFSET_FETCH_TOPICS)), since(8, "error_code", I16)],
    tagged: &[],
};
const OFFSET_FETCH_PARTITION: Struct = Struct {
    fields: &[
        between(0, 7, "partition_index", I32),
        between(0, 7, "committed_offset", I64),
        between(5, 7, "committed_leader_epoch", I32),
        between(0, 7, "metadata", Text),
        between(0, 7, "error_code", I16),
    ],
    tagged: &[],
};
const OFFSET_FETCH_TOPICS: Struct = Struct {
    fields: &[
        between(8, 9, "name", Text),
        since(10, "topic_id", ID),
        since(8, "partitions", Many(&OFFSET_FETCH_PARTITIONS)),
    ],
    tagged: &[],
};
const OFFSET_FETCH_PARTITIONS: Struct = Struct {
    fields: &[
        since(8, "partition_index", I32),
        since(8, "committed_offset", I64),
        since(8, "committed_leader_epoch", I32),
        since(8, "metadata", Text),
        since(8, "error_code", I16),
    ],
    tagged: &[],
};
const CONSUMER_GROUP_HEARTBEAT: Struct = Struct {
    fields: &[
        since(0, "throttle_time_ms", I32),
        since(0, "error_code", I16),
        since(0, "error_message", Text),
        since(0, "member_id", Text),
        since(0, "member_epoch", I32),
        since(0, "heartbeat_interval_ms", I32),
        since(0, "assignment", Nullable(&ASSIGNMENT)),
    ],
    tagged: &[],
};
const ASSIGNMENT: Struct = Struct { fields: &[since(0, "topic_partitions", Many(&TOPIC_PARTITIONS))], tagged: &[] };
const TOPIC_PARTITIONS: Struct =
    Struct { fields: &[since(0, "topic_id", ID), since(0, "partitions", List(&I32))], tagged: &[] };
const SASL_HANDSHAKE: Struct =
    Struct { fields: &[since(0, "error_code", I16), since(0, "mechanisms", List(&Text))], tagged: &[] };
const SASL_AUTHENTICATE: Struct = Struct {
    fields: &[
        since(0, "error_code", I16),
        since(0, "error_message", Text),
        since(0, "auth_bytes", Blob),
        since(1, "session_lifetime_ms", I64),
    ],
    tagged: &[],
};
const CREATE_TOPICS: Struct =
    Struct { fields: &[since(0, "throttle_time_ms", I32), since(0, "topics", Many(&CREATABLE_TOPIC_RESULT))], tagged: &[] };
const CREATABLE_TOPIC_RESULT: Struct = Struct {
    fields: &[
        since(0, "name", Text),
        since(7, "topic_id", ID),
        since(0, "error_code", I16),
        since(0, "error_message", Text),
        since(5, "num_partitions", I32),
        since(5, "replication_factor", I16),
        since(5, "configs", Many(&CREATABLE_TOPIC_CONFIGS)),
    ],
    tagged: &[(0, "topic_config_error_code", I16)],
};
const CREATABLE_TOPIC_CONFIGS: Struct = Struct {
    fields: &[
        since(5, "name", Text),
        since(5, "value", Text),
        since(5, "read_only", I8),
        since(5, "config_source", I8),
        since(5, "is_sensitive", I8),
    ],
    tagged: &[],
};
const DESCRIBE_CONFIGS: Struct = Struct {
    fields: &[since(0, "throttle_time_ms", I32), since(0, "results", Many(&DESCRIBE_CONFIGS_RESULT))],
    tagged: &[],
};
const DESCRIBE_CONFIGS_RESULT: Struct = Struct {
    fields: &[
        since(0, "error_code", I16),
        since(0, "error_message", Text),
        since(0, "resource_type", I8),
        since(0, "resource_name", Text),
        since(0, "configs", Many(&DESCRIBE_CONFIGS_RESOURCE_RESULT)),
    ],
    tagged: &[],
};
const DESCRIBE_CONFIGS_RESOURCE_RESULT: Struct = Struct {
    fields: &[
        since(0, "name", Text),
        since(0, "value", Text),
        since(0, "read_only", I8),
        since(1, "config_source", I8),
        since(0, "is_sensitive", I8),
        since(1, "synonyms", Many(&DESCRIBE_CONFIGS_SYNONYM)),
        since(3, "config_type", I8),
        since(3, "documentation", Text),
    ],
    tagged: &[],
};
const DESCRIBE_CONFIGS_SYNONYM: Struct =
    Struct { fields: &[since(1, "name", Text), since(1, "value", Text), since(1, "source", I8)], tagged: &[] };

/// `ConsumerProtocolSubscription`, which members of a group write for its leader.
pub(in super::super) const SUBSCRIPTION: Struct = Struct {
    fields: &[
        since(0, "topics", List(&Text)),
        since(0, "user_data", Blob),
        since(1, "owned_partitions", Many(&MEMBER_PARTITIONS)),
        since(2, "generation_id", I32),
        since(3, "rack_id", Text),
    ],
    tagged: &[],
};

/// `ConsumerProtocolAssignment`, which the leader of a group writes for its members.
pub(in super::super) const ASSIGNMENT_OF_LEADER: Struct = Struct {
    fields: &[since(0, "assigned_partitions", Many(&MEMBER_PARTITIONS)), since(0, "user_data", Blob)],
    tagged: &[],
};

const MEMBER_PARTITIONS: Struct =
    Struct { fields: &[since(0, "topic", Text), since(0, "partitions", List(&I32))], tagged: &[] };
