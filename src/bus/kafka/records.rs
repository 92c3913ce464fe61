//! Reads record batches (message format v2, Kafka 0.11 and later) where they lie, without an allocation per record.
//!
//! ```text
//! Fetch response ── next_batch ──> Batch ── Reader::open ──> records, one by one, keys and values borrowed
//!                                    └ its records, decompressed into a buffer of the reader as they are read
//! ```
//!
//! A broker may hold segments in the older formats 0 and 1, written before 0.11 and never compacted since. It converts them only
//! for Fetch versions that this client does not speak, so they are refused with [`RecordsError::OldFormat`], which says where the
//! next batch begins: the caller counts it and goes on.
//!
//! Format: <https://kafka.apache.org/documentation/#recordbatch>.

use super::inflate::{Codec, Inflater};
use bytes::Bytes;
use std::io;
use std::ops::Range;

/// Why a batch or a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    /// A batch of message format 0 or 1.
    #[error("message format {magic} at offset {base_offset}; expected 2 (Kafka 0.11 and later)")]
    OldFormat {
        /// 0 or 1.
        magic: i8,
        /// Offset of its first message.
        base_offset: i64,
    },
    /// A format that this client does not know.
    #[error("message format {magic} at offset {base_offset}; expected 2")]
    UnknownFormat {
        /// What stands there.
        magic: i8,
        /// Offset of the first message.
        base_offset: i64,
    },
    /// The checksum does not fit the bytes.
    #[error("batch at offset {base_offset}: checksum {found:08x}, expected {expected:08x}")]
    Checksum {
        /// Offset of its first record.
        base_offset: i64,
        /// CRC-32C of the bytes.
        found: u32,
        /// What the batch says.
        expected: u32,
    },
    /// The batch could not be decompressed.
    #[error("batch at offset {base_offset}: {source}")]
    Inflate {
        /// Offset of its first record.
        base_offset: i64,
        /// Why.
        source: io::Error,
    },
    /// The bytes are no batch, or no record.
    #[error("batch at offset {base_offset}: {what}")]
    Malformed {
        /// Offset of its first record.
        base_offset: i64,
        /// What is wrong.
        what: &'static str,
    },
}

/// Base offset and length: what comes before everything that the length counts.
const PREFIX_BYTES: usize = 12;
/// From the base offset up to the records.
const HEADER_BYTES: usize = 61;
/// Where the bytes begin that the checksum covers.
const CHECKED_FROM: usize = 21;

const ATTRIBUTE_LOG_APPEND_TIME: i16 = 1 << 3;
const ATTRIBUTE_TRANSACTIONAL: i16 = 1 << 4;
const ATTRIBUTE_CONTROL: i16 = 1 << 5;

/// A batch's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Offset of the first record (it may have been compacted away).
    pub base_offset: i64,
    /// Offset of the last one.
    pub last_offset: i64,
    /// Epoch of the leader that appended it.
    pub leader_epoch: i32,
    /// Who produced it; -1 unless idempotent.
    pub producer_id: i64,
    /// Its producer's epoch; -1 unless idempotent.
    pub producer_epoch: i16,
    /// Sequence number of its first record; -1 unless idempotent.
    pub base_sequence: i32,
    /// Bits as the format defines them.
    attributes: i16,
    base_timestamp: i64,
    max_timestamp: i64,
    /// Records that it says it holds.
    count: u32,
    codec: Codec,
    /// Where its records lie in the bytes it was read from.
    body: Range<usize>,
}

impl Batch {
    /// Whether it belongs to a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & ATTRIBUTE_TRANSACTIONAL != 0
    }

    /// Whether it holds markers of the broker and no records.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & ATTRIBUTE_CONTROL != 0
    }
}

/// What stands at a place in the bytes of a Fetch response.
#[derive(Debug)]
pub struct Found {
    /// The batch, or why it cannot be read.
    pub batch: Result<Batch, RecordsError>,
    /// Where the next one begins.
    pub next: usize,
    /// The offset behind it, as far as a header can be believed that no checksum vouches for.
    pub next_offset: i64,
}

/// Finds the batch that begins at `at`. `None`: nothing is left but, perhaps, the beginning of a batch that the broker cut off,
/// which it may do to the last one.
#[must_use]
pub fn next_batch(bytes: &[u8], at: usize) -> Option<Found> {
    let frame = frame(bytes, at)?;
    let batch = match frame.whole {
        Some(whole) => read_batch(whole, frame.base_offset, at),
        None => Err(RecordsError::Malformed { base_offset: frame.base_offset, what: "its length is negative" }),
    };
    Some(Found { batch, next: frame.next, next_offset: frame.next_offset })
}

/// The offset behind the last whole batch, `from` when there is none: where to read on, once these bytes have been read.
#[must_use]
pub fn next_offset(bytes: &[u8], from: i64) -> i64 {
    let (mut at, mut next) = (0, from);
    while let Some(frame) = frame(bytes, at) {
        (at, next) = (frame.next, next.max(frame.next_offset));
    }
    next
}

/// What can be said of a batch without a look at its contents.
struct Frame<'a> {
    base_offset: i64,
    /// `None`: its length makes no sense, and nothing behind it can be found.
    whole: Option<&'a [u8]>,
    next: usize,
    next_offset: i64,
}

fn frame(bytes: &[u8], at: usize) -> Option<Frame<'_>> {
    let rest = bytes.get(at..)?;
    let base_offset = i64::from_be_bytes(field(rest, 0)?);
    let length = i32::from_be_bytes(field(rest, 8)?);
    let Ok(length) = usize::try_from(length) else {
        return Some(Frame { base_offset, whole: None, next: bytes.len(), next_offset: base_offset.saturating_add(1) });
    };
    let whole = rest.get(..PREFIX_BYTES.checked_add(length)?)?;
    let magic_2 = field(whole, 16) == Some([2]);
    let last_offset_delta = field(whole, 23).map(i32::from_be_bytes).filter(|delta| magic_2 && *delta >= 0).unwrap_or(0);
    let next_offset = base_offset.saturating_add(i64::from(last_offset_delta)).saturating_add(1);
    Some(Frame { base_offset, whole: Some(whole), next: at + whole.len(), next_offset })
}

/// Reads the header of `whole`, which lies at `at`, and checks the checksum.
fn read_batch(whole: &[u8], base_offset: i64, at: usize) -> Result<Batch, RecordsError> {
    let malformed = |what| RecordsError::Malformed { base_offset, what };
    let magic = i8::from_be_bytes(field(whole, 16).ok_or(malformed("it has no magic byte"))?);
    match magic {
        2 => {}
        0 | 1 => return Err(RecordsError::OldFormat { magic, base_offset }),
        _ => return Err(RecordsError::UnknownFormat { magic, base_offset }),
    }
    let header: &[u8; HEADER_BYTES] = whole.first_chunk().ok_or(malformed("its header is cut off"))?;
    let expected = u32::from_be_bytes(at_of(header, 17));
    let found = crc32c::crc32c(&whole[CHECKED_FROM..]);
    if found != expected {
        return Err(RecordsError::Checksum { base_offset, found, expected });
    }
    let attributes = i16::from_be_bytes(at_of(header, 21));
    let last_offset_delta = i32::from_be_bytes(at_of(header, 23));
    let last_offset = base_offset.checked_add(i64::from(last_offset_delta)).filter(|&last| last < i64::MAX);
    Ok(Batch {
        base_offset,
        last_offset: last_offset
            .filter(|&last| base_offset >= 0 && last >= base_offset)
            .ok_or(malformed("its offsets are out of range"))?,
        leader_epoch: i32::from_be_bytes(at_of(header, 12)),
        producer_id: i64::from_be_bytes(at_of(header, 43)),
        producer_epoch: i16::from_be_bytes(at_of(header, 51)),
        base_sequence: i32::from_be_bytes(at_of(header, 53)),
        attributes,
        base_timestamp: i64::from_be_bytes(at_of(header, 27)),
        max_timestamp: i64::from_be_bytes(at_of(header, 35)),
        count: u32::try_from(i32::from_be_bytes(at_of(header, 57))).map_err(|_| malformed("its count is negative"))?,
        codec: Codec::of_attributes(attributes).ok_or(malformed("its codec is unknown"))?,
        body: at + HEADER_BYTES..at + whole.len(),
    })
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// A field of the header; the place is a constant of the format, so it is inside.
fn at_of<const N: usize>(header: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&header[at..at + N]);
    field
}

/// One record, borrowed from the response or from the reader's buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its offset in the partition.
    pub offset: i64,
    /// When it was created or, if the topic says so, appended; milliseconds since 1970 UTC, -1 when unknown.
    pub timestamp_ms: i64,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: Headers<'a>,
}

/// Headers of a record, in order; they have been checked when the record was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    left: u32,
    rest: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        take_header(&mut self.rest)
    }
}

/// Walks through the records of one batch at a time. It may stop between any two of them and go on later, as long as it is given
/// the same bytes.
#[derive(Debug)]
pub struct Reader {
    /// What has been decompressed of the open batch and not been read, when it is compressed.
    inflated: Vec<u8>,
    bytes_max: usize,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    batch: Batch,
    /// The rest of its records, when they are compressed.
    inflater: Option<Inflater>,
    /// Where the next record begins, in the body or in the buffer.
    at: usize,
    left: u32,
    /// The two before the record that was read last.
    before: (usize, u32),
}

/// What the buffer may keep between two batches.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

impl Reader {
    /// A reader of compressed records of at most `bytes_max` bytes each: its buffer never holds many more.
    #[must_use]
    pub const fn new(bytes_max: usize) -> Self {
        Self { inflated: Vec::new(), bytes_max, open: None }
    }

    /// Opens a batch of `bytes`, in place of the one that was open.
    ///
    /// # Errors
    /// It cannot be decompressed.
    pub fn open(&mut self, bytes: &Bytes, batch: Batch) -> Result<(), RecordsError> {
        self.close();
        let inflater = || Inflater::new(batch.codec, bytes.slice(batch.body.clone()), self.bytes_max);
        let inflater = (batch.codec != Codec::None).then(inflater).transpose();
        let inflater = inflater.map_err(|source| RecordsError::Inflate { base_offset: batch.base_offset, source })?;
        self.open = Some(Open { at: 0, left: batch.count, before: (0, batch.count), batch, inflater });
        Ok(())
    }

    /// Forgets the open batch.
    pub fn close(&mut self) {
        self.open = None;
        self.inflated.clear();
        self.inflated.shrink_to(BUFFER_KEPT_BYTES);
    }

    /// The batch that is open.
    #[must_use]
    pub fn batch(&self) -> Option<&Batch> {
        self.open.as_ref().map(|open| &open.batch)
    }

    /// Puts the record that [`Self::next`] handed out last back: the next call hands it out again.
    pub fn unread(&mut self) {
        if let Some(open) = &mut self.open {
            (open.at, open.left) = open.before;
        }
    }

    /// The next record of the open batch, which lies in `bytes`. `None` at its end, when none is open, and after an error.
    pub fn next<'a>(&'a mut self, bytes: &'a [u8]) -> Option<Result<Record<'a>, RecordsError>> {
        let open = self.open.as_mut()?;
        let left = open.left.checked_sub(1)?;
        let body = match &mut open.inflater {
            None => bytes.get(open.batch.body.clone()),
            Some(inflater) => {
                if let Err(source) = see_whole_record(&mut self.inflated, &mut open.at, inflater, self.bytes_max) {
                    open.left = 0;
                    return Some(Err(RecordsError::Inflate { base_offset: open.batch.base_offset, source }));
                }
                Some(self.inflated.as_slice())
            }
        };
        open.before = (open.at, open.left);
        open.left = left;
        let mut rest = body.and_then(|body| body.get(open.at..)).unwrap_or_default();
        let before = rest.len();
        let record = take_record(&mut rest, &open.batch);
        open.at += before - rest.len();
        if record.is_none() {
            open.left = 0;
        }
        let base_offset = open.batch.base_offset;
        Some(record.ok_or(RecordsError::Malformed { base_offset, what: "a record is malformed or cut off" }))
    }
}

/// What ends a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    /// Its records are void.
    Abort,
    /// They stand.
    Commit,
}

/// The marker that a control record's key names; `None` for other control records.
#[must_use]
pub fn marker(record: &Record<'_>) -> Option<Marker> {
    // The key is a version and a type, 16 bits each.
    match i16::from_be_bytes(field(record.key?, 2)?) {
        0 => Some(Marker::Abort),
        1 => Some(Marker::Commit),
        _ => None,
    }
}

/// Decompresses until the record at `at` is whole, if there is so much; what lies before it is dropped then.
fn see_whole_record(inflated: &mut Vec<u8>, at: &mut usize, inflater: &mut Inflater, bytes_max: usize) -> io::Result<()> {
    loop {
        let there = inflated.get(*at..).unwrap_or_default();
        let mut rest = there;
        // A length that is negative or no number at all is for whoever reads the record to tell.
        let is_whole = match take_varint(&mut rest).map(|length| usize::try_from(length).unwrap_or_default()) {
            Some(length) if length > bytes_max => {
                let text = format!("a record of {length} bytes when decompressed, expected at most {bytes_max}");
                return Err(io::Error::other(text));
            }
            Some(length) => length <= rest.len(),
            None => there.len() >= VARINT_BYTES_MAX,
        };
        if is_whole {
            return Ok(());
        }
        inflated.drain(..*at);
        *at = 0;
        if !inflater.append_to(inflated)? {
            return Ok(());
        }
    }
}

fn take_record<'a>(rest: &mut &'a [u8], batch: &Batch) -> Option<Record<'a>> {
    let length = usize::try_from(take_varint(rest)?).ok()?;
    let mut record = take(rest, length)?;
    let _attributes = take(&mut record, 1)?;
    let timestamp_delta = take_varint(&mut record)?;
    let offset_delta = take_varint(&mut record)?;
    let offset = batch.base_offset.checked_add(offset_delta)?;
    if !(batch.base_offset..=batch.last_offset).contains(&offset) {
        return None;
    }
    let key = take_nullable(&mut record)?;
    let value = take_nullable(&mut record)?;
    let left = u32::try_from(take_varint(&mut record)?).ok()?;
    let headers = Headers { left, rest: record };
    for _ in 0..left {
        take_header(&mut record)?;
    }
    let timestamp_ms = if batch.attributes & ATTRIBUTE_LOG_APPEND_TIME != 0 {
        batch.max_timestamp
    } else {
        batch.base_timestamp.saturating_add(timestamp_delta)
    };
    record.is_empty().then_some(Record { offset, timestamp_ms, key, value, headers })
}

fn take_header<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    Some((take_nullable(rest)??, take_nullable(rest)?))
}

/// Bytes after their length, which is -1 for null.
fn take_nullable<'a>(rest: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match take_varint(rest)? {
        -1 => Some(None),
        length => take(rest, usize::try_from(length).ok()?).map(Some),
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, left) = rest.split_at_checked(length)?;
    *rest = left;
    Some(taken)
}

const VARINT_BYTES_MAX: usize = 10;

/// A zigzag varint of at most 64 bits.
fn take_varint(rest: &mut &[u8]) -> Option<i64> {
    let mut value = 0_u64;
    for (index, &byte) in rest.iter().take(VARINT_BYTES_MAX).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *rest = &rest[index + 1..];
            return Some((value >> 1) as i64 ^ -((value & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests;
