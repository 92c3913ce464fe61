//! Records copied out of the outbox, on their way to the thread.

use crate::bus::outbox::Outbox;
use crate::wire::TopicId;
use std::ops::Range;

/// A run of records in the order of publication.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    records: Vec<Outgoing>,
    last_seq: u64,
}

#[derive(Debug)]
struct Outgoing {
    topic: TopicId,
    key: Range<usize>,
    value: Range<usize>,
}

/// A record of a batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct BatchRecord<'a> {
    pub(super) topic: TopicId,
    pub(super) key: &'a [u8],
    pub(super) value: &'a [u8],
}

impl Batch {
    /// Takes unsent records until `bytes_max` is reached, at least one. What was in the batch is forgotten, its memory used.
    pub(super) fn fill(&mut self, outbox: &mut Outbox, bytes_max: usize) {
        self.bytes.clear();
        self.records.clear();
        while self.bytes.len() < bytes_max {
            let Some(entry) = outbox.take() else { break };
            self.last_seq = entry.seq;
            let record = entry.record();
            let key = append(&mut self.bytes, record.key);
            let value = append(&mut self.bytes, record.value);
            self.records.push(Outgoing { topic: record.topic, key, value });
        }
    }

    /// How many records there are.
    pub(super) fn len(&self) -> u64 {
        self.records.len() as u64
    }

    /// The place of its last record in the outbox.
    pub(super) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// The record at `index`, which must be less than `len`.
    pub(super) fn record(&self, index: usize) -> BatchRecord<'_> {
        let Outgoing { topic, key, value } = &self.records[index];
        BatchRecord { topic: *topic, key: &self.bytes[key.clone()], value: &self.bytes[value.clone()] }
    }
}

fn append(bytes: &mut Vec<u8>, part: &[u8]) -> Range<usize> {
    let start = bytes.len();
    bytes.extend_from_slice(part);
    start..bytes.len()
}
