//! What members of a classic group tell each other, in the Java client's format (`ConsumerProtocolSubscription`, `…Assignment`).

use super::super::decode;
use super::assign::{Assignment, Member};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ConsumerProtocolAssignment, ConsumerProtocolSubscription, TopicName};
use kafka_protocol::messages::{consumer_protocol_assignment, consumer_protocol_subscription};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

/// The latest version with everything that assignors here read: owned partitions and their generation. Older members take from it
/// what they know.
const SUBSCRIPTION_VERSION: i16 = 2;
const ASSIGNMENT_VERSION: i16 = 1;
/// The highest version that the codec reads; later ones only append fields.
const VERSION_READ_MAX: i16 = 3;

/// A member's metadata for the coordinator.
///
/// # Errors
/// A name is longer than the format allows.
pub(super) fn encode_subscription(topic: &str, owned: &[i32], generation: i32) -> Result<Bytes, String> {
    let owned = consumer_protocol_subscription::TopicPartition::default()
        .with_topic(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partitions(owned.to_vec());
    let subscription = ConsumerProtocolSubscription::default()
        .with_topics(vec![StrBytes::from_string(topic.to_owned())])
        // Before 3.2 the Java client's sticky assignor reads the generation here.
        .with_user_data(Some(Bytes::copy_from_slice(&generation.to_be_bytes())))
        .with_owned_partitions(vec![owned])
        .with_generation_id(generation);
    with_version(SUBSCRIPTION_VERSION, &subscription)
}

/// Reads a member's metadata, its id and instance id aside.
///
/// # Errors
/// The bytes are not in the format.
pub(super) fn decode_subscription(bytes: &Bytes) -> Result<Member, String> {
    let (version, mut bytes) = versioned(bytes)?;
    decode::check_message(&decode::SUBSCRIPTION, version, &bytes)?;
    let subscription = ConsumerProtocolSubscription::decode(&mut bytes, version).map_err(|error| error.to_string())?;
    let mut generation = subscription.generation_id;
    if let Some(user_data) = subscription.user_data.filter(|user_data| generation < 0 && user_data.len() == 4) {
        generation = user_data.clone().get_i32();
    }
    let owned = subscription
        .owned_partitions
        .iter()
        .flat_map(|owned| owned.partitions.iter().map(|&partition| (owned.topic.0.to_string(), partition)));
    Ok(Member {
        topics: subscription.topics.iter().map(ToString::to_string).collect(),
        owned: owned.collect(),
        generation,
        ..Member::default()
    })
}

/// What the leader gives a member.
///
/// # Errors
/// A name is longer than the format allows.
pub(super) fn encode_assignment(assignment: &Assignment) -> Result<Bytes, String> {
    let partitions = assignment.iter().map(|(topic, partitions)| {
        consumer_protocol_assignment::TopicPartition::default()
            .with_topic(TopicName(StrBytes::from_string(topic.clone())))
            .with_partitions(partitions.clone())
    });
    let assignment = ConsumerProtocolAssignment::default().with_assigned_partitions(partitions.collect());
    with_version(ASSIGNMENT_VERSION, &assignment)
}

/// The partitions of `topic` that a member was given, in order. An answer without any bytes gives none.
///
/// # Errors
/// The bytes are not in the format.
pub(super) fn decode_assignment(bytes: &Bytes, topic: &str) -> Result<Vec<i32>, String> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let (version, mut bytes) = versioned(bytes)?;
    decode::check_message(&decode::ASSIGNMENT_OF_LEADER, version, &bytes)?;
    let assignment = ConsumerProtocolAssignment::decode(&mut bytes, version).map_err(|error| error.to_string())?;
    let ours = assignment.assigned_partitions.into_iter().filter(|assigned| assigned.topic.0.as_str() == topic);
    let mut partitions: Vec<i32> = ours.flat_map(|assigned| assigned.partitions).collect();
    partitions.sort_unstable();
    partitions.dedup();
    Ok(partitions)
}

fn with_version(version: i16, message: &impl Encodable) -> Result<Bytes, String> {
    let mut bytes = BytesMut::new();
    bytes.put_i16(version);
    message.encode(&mut bytes, version).map_err(|error| error.to_string())?;
    Ok(bytes.freeze())
}

fn versioned(bytes: &Bytes) -> Result<(i16, Bytes), String> {
    let mut bytes = bytes.clone();
    let version = bytes.try_get_i16().map_err(|error| error.to_string())?;
    if version < 0 {
        return Err(format!("version {version}"));
    }
    Ok((version.min(VERSION_READ_MAX), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_subscription_comes_back_and_an_old_or_later_version_is_read_as_far_as_it_is_known() {
        let bytes = encode_subscription("orders", &[1, 2], 7).unwrap();
        let member = decode_subscription(&bytes).unwrap();
        assert_eq!((member.topics, member.generation), (vec!["orders".to_owned()], 7));
        assert_eq!(member.owned, [("orders".to_owned(), 1), ("orders".to_owned(), 2)]);
        // Before 3.2 the Java client has the generation in its user data, in version 1.
        let mut old = bytes.to_vec();
        old[1] = 1;
        assert_eq!(decode_subscription(&old.into()).unwrap().generation, 7);
        let mut later = bytes.to_vec();
        later[1] = 9;
        later.extend([0xff, 0xff, 1, 2, 3]);
        assert_eq!(decode_subscription(&later.into()).unwrap().generation, 7);
    }

    #[test]
    fn an_assignment_comes_back_as_far_as_it_is_of_our_topic() {
        let assignment = [("orders".to_owned(), vec![3, 1]), ("other".to_owned(), vec![0])].into_iter().collect();
        let bytes = encode_assignment(&assignment).unwrap();
        assert_eq!(decode_assignment(&bytes, "orders").unwrap(), [1, 3]);
        assert_eq!(decode_assignment(&Bytes::new(), "orders").unwrap(), [0; 0]);
    }

    #[test]
    fn a_member_that_announces_more_than_it_sends_is_refused() {
        let error = decode_subscription(&Bytes::from_static(&[0, 1, 0x7f, 0xff, 0xff, 0xff])).unwrap_err();
        assert_eq!(error, "topics: 2147483647 elements in 0 bytes");
    }

    proptest! {
        #[test]
        fn no_bytes_of_another_member_panic(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            let _ = (decode_subscription(&bytes), decode_assignment(&bytes, "orders"));
        }
    }
}
