use super::*;
use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable, Encodable, Message};
use proptest::prelude::*;

/// Every version of an answer that has one element in each of its arrays is walked through to its last byte.
fn walks<A: Message + Encodable + Decodable>(api: ApiKey, answer: &A) {
    let mut versions = 0;
    for version in A::VERSIONS.min..=A::VERSIONS.max {
        let mut bytes = BytesMut::new();
        // Some fields exist only in some versions.
        if answer.encode(&mut bytes, version).is_err() {
            continue;
        }
        versions += 1;
        let (_, flexible, fields) = ANSWERS.iter().find(|(known, ..)| *known == api).unwrap();
        let mut walk = Walk { rest: &bytes, version, flexible: version >= *flexible, memory: 0 };
        walk.one(fields).unwrap_or_else(|error| panic!("{api:?} {version}: {error}"));
        assert!(walk.rest.is_empty(), "{api:?} {version}: {} bytes are left", walk.rest.len());
        for cut in 0..bytes.len() {
            assert!(check(api, version, &bytes[..cut]).is_err(), "{api:?} {version}, cut at {cut}");
        }
    }
    assert!(versions > 0, "{api:?}: no version was encoded");
}

macro_rules! one {
    ($type:path $(, $with:ident = $value:expr)*) => { <$type>::default()$(.$with($value))* };
}

/// Walks through the answer as its default is, and with each of its arrays filled.
macro_rules! walks {
    ($api:ident, $type:ident $(, $with:ident = $value:expr)*) => {
        walks(ApiKey::$api, &<$type>::default());
        $(walks(ApiKey::$api, &<$type>::default().$with($value));)*
    };
}

#[test]
fn the_tables_agree_with_the_codec_in_every_version() {
    use api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
    walks!(
        ApiVersions,
        ApiVersionsResponse,
        with_api_keys = vec![one!(ApiVersion)],
        with_supported_features = vec![one!(SupportedFeatureKey, with_name = "a".into())],
        with_finalized_features = vec![one!(FinalizedFeatureKey, with_name = "a".into())],
        with_finalized_features_epoch = 7,
        with_zk_migration_ready = true
    );
    use metadata_response::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic};
    let partition =
        one!(MetadataResponsePartition, with_replica_nodes = vec![1.into(), 2.into()], with_isr_nodes = vec![1.into()]);
    let offline = partition.clone().with_offline_replicas(vec![2.into()]);
    let topic = one!(MetadataResponseTopic, with_name = Some(TopicName("t".into())), with_partitions = vec![partition]);
    walks!(
        Metadata,
        MetadataResponse,
        with_brokers = vec![one!(MetadataResponseBroker, with_host = "host".into())],
        with_topics = vec![topic.clone()],
        with_topics = vec![topic.with_partitions(vec![offline])],
        with_cluster_id = Some("cluster".into())
    );
    use find_coordinator_response::Coordinator;
    walks!(
        FindCoordinator,
        FindCoordinatorResponse,
        with_host = "h".into(),
        with_coordinators = vec![one!(Coordinator, with_key = "g".into())]
    );
    walks!(InitProducerId, InitProducerIdResponse);
    use produce_response::{BatchIndexAndErrorMessage, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse};
    let partition = one!(PartitionProduceResponse);
    let erroneous = one!(
        PartitionProduceResponse,
        with_record_errors = vec![one!(BatchIndexAndErrorMessage, with_batch_index_error_message = Some("why".into()))],
        with_error_message = Some("why".into())
    );
    let moved = one!(
        PartitionProduceResponse,
        with_current_leader = produce_response::LeaderIdAndEpoch::default().with_leader_epoch(3)
    );
    let topic = |partition| vec![one!(TopicProduceResponse, with_partition_responses = vec![partition])];
    walks!(
        Produce,
        ProduceResponse,
        with_responses = topic(partition),
        with_responses = topic(erroneous),
        with_responses = topic(moved),
        with_node_endpoints = vec![one!(NodeEndpoint, with_host = "h".into())]
    );
    use fetch_response::{
        AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData, SnapshotId,
    };
    let partition = one!(
        PartitionData,
        with_aborted_transactions = Some(vec![one!(AbortedTransaction)]),
        with_records = Some(Bytes::from_static(b"records"))
    );
    let moved = one!(
        PartitionData,
        with_diverging_epoch = one!(EpochEndOffset, with_epoch = 3),
        with_current_leader = one!(LeaderIdAndEpoch, with_leader_epoch = 3),
        with_snapshot_id = one!(SnapshotId, with_epoch = 3)
    );
    let topic = |partition| vec![one!(FetchableTopicResponse, with_partitions = vec![partition])];
    walks!(
        Fetch,
        FetchResponse,
        with_responses = topic(partition),
        with_responses = topic(moved),
        with_node_endpoints = vec![one!(fetch_response::NodeEndpoint, with_host = "h".into())]
    );
    use list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
    let topic = one!(ListOffsetsTopicResponse, with_partitions = vec![one!(ListOffsetsPartitionResponse)]);
    walks!(ListOffsets, ListOffsetsResponse, with_topics = vec![topic]);
    use join_group_response::JoinGroupResponseMember;
    let member = one!(JoinGroupResponseMember, with_member_id = "m".into(), with_metadata = Bytes::from_static(b"metadata"));
    let named = |answer: JoinGroupResponse| answer.with_protocol_name(Some("range".into()));
    walks(ApiKey::JoinGroup, &named(JoinGroupResponse::default()));
    walks(ApiKey::JoinGroup, &named(JoinGroupResponse::default().with_members(vec![member.clone()])));
    walks(
        ApiKey::JoinGroup,
        &named(JoinGroupResponse::default().with_members(vec![member.with_group_instance_id(Some("edge".into()))])),
    );
    walks!(SyncGroup, SyncGroupResponse, with_assignment = Bytes::from_static(b"assignment"));
    walks!(Heartbeat, HeartbeatResponse);
    walks!(
        LeaveGroup,
        LeaveGroupResponse,
        with_members = vec![one!(leave_group_response::MemberResponse, with_member_id = "m".into())]
    );
    use offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
    let topic = one!(OffsetCommitResponseTopic, with_partitions = vec![one!(OffsetCommitResponsePartition)]);
    walks!(OffsetCommit, OffsetCommitResponse, with_topics = vec![topic]);
    use offset_fetch_response::*;
    let topic = one!(OffsetFetchResponseTopic, with_partitions = vec![one!(OffsetFetchResponsePartition)]);
    let topics = one!(OffsetFetchResponseTopics, with_partitions = vec![one!(OffsetFetchResponsePartitions)]);
    walks!(
        OffsetFetch,
        OffsetFetchResponse,
        with_topics = vec![topic],
        with_groups = vec![one!(OffsetFetchResponseGroup, with_topics = vec![topics])]
    );
    use consumer_group_heartbeat_response::{Assignment, TopicPartitions};
    let assignment = one!(Assignment, with_topic_partitions = vec![one!(TopicPartitions, with_partitions = vec![1, 2])]);
    walks!(ConsumerGroupHeartbeat, ConsumerGroupHeartbeatResponse, with_assignment = Some(assignment));
    walks!(SaslHandshake, SaslHandshakeResponse, with_mechanisms = vec!["PLAIN".into()]);
    walks!(SaslAuthenticate, SaslAuthenticateResponse, with_auth_bytes = Bytes::from_static(b"proof"));
    use create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
    walks!(
        CreateTopics,
        CreateTopicsResponse,
        with_topics = vec![one!(CreatableTopicResult, with_name = TopicName("t".into()))],
        with_topics = vec![one!(
            CreatableTopicResult,
            with_configs = Some(vec![one!(CreatableTopicConfigs)]),
            with_topic_config_error_code = 3
        )]
    );
    use describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym};
    let config = one!(DescribeConfigsResourceResult, with_synonyms = vec![one!(DescribeConfigsSynonym)]);
    walks!(
        DescribeConfigs,
        DescribeConfigsResponse,
        with_results = vec![one!(DescribeConfigsResult, with_configs = vec![config])]
    );
}

#[test]
fn no_struct_takes_more_than_is_reckoned_with() {
    let sizes = [
        size_of::<fetch_response::PartitionData>(),
        size_of::<fetch_response::FetchableTopicResponse>(),
        size_of::<metadata_response::MetadataResponseTopic>(),
        size_of::<metadata_response::MetadataResponsePartition>(),
        size_of::<produce_response::PartitionProduceResponse>(),
        size_of::<produce_response::TopicProduceResponse>(),
        size_of::<create_topics_response::CreatableTopicResult>(),
        size_of::<describe_configs_response::DescribeConfigsResourceResult>(),
        size_of::<join_group_response::JoinGroupResponseMember>(),
        size_of::<find_coordinator_response::Coordinator>(),
        size_of::<offset_fetch_response::OffsetFetchResponsePartitions>(),
    ];
    assert!(sizes.iter().all(|size| *size <= STRUCT_BYTES), "{sizes:?}");
    assert!(size_of::<kafka_protocol::protocol::StrBytes>() <= ELEMENT_BYTES);
}

#[test]
fn a_length_beyond_the_frame_is_refused_with_the_field_it_stands_in() {
    let error = check(ApiKey::Fetch, 12, &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]).unwrap_err();
    assert_eq!(error, "responses: 4294967294 elements in 0 bytes");
}

#[test]
fn elements_that_are_there_but_would_take_more_than_the_limit_are_refused() {
    // A million empty texts: 2 MB of wire, 32 MB of memory.
    let mut body = vec![0, 0];
    body.extend(1_000_000_i32.to_be_bytes());
    body.resize(body.len() + 2_000_000, 0);
    let error = check(ApiKey::SaslHandshake, 1, &body).unwrap_err();
    assert!(error.starts_with("mechanisms: 1000000 elements, which"), "{error}");
}

proptest! {
    #[test]
    fn what_passes_can_be_given_to_the_codec(bytes: Vec<u8>, version in 4_i16..=18) {
        if check(ApiKey::Fetch, version, &bytes).is_ok() {
            let _ = FetchResponse::decode(&mut Bytes::from(bytes), version);
        }
    }
}
