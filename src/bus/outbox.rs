//! Records that wait to be sent or acknowledged: two bounded queues in memory, read as one in the order of publication.
//!
//! A record is copied in once, into a segment of memory that is used again. Segments are added as they are needed, so an idle
//! outbox takes next to nothing, and none is ever moved or copied to grow. Telemetry and events have half of the memory each:
//! neither can starve the other.
//!
//! ```text
//!            acknowledge(up_to)              take()                    push()
//!   (gone) <------------------- in flight <---------- unsent <-------------------
//!                                   |  rewind()  ^
//!                                   +------------+
//! ```
//!
//! Only unsent telemetry is ever dropped: a record in flight may be in the broker already, and stays until that is known.

mod stored;

pub use stored::{Entry, HEADERS_MAX};

use super::Full;
use crate::wire::{Class, Record};
use std::collections::VecDeque;
use stored::{decode, encode, encoded_len, read_len, read_seq};

/// Into how many segments the memory of a queue is divided: telemetry is dropped by the segment.
const SEGMENTS: usize = 32;
/// Bounds of a segment's size; a record that is larger has one of its own.
const SEGMENT_BYTES_MIN: usize = 4 * 1024;
const SEGMENT_BYTES_MAX: usize = 64 * 1024;
/// Empty segments that a queue keeps: as many as a fast clock fills before it lets the bus send. An allocator may give memory of
/// this size back to the operating system at once, and to get it again costs more than to write it.
const SPARES_MAX: usize = 16;

/// A bounded store of records on their way out.
#[derive(Debug)]
pub struct Outbox {
    telemetry: Queue,
    events: Queue,
    next_seq: u64,
    acknowledged: u64,
    dropped: u64,
}

impl Outbox {
    /// An empty outbox that will take at most `bytes_max` of memory (but never less than 8 KiB).
    #[must_use]
    pub fn new(bytes_max: usize) -> Self {
        let half = Queue::new(bytes_max / 2);
        Self { telemetry: half.clone(), events: half, next_seq: 0, acknowledged: 0, dropped: 0 }
    }

    /// Copies a record in. Telemetry that finds no room pushes out the oldest unsent telemetry, a segment (64 KiB or a
    /// thirty-second) at a time; where even the newest segment is in flight, it is dropped itself.
    ///
    /// # Errors
    /// [`Full`]: it is an event, and the events' half is full.
    pub fn push(&mut self, record: &Record<'_>, class: Class) -> Result<(), Full> {
        debug_assert!(record.headers.len() <= HEADERS_MAX, "{} headers", record.headers.len());
        let len = encoded_len(record);
        let queue = match class {
            Class::Telemetry => &mut self.telemetry,
            Class::Event => &mut self.events,
        };
        if class == Class::Telemetry {
            while !queue.has_room_for(len) {
                let Some(records) = queue.drop_oldest() else { break };
                self.dropped += records;
            }
        }
        if queue.has_room_for(len) {
            encode(queue.grow(len), len, self.next_seq, record);
        } else if class == Class::Telemetry {
            self.dropped += 1;
        } else {
            return Err(Full);
        }
        self.next_seq += 1;
        Ok(())
    }

    /// Hands out the next unsent record, in the order of publication. It is in flight from now on.
    pub fn take(&mut self) -> Option<Entry<'_>> {
        let queue = match (self.telemetry.unsent_seq(), self.events.unsent_seq()) {
            (Some(telemetry), Some(event)) if telemetry < event => &mut self.telemetry,
            (Some(_), None) => &mut self.telemetry,
            _ => &mut self.events,
        };
        queue.take().map(decode)
    }

    /// Lets every record in flight go whose `seq` is at most `up_to`.
    pub fn acknowledge(&mut self, up_to: u64) {
        self.acknowledged += self.telemetry.release(up_to) + self.events.release(up_to);
    }

    /// Makes every record in flight unsent again: [`Outbox::take`] starts over with the oldest.
    pub fn rewind(&mut self) {
        self.telemetry.rewind();
        self.events.rewind();
    }

    /// Records in it, unsent and in flight.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.telemetry.records + self.events.records
    }

    /// Bytes that the records in it take.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        (self.telemetry.bytes + self.events.bytes) as u64
    }

    /// Telemetry dropped since the start.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Records acknowledged since the start.
    #[must_use]
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged
    }

    /// Whether both halves are at most half full.
    #[must_use]
    pub fn has_room(&self) -> bool {
        [&self.telemetry, &self.events].iter().all(|queue| queue.bytes <= queue.bytes_max / 2)
    }
}

/// A place in a queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    segment: usize,
    offset: usize,
}

/// A first-in first-out queue of encoded records.
///
/// `front` is the oldest record's offset in the first segment; what lies before `unsent` is in flight. A segment is given back
/// when its last record leaves; the last one is emptied and stays.
#[derive(Clone, Debug)]
struct Queue {
    segments: VecDeque<Segment>,
    spares: Vec<Vec<u8>>,
    front: usize,
    unsent: Place,
    records: u64,
    unsent_records: u64,
    bytes: usize,
    capacity: usize,
    bytes_max: usize,
    segment_bytes: usize,
}

#[derive(Clone, Debug)]
struct Segment {
    bytes: Vec<u8>,
    /// Records in it that have not left.
    records: u64,
}

impl Queue {
    fn new(bytes_max: usize) -> Self {
        let segment_bytes = (bytes_max / SEGMENTS).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX);
        Self {
            segments: VecDeque::new(),
            spares: Vec::new(),
            front: 0,
            unsent: Place::default(),
            records: 0,
            unsent_records: 0,
            bytes: 0,
            capacity: 0,
            bytes_max: bytes_max.max(segment_bytes),
            segment_bytes,
        }
    }

    fn fits_last(&self, len: usize) -> bool {
        self.segments.back().is_some_and(|last| last.bytes.len() + len <= last.bytes.capacity())
    }

    /// An empty queue has room for any record: one that could never be stored would be offered for ever.
    fn has_room_for(&self, len: usize) -> bool {
        self.fits_last(len) || self.records == 0 || self.capacity + len.max(self.segment_bytes) <= self.bytes_max
    }

    /// The memory to which a record of `len` bytes is to be appended. There must be room.
    fn grow(&mut self, len: usize) -> &mut Vec<u8> {
        if !self.fits_last(len) {
            if self.records == 0 {
                self.recycle_first();
            }
            if len > self.segment_bytes {
                self.spares.clear();
            }
            let bytes = self.spares.pop().unwrap_or_else(|| Vec::with_capacity(len.max(self.segment_bytes)));
            self.capacity += bytes.capacity();
            self.segments.push_back(Segment { bytes, records: 0 });
        }
        self.records += 1;
        self.unsent_records += 1;
        self.bytes += len;
        let last = self.segments.len() - 1;
        self.segments[last].records += 1;
        &mut self.segments[last].bytes
    }

    fn unsent_seq(&self) -> Option<u64> {
        let Place { segment, offset } = self.unsent_place();
        (self.unsent_records > 0).then(|| read_seq(&self.segments[segment].bytes[offset..]))
    }

    /// `unsent`, moved on from the end of a segment to the beginning of the next.
    fn unsent_place(&self) -> Place {
        match self.segments.get(self.unsent.segment) {
            Some(segment) if self.unsent.offset == segment.bytes.len() => {
                Place { segment: self.unsent.segment + 1, offset: 0 }
            }
            _ => self.unsent,
        }
    }

    fn take(&mut self) -> Option<&[u8]> {
        if self.unsent_records == 0 {
            return None;
        }
        let Place { segment, offset } = self.unsent_place();
        let bytes = &self.segments[segment].bytes[offset..];
        let bytes = &bytes[..read_len(bytes)];
        self.unsent = Place { segment, offset: offset + bytes.len() };
        self.unsent_records -= 1;
        Some(bytes)
    }

    /// Lets records in flight go up to `seq`, and says how many.
    fn release(&mut self, up_to: u64) -> u64 {
        let before = self.records;
        while (Place { segment: 0, offset: self.front }) < self.unsent {
            let bytes = &self.segments[0].bytes[self.front..];
            if read_seq(bytes) > up_to {
                break;
            }
            let len = read_len(bytes);
            self.front += len;
            self.bytes -= len;
            self.records -= 1;
            self.segments[0].records -= 1;
            if self.segments[0].records == 0 {
                if self.segments.len() > 1 {
                    self.recycle_first();
                } else {
                    self.segments[0].bytes.clear();
                    self.front = 0;
                    self.unsent.offset = 0;
                }
            }
        }
        before - self.records
    }

    fn rewind(&mut self) {
        self.unsent = Place { segment: 0, offset: self.front };
        self.unsent_records = self.records;
    }

    /// Drops the oldest segment of which nothing is in flight, and says how many records that were.
    fn drop_oldest(&mut self) -> Option<u64> {
        let Place { segment, offset } = self.unsent_place();
        let untouched = offset == if segment == 0 { self.front } else { 0 };
        let victim = if untouched { segment } else { segment + 1 };
        let Segment { bytes, records } = self.segments.remove(victim)?;
        self.records -= records;
        self.unsent_records -= records;
        self.bytes -= bytes.len() - if victim == 0 { self.front } else { 0 };
        if victim == 0 {
            self.front = 0;
            self.unsent = Place::default();
        }
        self.recycle(bytes);
        Some(records)
    }

    /// Gives the first segment back; nothing of it is in use any more.
    fn recycle_first(&mut self) {
        if let Some(segment) = self.segments.pop_front() {
            self.recycle(segment.bytes);
            self.front = 0;
            self.unsent = match self.unsent.segment.checked_sub(1) {
                Some(segment) => Place { segment, ..self.unsent },
                None => Place::default(),
            };
        }
    }

    fn recycle(&mut self, mut bytes: Vec<u8>) {
        self.capacity -= bytes.capacity();
        if bytes.capacity() == self.segment_bytes && self.spares.len() < SPARES_MAX {
            bytes.clear();
            self.spares.push(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::SimTime;
    use crate::wire::TopicId;

    fn record(value: &[u8]) -> Record<'_> {
        Record { topic: TopicId(0), key: b"key", timestamp: SimTime(1), headers: &[("seq", b"1")], value }
    }

    fn allocated(outbox: &Outbox) -> usize {
        let of = |queue: &Queue| queue.capacity + queue.spares.iter().map(Vec::capacity).sum::<usize>();
        of(&outbox.telemetry) + of(&outbox.events)
    }

    #[test]
    fn memory_is_bounded_reused_and_given_back() {
        let bytes_max = 1 << 20;
        let mut outbox = Outbox::new(bytes_max);
        assert_eq!(allocated(&outbox), 0);
        for n in 0..20_000 {
            let value = [b'x'; 700];
            outbox.push(&record(&value[..n % 700]), Class::Telemetry).unwrap();
            let _ = outbox.push(&record(&value[..n % 400]), Class::Event);
            assert!(allocated(&outbox) <= bytes_max, "{} after {n}", allocated(&outbox));
        }
        assert!(outbox.bytes() as usize > bytes_max / 10 * 9);
        while outbox.take().is_some() {}
        outbox.acknowledge(u64::MAX);
        assert_eq!((outbox.records(), outbox.bytes()), (0, 0));
        assert!(allocated(&outbox) <= (1 + SPARES_MAX) * bytes_max / SEGMENTS, "{}", allocated(&outbox));

        let (before, last) = (allocated(&outbox), outbox.telemetry.segments[0].bytes.as_ptr());
        for _ in 0..SEGMENT_BYTES_MAX {
            outbox.push(&record(b"{}"), Class::Telemetry).unwrap();
            let seq = outbox.take().unwrap().seq;
            outbox.acknowledge(seq);
        }
        assert_eq!((allocated(&outbox), outbox.telemetry.segments[0].bytes.as_ptr()), (before, last));
    }

    #[test]
    fn a_burst_takes_the_memory_of_the_one_before() {
        let mut outbox = Outbox::new(1 << 20);
        let segment_bytes = outbox.telemetry.segment_bytes;
        let mut burst = || {
            while outbox.telemetry.segments.len() < SPARES_MAX || outbox.telemetry.fits_last(segment_bytes / 4) {
                outbox.push(&record(&[b'x'; 200]), Class::Telemetry).unwrap();
            }
            let mut segments: Vec<_> = outbox.telemetry.segments.iter().map(|segment| segment.bytes.as_ptr()).collect();
            while outbox.take().is_some() {}
            outbox.acknowledge(u64::MAX);
            segments.sort_unstable();
            segments
        };
        let first = burst();
        // Held by nobody: were a segment given back, this would get it.
        let _others = [0; 4 * SPARES_MAX].map(|_: usize| Vec::<u8>::with_capacity(segment_bytes));
        assert_eq!(burst(), first);
    }

    #[test]
    fn a_record_larger_than_the_outbox_passes_alone() {
        let mut outbox = Outbox::new(0);
        let value = vec![b'x'; 3 * SEGMENT_BYTES_MAX];
        outbox.push(&record(&value), Class::Event).unwrap();
        assert_eq!(outbox.push(&record(b"{}"), Class::Event), Err(Full));
        assert_eq!(outbox.take().unwrap().record(), record(&value));
        outbox.acknowledge(0);
        outbox.push(&record(b"{}"), Class::Event).unwrap();
        assert_eq!(outbox.take().unwrap().record(), record(b"{}"));
    }
}
