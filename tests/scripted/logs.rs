//! Partitions in memory, with the checks that a real broker makes of an idempotent producer.

use bytes::Bytes;
use kafka_protocol::records::{RecordBatchDecoder, RecordSet};
use mokasim::bus::kafka::records::{Reader, next_batch};
use std::collections::{BTreeMap, VecDeque};

/// Batches of a producer that a broker remembers, to recognise one that comes again.
const REMEMBERED: usize = 5;

const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
const INVALID_PRODUCER_EPOCH: i16 = 47;
const CORRUPT_MESSAGE: i16 = 2;

/// One partition.
#[derive(Debug, Default)]
pub(crate) struct Log {
    batches: Vec<Batch>,
    producers: BTreeMap<i64, Producer>,
    /// Batches that came again and were recognised.
    pub(crate) duplicates: usize,
    /// Offset of the first record that is still there.
    pub(crate) start: i64,
    /// Offset of the next record.
    pub(crate) end: i64,
}

#[derive(Debug)]
struct Batch {
    base: i64,
    last: i64,
    bytes: Vec<u8>,
}

#[derive(Debug, Default)]
struct Producer {
    epoch: i16,
    /// First and last sequence number, and offset, of the last batches.
    recent: VecDeque<(i32, i32, i64)>,
}

impl Log {
    /// Appends the batches of a Produce request; gives the offset of the first record, or an error code.
    pub(crate) fn append(&mut self, records: &Bytes) -> Result<i64, i16> {
        // The codec crate checks the format; it is not what wrote the batch.
        let sets: Vec<RecordSet> = RecordBatchDecoder::decode_all(&mut records.clone()).map_err(|_| CORRUPT_MESSAGE)?;
        let [set] = sets.as_slice() else { return Err(CORRUPT_MESSAGE) };
        let (Some(first), Some(last)) = (set.records.first(), set.records.last()) else { return Err(CORRUPT_MESSAGE) };
        if first.producer_id >= 0 {
            // A broker that knows nothing of a producer takes what comes first.
            let unknown = Producer { epoch: first.producer_epoch, ..Producer::default() };
            let producer = self.producers.entry(first.producer_id).or_insert(unknown);
            if let Some((_, _, offset)) = producer.recent.iter().find(|(from, to, _)| {
                producer.epoch == first.producer_epoch && (*from, *to) == (first.sequence, last.sequence)
            }) {
                self.duplicates += 1;
                return Ok(*offset);
            }
            if first.producer_epoch < producer.epoch {
                return Err(INVALID_PRODUCER_EPOCH);
            }
            let fresh = first.producer_epoch > producer.epoch;
            let expected = producer.recent.back().filter(|_| !fresh).map(|(_, to, _)| to + 1);
            let in_order = expected.map_or(!fresh || first.sequence == 0, |expected| expected == first.sequence);
            if !in_order {
                return Err(OUT_OF_ORDER_SEQUENCE_NUMBER);
            }
            if fresh {
                producer.recent.clear();
            }
            producer.epoch = first.producer_epoch;
            producer.recent.push_back((first.sequence, last.sequence, self.end));
            if producer.recent.len() > REMEMBERED {
                producer.recent.pop_front();
            }
        }
        Ok(self.push(records, set.records.len() as i64))
    }

    /// Knows no producer any more.
    pub(crate) fn forget_producers(&mut self) {
        self.producers.clear();
    }

    fn push(&mut self, records: &[u8], count: i64) -> i64 {
        let base = self.end;
        let mut bytes = records.to_vec();
        bytes[..8].copy_from_slice(&base.to_be_bytes());
        self.end = base + count;
        self.batches.push(Batch { base, last: self.end - 1, bytes });
        base
    }

    /// Whole batches from the one on that holds `offset`, up to about `bytes_max`.
    pub(crate) fn read(&self, offset: i64, bytes_max: usize) -> Bytes {
        let mut bytes = Vec::new();
        for batch in self.batches.iter().filter(|batch| batch.last >= offset) {
            if !bytes.is_empty() && bytes.len() + batch.bytes.len() > bytes_max {
                break;
            }
            bytes.extend_from_slice(&batch.bytes);
        }
        bytes.into()
    }

    /// Forgets what lies before `offset`, as retention does.
    pub(crate) fn delete_before(&mut self, offset: i64) {
        self.batches.retain(|batch| batch.base >= offset);
        self.start = offset;
    }

    /// Key and value of every record, in order.
    pub(crate) fn records(&self) -> Vec<(String, String)> {
        let bytes = self.read(self.start, usize::MAX);
        let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
        let (mut at, mut records, mut reader) = (0, Vec::new(), Reader::new(1 << 24));
        while let Some(found) = next_batch(&bytes, at) {
            at = found.next;
            reader.open(&bytes, found.batch.unwrap()).unwrap();
            while let Some(record) = reader.next(&bytes) {
                let record = record.unwrap();
                records.push((text(record.key), text(record.value)));
            }
        }
        records
    }
}
