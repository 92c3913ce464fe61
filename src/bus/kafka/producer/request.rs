//! The body of a Produce request around batches that are not copied.

use bytes::{BufMut, Bytes, BytesMut};
use uuid::Uuid;

/// A topic's share of a request.
pub(super) struct TopicPart<'a> {
    pub(super) name: &'a str,
    pub(super) id: Uuid,
    /// Partition and batch.
    pub(super) batches: Vec<(i32, Bytes)>,
}

/// Encodes a request with `acks=all` in a version from 3 to 13: what surrounds the batches, and the batches themselves.
///
/// Versions from 9 on have compact lengths and tagged fields; from 13 on topics go by their id (KIP-516).
pub(super) fn encode(version: i16, timeout_ms: i32, topics: &[TopicPart<'_>]) -> Vec<Bytes> {
    let flexible = version >= 9;
    let mut pieces = Vec::new();
    let mut text = BytesMut::with_capacity(128);
    if flexible {
        text.put_u8(0); // no transactional id
    } else {
        text.put_i16(-1);
    }
    text.put_i16(-1);
    text.put_i32(timeout_ms);
    put_length(&mut text, flexible, topics.len());
    for topic in topics {
        if version >= 13 {
            text.put_slice(topic.id.as_bytes());
        } else if flexible {
            put_length(&mut text, true, topic.name.len());
            text.put_slice(topic.name.as_bytes());
        } else {
            text.put_i16(topic.name.len() as i16);
            text.put_slice(topic.name.as_bytes());
        }
        put_length(&mut text, flexible, topic.batches.len());
        for (partition, batch) in &topic.batches {
            text.put_i32(*partition);
            put_length(&mut text, flexible, batch.len());
            pieces.push(text.split().freeze());
            pieces.push(batch.clone());
            put_no_tags(&mut text, flexible);
        }
        put_no_tags(&mut text, flexible);
    }
    put_no_tags(&mut text, flexible);
    pieces.push(text.freeze());
    pieces
}

fn put_length(text: &mut BytesMut, flexible: bool, length: usize) {
    if !flexible {
        text.put_i32(length as i32);
        return;
    }
    let mut rest = length + 1;
    while rest >= 0x80 {
        text.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    text.put_u8(rest as u8);
}

fn put_no_tags(text: &mut BytesMut, flexible: bool) {
    if flexible {
        text.put_u8(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::ProduceRequest;
    use kafka_protocol::protocol::Decodable as _;

    #[test]
    fn every_version_is_read_back_by_an_independent_decoder() {
        let id = Uuid::from_u128(0x0123_4567_89ab_cdef);
        let batch = Bytes::from(vec![7; 300]);
        for version in 3..=13 {
            let topics = [
                TopicPart { name: "one", id, batches: vec![(0, batch.clone()), (9, batch.slice(..5))] },
                TopicPart { name: "two", id, batches: vec![(1, batch.clone())] },
            ];
            let mut body = Bytes::from(encode(version, 1500, &topics).concat());
            let request = ProduceRequest::decode(&mut body, version).unwrap();
            assert!(body.is_empty(), "version {version}");
            assert_eq!((request.acks, request.timeout_ms, request.transactional_id), (-1, 1500, None));
            assert_eq!(request.topic_data.len(), 2);
            for (read, written) in request.topic_data.iter().zip(&topics) {
                match version {
                    13 => assert_eq!(read.topic_id, id),
                    _ => assert_eq!(read.name.0.as_str(), written.name),
                }
                let batches = read.partition_data.iter().map(|part| (part.index, part.records.clone().unwrap()));
                assert_eq!(batches.collect::<Vec<_>>(), written.batches, "version {version}");
            }
        }
    }
}
