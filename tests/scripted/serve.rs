//! What a real broker answers, as far as this client asks.

use super::coordinator::FENCED_MEMBER_EPOCH;
use super::logs::Log;
use super::{Broker, Topic};
use bytes::{Buf as _, Bytes, BytesMut};
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::fetch_response::{FetchableTopicResponse, PartitionData};
use kafka_protocol::messages::find_coordinator_response::Coordinator as Found;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic,
    OffsetFetchResponseTopics,
};
use kafka_protocol::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use kafka_protocol::messages::*;
use kafka_protocol::protocol::{Decodable as _, Encodable, StrBytes};
use std::time::Duration;
use uuid::Uuid;

const NODE: i32 = 1;
/// One that is not there.
pub(crate) const ABSENT: i32 = 9;
/// The replica id of a consumer.
const CONSUMER: i32 = -1;
const EARLIEST: i64 = -2;
const OFFSET_OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const MESSAGE_TOO_LARGE: i16 = 10;
const ILLEGAL_GENERATION: i16 = 22;
const UNSUPPORTED_VERSION: i16 = 35;
const TOPIC_ALREADY_EXISTS: i16 = 36;
const MEMBER_ID_REQUIRED: i16 = 79;
const UNKNOWN_TOPIC_ID: i16 = 100;

fn first(a: i16, b: i16) -> i16 {
    if a != 0 { a } else { b }
}

fn encoded(answer: &impl Encodable, version: i16) -> Option<(BytesMut, Duration)> {
    later(answer, version, Duration::ZERO)
}

fn later(answer: &impl Encodable, version: i16, after: Duration) -> Option<(BytesMut, Duration)> {
    let mut body = BytesMut::new();
    answer.encode(&mut body, version).unwrap();
    Some((body, after))
}

impl Broker {
    /// The body of the answer and how much later it comes. With an `error` nothing is done but to answer so.
    pub(super) fn serve(&mut self, api: ApiKey, version: i16, mut body: Bytes, error: i16) -> Option<(BytesMut, Duration)> {
        macro_rules! to {
            ($handler:ident, $request:ty) => {{
                let request = <$request>::decode(&mut body, version).unwrap();
                assert_eq!(body.remaining(), 0, "bytes behind a {api:?}");
                encoded(&self.$handler(request, version, error), version)
            }};
        }
        match api {
            ApiKey::ApiVersions => Some((self.api_versions(version, error), Duration::ZERO)),
            ApiKey::Metadata => to!(metadata, MetadataRequest),
            ApiKey::Produce => to!(produce, ProduceRequest),
            ApiKey::InitProducerId => to!(init_producer_id, InitProducerIdRequest),
            ApiKey::ListOffsets => to!(list_offsets, ListOffsetsRequest),
            ApiKey::FindCoordinator => to!(find_coordinator, FindCoordinatorRequest),
            ApiKey::JoinGroup => to!(join_group, JoinGroupRequest),
            ApiKey::SyncGroup => to!(sync_group, SyncGroupRequest),
            ApiKey::Heartbeat => to!(heartbeat, HeartbeatRequest),
            ApiKey::LeaveGroup => to!(leave_group, LeaveGroupRequest),
            ApiKey::ConsumerGroupHeartbeat => to!(consumer_group_heartbeat, ConsumerGroupHeartbeatRequest),
            ApiKey::OffsetCommit => to!(offset_commit, OffsetCommitRequest),
            ApiKey::OffsetFetch => to!(offset_fetch, OffsetFetchRequest),
            ApiKey::CreateTopics => to!(create_topics, CreateTopicsRequest),
            ApiKey::Fetch => {
                let request = FetchRequest::decode(&mut body, version).unwrap();
                let wait = Duration::from_millis(request.max_wait_ms as u64);
                let answer = self.fetch(request, version, error);
                let empty =
                    answer.responses.iter().flat_map(|topic| &topic.partitions).all(|partition| {
                        partition.error_code == 0 && partition.records.as_ref().is_none_or(Bytes::is_empty)
                    });
                later(&answer, version, if empty && answer.error_code == 0 { wait } else { Duration::ZERO })
            }
            other => panic!("{other:?} is not scripted"),
        }
    }

    fn api_versions(&self, version: i16, error: i16) -> BytesMut {
        let known = [
            (ApiKey::Produce, 3, 13),
            (ApiKey::Fetch, 4, 18),
            (ApiKey::ListOffsets, 1, 10),
            (ApiKey::Metadata, 0, 13),
            (ApiKey::OffsetCommit, 2, 9),
            (ApiKey::OffsetFetch, 1, 9),
            (ApiKey::FindCoordinator, 0, 6),
            (ApiKey::JoinGroup, 0, 9),
            (ApiKey::Heartbeat, 0, 4),
            (ApiKey::LeaveGroup, 0, 5),
            (ApiKey::SyncGroup, 0, 5),
            (ApiKey::ApiVersions, 0, 4),
            (ApiKey::InitProducerId, 0, 5),
            (ApiKey::CreateTopics, 2, 7),
            (ApiKey::ConsumerGroupHeartbeat, 0, 1),
        ];
        let known = known.map(|(api, low, high)| (api, low, self.version_max.get(&(api as i16)).copied().unwrap_or(high)));
        let keys = known.iter().filter(|(_, low, high)| low <= high).map(|(api, low, high)| {
            api_versions_response::ApiVersion::default()
                .with_api_key(*api as i16)
                .with_min_version(*low)
                .with_max_version(*high)
        });
        let mine = known.iter().find(|(api, ..)| *api == ApiKey::ApiVersions).map_or(0, |(_, _, high)| *high);
        let (answered, error) = if version > mine { (0, UNSUPPORTED_VERSION) } else { (version, error) };
        let answer = ApiVersionsResponse::default().with_error_code(error).with_api_keys(keys.collect());
        encoded(&answer, answered).unwrap().0
    }

    fn metadata(&mut self, request: MetadataRequest, version: i16, error: i16) -> MetadataResponse {
        assert!(version < 4 || !request.allow_auto_topic_creation, "a broker would create what is asked for");
        let host = StrBytes::from_string(self.address.0.clone());
        let broker =
            MetadataResponseBroker::default().with_node_id(NODE.into()).with_host(host).with_port(self.address.1.into());
        let topics = request.topics.unwrap_or_default().into_iter().map(|asked| {
            let name = asked.name.unwrap_or_default();
            let answer = MetadataResponseTopic::default().with_name(Some(name.clone()));
            let Some(topic) = self.topics.get(name.0.as_str()).filter(|_| error == 0) else {
                return answer.with_error_code(first(error, UNKNOWN_TOPIC_OR_PARTITION));
            };
            let partitions = (0..topic.logs.len() as i32).map(|index| {
                MetadataResponsePartition::default()
                    .with_partition_index(index)
                    .with_leader_id(NODE.into())
                    .with_leader_epoch(if version >= 7 { 0 } else { -1 })
            });
            answer
                .with_topic_id(if version >= 10 { topic.id } else { uuid::Uuid::nil() })
                .with_partitions(partitions.collect())
        });
        MetadataResponse::default().with_topics(topics.collect()).with_brokers(vec![broker]).with_controller_id(NODE.into())
    }

    fn topic_mut(&mut self, name: &TopicName, id: uuid::Uuid) -> Option<&mut Topic> {
        if id.is_nil() {
            self.topics.get_mut(name.0.as_str())
        } else {
            self.topics.values_mut().find(|topic| topic.id == id)
        }
    }

    fn init_producer_id(&mut self, _: InitProducerIdRequest, _: i16, error: i16) -> InitProducerIdResponse {
        self.producers += 1;
        let answer = InitProducerIdResponse::default().with_error_code(error);
        if error != 0 { answer } else { answer.with_producer_id((999 + self.producers).into()).with_producer_epoch(0) }
    }

    fn produce(&mut self, request: ProduceRequest, version: i16, error: i16) -> ProduceResponse {
        assert_eq!(request.acks, -1, "acks=all");
        let batch_bytes_max = self.batch_bytes_max;
        let topics = request.topic_data.into_iter().map(|data| {
            let topic = self.topic_mut(&data.name, data.topic_id);
            let logs = topic.map(|topic| &mut topic.logs);
            let mut logs = logs.map(|logs| logs.iter_mut().collect::<Vec<_>>()).unwrap_or_default();
            let partitions = data.partition_data.into_iter().map(|data| {
                let answer = PartitionProduceResponse::default().with_index(data.index).with_base_offset(-1);
                if error != 0 {
                    return answer.with_error_code(error);
                }
                let Some(log) = logs.get_mut(data.index as usize) else {
                    return answer.with_error_code(UNKNOWN_TOPIC_OR_PARTITION);
                };
                let records = data.records.unwrap_or_default();
                // A real broker looks at the size first.
                if records.len() > batch_bytes_max {
                    return answer.with_error_code(MESSAGE_TOO_LARGE);
                }
                match log.append(&records) {
                    Ok(offset) => answer.with_base_offset(offset),
                    Err(code) => answer.with_error_code(code),
                }
            });
            let answer = TopicProduceResponse::default().with_partition_responses(partitions.collect());
            if version >= 13 { answer.with_topic_id(data.topic_id) } else { answer.with_name(data.name) }
        });
        ProduceResponse::default().with_responses(topics.collect())
    }

    fn fetch(&mut self, request: FetchRequest, version: i16, error: i16) -> FetchResponse {
        let is_withheld = self.withheld > 0;
        self.withheld = self.withheld.saturating_sub(1);
        let topics = request.topics.into_iter().map(|asked| {
            let topic = self.topic_mut(&asked.topic, asked.topic_id);
            let unknown = if version >= 13 && topic.is_none() { UNKNOWN_TOPIC_ID } else { UNKNOWN_TOPIC_OR_PARTITION };
            let logs = topic.map_or(&[][..], |topic| &topic.logs);
            let partitions = asked.partitions.iter().map(|asked| {
                let answer = PartitionData::default().with_partition_index(asked.partition).with_high_watermark(-1);
                let Some(log) = logs.get(asked.partition as usize) else { return answer.with_error_code(unknown) };
                if error != 0 || !(log.start..=log.end).contains(&asked.fetch_offset) {
                    return answer.with_error_code(first(error, OFFSET_OUT_OF_RANGE));
                }
                if is_withheld {
                    return answer.with_high_watermark(asked.fetch_offset).with_records(Some(Bytes::new()));
                }
                let records = log.read(asked.fetch_offset, asked.partition_max_bytes as usize);
                answer.with_records(Some(records)).with_high_watermark(log.end).with_last_stable_offset(log.end)
            });
            let answer = FetchableTopicResponse::default().with_partitions(partitions.collect());
            if version >= 13 { answer.with_topic_id(asked.topic_id) } else { answer.with_topic(asked.topic) }
        });
        FetchResponse::default().with_responses(topics.collect())
    }

    fn list_offsets(&mut self, request: ListOffsetsRequest, _: i16, error: i16) -> ListOffsetsResponse {
        // Whoever is no consumer is told of what no replica has, too.
        let is_withheld = self.withheld > 0 && request.replica_id == CONSUMER;
        let topics = request.topics.into_iter().map(|asked| {
            let topic = self.topics.get(asked.name.0.as_str());
            let partitions = asked.partitions.iter().map(|asked| {
                let log = topic.and_then(|topic| topic.logs.get(asked.partition_index as usize));
                let answer = ListOffsetsPartitionResponse::default().with_partition_index(asked.partition_index);
                match log {
                    Some(log) if error == 0 => {
                        answer.with_offset(if asked.timestamp == EARLIEST || is_withheld { log.start } else { log.end })
                    }
                    _ => answer.with_error_code(first(error, UNKNOWN_TOPIC_OR_PARTITION)),
                }
            });
            let partitions = partitions.collect();
            ListOffsetsTopicResponse::default().with_name(asked.name).with_partitions(partitions)
        });
        ListOffsetsResponse::default().with_topics(topics.collect())
    }

    fn find_coordinator(&mut self, request: FindCoordinatorRequest, version: i16, error: i16) -> FindCoordinatorResponse {
        let (host, port) = (StrBytes::from_string(self.address.0.clone()), i32::from(self.address.1));
        let answer = FindCoordinatorResponse::default();
        let node = if self.absent_coordinators > 0 { ABSENT } else { NODE };
        self.absent_coordinators = self.absent_coordinators.saturating_sub(1);
        if version < 4 {
            return answer.with_error_code(error).with_node_id(node.into()).with_host(host).with_port(port);
        }
        let found = request.coordinator_keys.into_iter().map(|key| {
            let found = Found::default().with_key(key).with_error_code(error);
            found.with_node_id(node.into()).with_host(host.clone()).with_port(port)
        });
        answer.with_coordinators(found.collect())
    }

    fn join_group(&mut self, request: JoinGroupRequest, version: i16, error: i16) -> JoinGroupResponse {
        let group = &mut self.coordinator;
        let answer = JoinGroupResponse::default();
        let answer = if version >= 7 { answer } else { answer.with_protocol_name(Some(StrBytes::new())) };
        if error != 0 {
            return answer.with_error_code(error);
        }
        if request.member_id.is_empty() {
            group.members += 1;
            let member = StrBytes::from_string(format!("member-{}", group.members));
            if version >= 4 && request.group_instance_id.is_none() {
                return answer.with_error_code(MEMBER_ID_REQUIRED).with_member_id(member);
            }
            group.member = member;
        } else {
            group.member = request.member_id.clone();
        }
        group.generation += 1;
        let protocol = request.protocols.first().unwrap();
        group.protocol = protocol.name.clone();
        let member = JoinGroupResponseMember::default()
            .with_member_id(group.member.clone())
            .with_group_instance_id(request.group_instance_id)
            .with_metadata(protocol.metadata.clone());
        answer
            .with_generation_id(group.generation)
            .with_protocol_name(Some(group.protocol.clone()))
            .with_protocol_type((version >= 7).then_some(request.protocol_type))
            .with_leader(group.member.clone())
            .with_member_id(group.member.clone())
            .with_members(vec![member])
    }

    fn sync_group(&mut self, request: SyncGroupRequest, _: i16, error: i16) -> SyncGroupResponse {
        let group = &mut self.coordinator;
        let error = first(error, group.check(&request.member_id, request.generation_id, ILLEGAL_GENERATION));
        if error != 0 {
            return SyncGroupResponse::default().with_error_code(error);
        }
        if let Some(own) = request.assignments.into_iter().find(|given| given.member_id == group.member) {
            group.assignment = own.assignment;
        }
        SyncGroupResponse::default().with_assignment(group.assignment.clone())
    }

    fn heartbeat(&mut self, request: HeartbeatRequest, _: i16, error: i16) -> HeartbeatResponse {
        let HeartbeatRequest { member_id, generation_id, .. } = request;
        let error = first(error, self.coordinator.check(&member_id, generation_id, ILLEGAL_GENERATION));
        HeartbeatResponse::default().with_error_code(error)
    }

    fn leave_group(&mut self, _: LeaveGroupRequest, _: i16, error: i16) -> LeaveGroupResponse {
        self.coordinator.member = StrBytes::new();
        LeaveGroupResponse::default().with_error_code(error)
    }

    fn consumer_group_heartbeat(
        &mut self,
        request: ConsumerGroupHeartbeatRequest,
        _: i16,
        error: i16,
    ) -> ConsumerGroupHeartbeatResponse {
        let group = &mut self.coordinator;
        let answer = ConsumerGroupHeartbeatResponse::default().with_heartbeat_interval_ms(1000);
        if error != 0 {
            return answer.with_error_code(error);
        }
        let error = match request.instance_id {
            Some(_) => group.check_name(&request.member_id, request.member_epoch),
            None => 0,
        };
        if error != 0 {
            return answer.with_error_code(error);
        }
        if request.member_epoch < 0 {
            group.is_released = request.member_epoch == -2;
            if !group.is_released {
                group.member = StrBytes::new();
            }
            return answer.with_member_id(Some(request.member_id)).with_member_epoch(request.member_epoch);
        }
        let joins = request.member_epoch == 0;
        if joins {
            group.set_member(&request.member_id);
        }
        let error = group.check(
            &request.member_id,
            if joins { group.generation } else { request.member_epoch },
            FENCED_MEMBER_EPOCH,
        );
        if error != 0 {
            return answer.with_error_code(error);
        }
        let answer = answer.with_member_id(Some(request.member_id)).with_member_epoch(group.generation);
        if let Some(owned) = request.topic_partitions {
            group.owned = owned.iter().map(|topic| topic.topic_id).collect();
        }
        let is_full = request.subscribed_topic_names.is_some();
        if let Some(names) = request.subscribed_topic_names {
            group.subscribed = names.iter().map(|name| name.0.to_string()).collect();
        }
        let topics = group.subscribed.iter().filter_map(|name| self.topics.get(name));
        // What it has of a topic that is gone has to be given up first.
        let gives_up = group.owned.iter().any(|id| self.topics.values().all(|topic| topic.id != *id));
        let topics: Vec<&Topic> = topics.filter(|topic| !gives_up || group.owned.contains(&topic.id)).collect();
        let given = topics.iter().map(|topic| topic.id).collect();
        if std::mem::replace(&mut group.given, given) == group.given && !is_full {
            return answer;
        }
        let topics = topics.iter().map(|topic| {
            TopicPartitions::default().with_topic_id(topic.id).with_partitions((0..topic.logs.len() as i32).collect())
        });
        answer.with_assignment(Some(Assignment::default().with_topic_partitions(topics.collect())))
    }

    fn offset_commit(&mut self, request: OffsetCommitRequest, _: i16, error: i16) -> OffsetCommitResponse {
        let group = &mut self.coordinator;
        let error = first(error, group.check(&request.member_id, request.generation_id_or_member_epoch, ILLEGAL_GENERATION));
        let topics = request.topics.into_iter().map(|topic| {
            let is_gone = !self.topics.contains_key(topic.name.0.as_str());
            let error = first(error, if is_gone { UNKNOWN_TOPIC_OR_PARTITION } else { 0 });
            let partitions = topic.partitions.iter().map(|partition| {
                if error == 0 {
                    group
                        .committed
                        .insert((topic.name.0.to_string(), partition.partition_index), partition.committed_offset);
                }
                let answer = OffsetCommitResponsePartition::default().with_partition_index(partition.partition_index);
                answer.with_error_code(error)
            });
            let partitions = partitions.collect();
            OffsetCommitResponseTopic::default().with_name(topic.name).with_partitions(partitions)
        });
        OffsetCommitResponse::default().with_topics(topics.collect())
    }

    fn offset_fetch(&mut self, request: OffsetFetchRequest, version: i16, error: i16) -> OffsetFetchResponse {
        let committed = &self.coordinator.committed;
        let offset = |topic: &TopicName, partition: i32| {
            committed.get(&(topic.0.to_string(), partition)).copied().filter(|_| error == 0).unwrap_or(-1)
        };
        let answer = OffsetFetchResponse::default();
        if version < 8 {
            let topics = request.topics.unwrap_or_default().into_iter().map(|topic| {
                let partitions = topic.partition_indexes.iter().map(|&partition| {
                    OffsetFetchResponsePartition::default()
                        .with_partition_index(partition)
                        .with_committed_offset(offset(&topic.name, partition))
                        .with_committed_leader_epoch(-1)
                        .with_error_code(error)
                });
                OffsetFetchResponseTopic::default().with_partitions(partitions.collect()).with_name(topic.name.clone())
            });
            return answer.with_topics(topics.collect());
        }
        let groups = request.groups.into_iter().map(|group| {
            let topics = group.topics.unwrap_or_default().into_iter().map(|topic| {
                let partitions = topic.partition_indexes.iter().map(|&partition| {
                    OffsetFetchResponsePartitions::default()
                        .with_partition_index(partition)
                        .with_committed_offset(offset(&topic.name, partition))
                        .with_committed_leader_epoch(-1)
                });
                OffsetFetchResponseTopics::default().with_partitions(partitions.collect()).with_name(topic.name.clone())
            });
            let topics = topics.collect();
            OffsetFetchResponseGroup::default().with_group_id(group.group_id).with_topics(topics).with_error_code(error)
        });
        answer.with_groups(groups.collect())
    }

    fn create_topics(&mut self, request: CreateTopicsRequest, _: i16, error: i16) -> CreateTopicsResponse {
        let topics = request.topics.into_iter().map(|asked| {
            let exists = self.topics.contains_key(&*asked.name.0);
            let error = first(error, if exists { TOPIC_ALREADY_EXISTS } else { 0 });
            if error == 0 {
                let logs = (0..asked.num_partitions).map(|_| Log::default()).collect();
                let id = Uuid::from_u128(self.topics.len() as u128 + 1);
                self.topics.insert(asked.name.to_string(), Topic { id, logs });
            }
            CreatableTopicResult::default().with_name(asked.name).with_error_code(error)
        });
        CreateTopicsResponse::default().with_topics(topics.collect())
    }
}
