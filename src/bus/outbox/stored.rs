//! A record as bytes in an outbox's memory.

use crate::units::SimTime;
use crate::wire::{Record, TopicId};

/// Headers that a stored record may have; those of the wire have three.
pub const HEADERS_MAX: usize = 8;

/// A stored record that was handed out.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    /// Its place in the order of publication, from 0: what [`Outbox::acknowledge`] wants to know.
    pub seq: u64,
    topic: TopicId,
    key: &'a [u8],
    timestamp: SimTime,
    headers: [(&'a str, &'a [u8]); HEADERS_MAX],
    headers_len: usize,
    value: &'a [u8],
}

impl Entry<'_> {
    /// The record as it was published.
    #[must_use]
    pub fn record(&self) -> Record<'_> {
        Record {
            topic: self.topic,
            key: self.key,
            timestamp: self.timestamp,
            headers: &self.headers[..self.headers_len],
            value: self.value,
        }
    }
}

// A stored record, every integer little-endian: its length (4 bytes), seq (8), timestamp (8), topic (2), number of headers (2),
// length of the key (4) and of the value (4); for each header the length of its name (4) and of its value (4); then key, value,
// and each header's name and value.

const LEN_LEN: usize = 4;
const FIXED_LEN: usize = LEN_LEN + 28;
const HEADER_FIXED_LEN: usize = 8;

pub(super) fn encoded_len(record: &Record<'_>) -> usize {
    let headers: usize = record.headers.iter().map(|(name, value)| HEADER_FIXED_LEN + name.len() + value.len()).sum();
    FIXED_LEN + record.key.len() + record.value.len() + headers
}

pub(super) fn encode(out: &mut Vec<u8>, len: usize, seq: u64, record: &Record<'_>) {
    out.extend((len as u32).to_le_bytes());
    out.extend(seq.to_le_bytes());
    out.extend(record.timestamp.0.to_le_bytes());
    out.extend(record.topic.0.to_le_bytes());
    out.extend((record.headers.len() as u16).to_le_bytes());
    out.extend((record.key.len() as u32).to_le_bytes());
    out.extend((record.value.len() as u32).to_le_bytes());
    for (name, value) in record.headers {
        out.extend((name.len() as u32).to_le_bytes());
        out.extend((value.len() as u32).to_le_bytes());
    }
    out.extend_from_slice(record.key);
    out.extend_from_slice(record.value);
    for (name, value) in record.headers {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(value);
    }
}

pub(super) fn decode(stored: &[u8]) -> Entry<'_> {
    let (mut fixed, mut rest) = stored.split_at(FIXED_LEN);
    fixed = &fixed[LEN_LEN..];
    let seq = u64::from_le_bytes(cut_array(&mut fixed));
    let timestamp = SimTime(i64::from_le_bytes(cut_array(&mut fixed)));
    let topic = TopicId(u16::from_le_bytes(cut_array(&mut fixed)));
    let headers_len = usize::from(u16::from_le_bytes(cut_array(&mut fixed)));
    let key_len = u32::from_le_bytes(cut_array(&mut fixed));
    let value_len = u32::from_le_bytes(cut_array(&mut fixed));

    let mut lens = cut(&mut rest, (HEADER_FIXED_LEN * headers_len) as u32);
    let key = cut(&mut rest, key_len);
    let value = cut(&mut rest, value_len);
    let mut headers = [("", &[][..]); HEADERS_MAX];
    for header in &mut headers[..headers_len] {
        let name = cut(&mut rest, u32::from_le_bytes(cut_array(&mut lens)));
        let value = cut(&mut rest, u32::from_le_bytes(cut_array(&mut lens)));
        *header = (std::str::from_utf8(name).unwrap_or_default(), value);
    }
    Entry { seq, topic, key, timestamp, headers, headers_len, value }
}

pub(super) fn read_len(stored: &[u8]) -> usize {
    u32::from_le_bytes(cut_array(&mut &stored[..])) as usize
}

pub(super) fn read_seq(stored: &[u8]) -> u64 {
    u64::from_le_bytes(cut_array(&mut &stored[LEN_LEN..]))
}

/// Cuts an array off the front of what `encode` wrote.
fn cut_array<const N: usize>(stored: &mut &[u8]) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(cut(stored, N as u32));
    bytes
}

/// Cuts `len` bytes off the front of what `encode` wrote.
fn cut<'a>(stored: &mut &'a [u8], len: u32) -> &'a [u8] {
    let (head, rest) = stored.split_at(len as usize);
    *stored = rest;
    head
}
