//! Writes record batches of format 2 (KIP-98), once, straight into the bytes that are sent.
//!
//! ```text
//!  0 base offset 8 | 8 length 4 | 12 leader epoch 4 | 16 magic 1 | 17 crc 4 | 21 attributes 2 | 23 last offset delta 4 |
//!  27 base timestamp 8 | 35 max timestamp 8 | 43 producer id 8 | 51 producer epoch 2 | 53 base sequence 4 | 57 count 4 | 61 records
//! ```
//!
//! `benches/kafka_encode.rs` compares it with `kafka-protocol`: its encoder takes as long, but wants records that own their bytes,
//! which makes a record cost ten times as much (300 ns for 100 bytes instead of 32), and what it writes would be copied once more.

mod split;

use super::deflate::deflate;
use super::inflate::Codec;
use super::pool::Pool;
use bytes::{BufMut, Bytes, BytesMut};

/// Bytes before the first record.
pub const HEADER_BYTES: usize = 61;
const LENGTH: usize = 8;
const CRC: usize = 17;
const ATTRIBUTES: usize = 21;
const PRODUCER_ID: usize = 43;
/// A buffer that is too short grows by so much more than it must.
const GROWN_AHEAD: usize = 4096;

/// A record to be sent. Everything is borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Chooses the partition; records of one key stay in order.
    pub key: &'a [u8],
    /// The payload.
    pub value: &'a [u8],
    /// Milliseconds since 1970 UTC.
    pub timestamp_ms: i64,
    /// Names and values.
    pub headers: &'a [(&'a str, &'a [u8])],
}

/// Who sends, and from which sequence number on: the broker refuses gaps and drops repetitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Of `InitProducerId`.
    pub producer_id: i64,
    /// Raised when sequence numbers begin anew.
    pub producer_epoch: i16,
    /// Of the batch's first record.
    pub sequence: i32,
}

/// A batch that takes records.
#[derive(Debug)]
pub struct Writer {
    /// What lies behind `end` is left from before, and is written over.
    buffer: BytesMut,
    end: usize,
    records: u32,
    base_timestamp: i64,
    max_timestamp: i64,
}

impl Writer {
    /// An empty batch in `buffer`, whatever that holds.
    #[must_use]
    pub fn new(mut buffer: BytesMut) -> Self {
        if buffer.len() < HEADER_BYTES {
            buffer.resize(HEADER_BYTES, 0);
        }
        Self { buffer, end: HEADER_BYTES, records: 0, base_timestamp: 0, max_timestamp: i64::MIN }
    }

    /// Records in it.
    #[must_use]
    pub const fn records(&self) -> u32 {
        self.records
    }

    /// Its size so far, before compression.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.end
    }

    /// Whether it has no record.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Appends a record.
    pub fn append(&mut self, record: &Record<'_>) {
        if self.records == 0 {
            self.base_timestamp = record.timestamp_ms;
        }
        self.max_timestamp = self.max_timestamp.max(record.timestamp_ms);
        let timestamp_delta = zigzag(record.timestamp_ms.wrapping_sub(self.base_timestamp));
        let offset_delta = zigzag(i64::from(self.records));
        let header_count = zigzag(record.headers.len() as i64);
        let headers =
            record.headers.iter().map(|(name, value)| sized_len(name.as_bytes()) + sized_len(value)).sum::<usize>();
        let body = 1
            + varint_len(timestamp_delta)
            + varint_len(offset_delta)
            + sized_len(record.key)
            + sized_len(record.value)
            + varint_len(header_count)
            + headers;
        let mut out = Out(self.grow(varint_len(zigzag(body as i64)) + body));
        out.varint(zigzag(body as i64));
        out.varint(0);
        out.varint(timestamp_delta);
        out.varint(offset_delta);
        out.sized(record.key);
        out.sized(record.value);
        out.varint(header_count);
        for (name, value) in record.headers {
            out.sized(name.as_bytes());
            out.sized(value);
        }
        self.records += 1;
    }

    /// Room for `bytes` more, at the end.
    fn grow(&mut self, bytes: usize) -> &mut [u8] {
        let start = self.end;
        self.end += bytes;
        if self.end > self.buffer.len() {
            self.buffer.resize(self.end + GROWN_AHEAD, 0);
        }
        &mut self.buffer[start..self.end]
    }

    /// Ends the batch: compresses it where a codec is given and it helps, and writes the header but for the stamp and the checksum.
    #[must_use]
    pub fn seal(mut self, codec: Codec, pool: &mut Pool) -> Sealed {
        self.buffer.truncate(self.end);
        let mut attributes = 0;
        if codec != Codec::None {
            let mut compressed = pool.take();
            compressed.clear();
            compressed.put_bytes(0, HEADER_BYTES);
            let done = deflate(codec, &self.buffer[HEADER_BYTES..], &mut compressed);
            if done.is_ok() && compressed.len() < self.buffer.len() {
                attributes = codec as i16;
                std::mem::swap(&mut self.buffer, &mut compressed);
            }
            pool.give(compressed);
        }
        // What waits takes at most twice the memory that it counts for.
        if pool.is_small(self.buffer.len()) {
            let small = pool.take_small(&self.buffer);
            pool.give(std::mem::replace(&mut self.buffer, small));
        }
        let length = (self.buffer.len() - LENGTH - 4) as i32;
        let mut header = &mut self.buffer[LENGTH..HEADER_BYTES];
        header.put_i32(length);
        header.put_i32(-1);
        header.put_i8(2);
        header.put_u32(0);
        header.put_i16(attributes);
        header.put_i32(self.records as i32 - 1);
        header.put_i64(self.base_timestamp);
        header.put_i64(self.max_timestamp);
        header.put_i64(-1);
        header.put_i16(-1);
        header.put_i32(-1);
        header.put_i32(self.records as i32);
        Sealed { bytes: self.buffer.freeze(), records: self.records, stamp: None }
    }
}

/// A batch that is whole but for who sends it.
#[derive(Debug)]
pub struct Sealed {
    bytes: Bytes,
    records: u32,
    stamp: Option<Stamp>,
}

impl Sealed {
    /// Records in it.
    #[must_use]
    pub const fn records(&self) -> u32 {
        self.records
    }

    /// Its size.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never: a batch has a header.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The stamp it bears.
    #[must_use]
    pub const fn stamp(&self) -> Option<Stamp> {
        self.stamp
    }

    /// Takes the stamp away: it will be sent under another.
    pub const fn unstamp(&mut self) {
        self.stamp = None;
    }

    /// The bytes, under `stamp`. Sent again under the same stamp they are the same.
    pub fn stamped(&mut self, stamp: Stamp) -> Bytes {
        if self.stamp != Some(stamp) {
            // Copied only where a connection still holds the bytes under another stamp.
            let mut bytes = BytesMut::from(std::mem::take(&mut self.bytes));
            let mut header = &mut bytes[PRODUCER_ID..];
            header.put_i64(stamp.producer_id);
            header.put_i16(stamp.producer_epoch);
            header.put_i32(stamp.sequence);
            let crc = crc32c::crc32c(&bytes[ATTRIBUTES..]);
            bytes[CRC..CRC + 4].copy_from_slice(&crc.to_be_bytes());
            self.bytes = bytes.freeze();
            self.stamp = Some(stamp);
        }
        self.bytes.clone()
    }

    /// The buffer, to be used again, unless a connection still holds it.
    #[must_use]
    pub fn into_buffer(self) -> Option<BytesMut> {
        self.bytes.try_into_mut().ok()
    }
}

/// The most that a record takes in a batch.
#[must_use]
pub fn record_len_max(record: &Record<'_>) -> usize {
    // Two varints of up to ten bytes, four of up to five, and the attributes.
    let headers = record.headers.iter().map(|(name, value)| name.len() + value.len() + 10).sum::<usize>();
    41 + record.key.len() + record.value.len() + headers
}

/// The sequence number so many records behind another: they go on from 0 after `i32::MAX`.
#[must_use]
pub const fn advance(sequence: i32, records: u32) -> i32 {
    (sequence as u32).wrapping_add(records) as i32 & i32::MAX
}

/// Small numbers of either sign become small numbers without one.
const fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

const fn varint_len(value: u64) -> usize {
    (70 - (value | 1).leading_zeros() as usize) / 7
}

const fn sized_len(bytes: &[u8]) -> usize {
    varint_len(zigzag(bytes.len() as i64)) + bytes.len()
}

/// Bytes still to be written.
struct Out<'a>(&'a mut [u8]);

impl Out<'_> {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes(&[value as u8 | 0x80]);
            value >>= 7;
        }
        self.bytes(&[value as u8]);
    }

    fn sized(&mut self, bytes: &[u8]) {
        self.varint(zigzag(bytes.len() as i64));
        self.bytes(bytes);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let (out, rest) = std::mem::take(&mut self.0).split_at_mut(bytes.len());
        self.0 = rest;
        copy(out, bytes);
    }
}

/// Copies slices of the same length. Most are short: two moves that overlap are cheaper than a call.
fn copy(out: &mut [u8], bytes: &[u8]) {
    match bytes.len() {
        4..8 => copy_ends::<4>(out, bytes),
        8..=16 => copy_ends::<8>(out, bytes),
        17..=32 => copy_ends::<16>(out, bytes),
        _ => out.copy_from_slice(bytes),
    }
}

/// Copies the first and the last `N` bytes, which are all.
fn copy_ends<const N: usize>(out: &mut [u8], bytes: &[u8]) {
    if let (Some(first), Some(last)) = (bytes.first_chunk::<N>(), bytes.last_chunk::<N>()) {
        if let Some(out) = out.first_chunk_mut() {
            *out = *first;
        }
        if let Some(out) = out.last_chunk_mut() {
            *out = *last;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::records::RecordBatchDecoder;

    type Owned = (Vec<u8>, Vec<u8>, i64, Vec<(String, Vec<u8>)>);

    fn write(records: &[Owned]) -> Sealed {
        let mut writer = Writer::new(BytesMut::new());
        for (key, value, timestamp_ms, headers) in records {
            let headers: Vec<(&str, &[u8])> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
            writer.append(&Record { key, value, timestamp_ms: *timestamp_ms, headers: &headers });
        }
        writer.seal(Codec::None, &mut Pool::new(1, 0))
    }

    proptest::proptest! {
        /// The decoder of `kafka-protocol` checks the checksum and reads back every field.
        #[test]
        fn what_is_written_is_read_back_by_an_independent_decoder(
            records in proptest::collection::vec(
                (proptest::collection::vec(0_u8.., 0..200), proptest::collection::vec(0_u8.., 0..300), -1_i64 << 40..1 << 40,
                 proptest::collection::vec(("[a-z_]{1,20}", proptest::collection::vec(0_u8.., 0..9)), 0..4)),
                1..150),
        ) {
            let mut records: Vec<Owned> = records;
            // Names of headers are unique for the decoder's map.
            for (_, _, _, headers) in &mut records {
                headers.iter_mut().enumerate().for_each(|(n, (name, _))| name.push_str(&n.to_string()));
            }
            let mut batch = write(&records);
            let stamp = Stamp { producer_id: 4_000_000_000_000, producer_epoch: 7, sequence: i32::MAX - 1 };
            let set = RecordBatchDecoder::decode(&mut batch.stamped(stamp)).unwrap();
            proptest::prop_assert_eq!(set.records.len(), records.len());
            for (n, (read, (key, value, timestamp_ms, headers))) in set.records.iter().zip(&records).enumerate() {
                proptest::prop_assert_eq!(read.key.as_deref(), Some(key.as_slice()));
                proptest::prop_assert_eq!(read.value.as_deref(), Some(value.as_slice()));
                proptest::prop_assert_eq!(read.timestamp, *timestamp_ms);
                proptest::prop_assert_eq!(read.offset, n as i64);
                proptest::prop_assert_eq!(read.producer_id, stamp.producer_id);
                proptest::prop_assert_eq!(read.producer_epoch, stamp.producer_epoch);
                let read: Vec<(String, Vec<u8>)> =
                    read.headers.iter().map(|(name, value)| (name.to_string(), value.clone().unwrap().to_vec())).collect();
                proptest::prop_assert_eq!(&read, headers);
            }
        }
    }

    #[test]
    fn a_batch_stamped_again_has_a_right_checksum_and_otherwise_the_same_bytes() {
        let mut batch = write(&[(b"k".to_vec(), b"v".to_vec(), 1, Vec::new())]);
        let first = batch.stamped(Stamp { producer_id: 1, producer_epoch: 0, sequence: 5 });
        assert_eq!(first, batch.stamped(Stamp { producer_id: 1, producer_epoch: 0, sequence: 5 }));
        let second = batch.stamped(Stamp { producer_id: 1, producer_epoch: 1, sequence: 0 });
        assert_eq!(first[HEADER_BYTES..], second[HEADER_BYTES..]);
        for bytes in [first, second] {
            assert_eq!(RecordBatchDecoder::decode(&mut bytes.clone()).unwrap().records.len(), 1);
        }
    }

    #[test]
    fn the_buffer_comes_back_when_no_connection_holds_it() {
        let mut batch = write(&[(b"k".to_vec(), b"v".to_vec(), 1, Vec::new())]);
        let held = batch.stamped(Stamp { producer_id: 1, producer_epoch: 0, sequence: 0 });
        drop(held);
        assert!(batch.into_buffer().is_some());
    }
}
