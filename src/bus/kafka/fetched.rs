//! What a Fetch response holds of one partition, handed out record by record.

use super::records::{Batch, Marker, Reader, Record, RecordsError, marker, next_batch};
use bytes::Bytes;
use kafka_protocol::messages::fetch_response::AbortedTransaction;

/// What the caller says of a record it was handed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is done with; its offset may be committed.
    Done,
    /// Hand it over again later, and nothing behind it before.
    Later,
}

/// Where a record was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The partition.
    pub partition: i32,
    /// How often its offsets have begun anew, with a topic that was deleted and created again.
    pub incarnation: u32,
}

/// The place in a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Offset of the next record.
    pub next: i64,
    /// Epoch of the leader that appended the one before it, -1 when unknown.
    pub leader_epoch: i32,
}

/// Where a batch is begun anew that had been read in part, so much of it is passed over in one turn: it may be a large one.
const PASSED_BYTES_MAX: usize = 4 << 20;

/// Why no more records are handed out.
#[derive(Debug)]
pub(super) enum Stop {
    /// Everything has been read.
    Empty,
    /// The caller has no room.
    Later,
    /// The caller wants no more in this turn.
    Budget,
    /// A batch cannot be read.
    Damaged {
        error: RecordsError,
        /// Where reading can go on behind it.
        next_offset: i64,
    },
}

/// Bytes of a response with the place that has been reached in them.
#[derive(Debug)]
pub(super) struct Fetched {
    bytes: Bytes,
    /// Where the batch begins that is being read, or is to be read next.
    at: usize,
    /// Where the one behind it begins.
    next: usize,
    /// Aborted transactions that begin further on, the first one last.
    aborted: Vec<AbortedTransaction>,
    /// Producers whose transaction at this place was aborted.
    void: Vec<i64>,
}

impl Fetched {
    pub(super) fn new(bytes: Bytes, mut aborted: Vec<AbortedTransaction>) -> Self {
        aborted.sort_unstable_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Self { bytes, at: 0, next: 0, aborted, void: Vec::new() }
    }

    /// Hands out records from `place` on. The batch that `reader` has open, if any, must be one of these.
    pub(super) fn deliver(
        &mut self,
        reader: &mut Reader,
        place: &mut Place,
        budget: &mut usize,
        sink: &mut dyn FnMut(&Record<'_>) -> Verdict,
    ) -> Stop {
        let mut passed_bytes = 0;
        loop {
            let Some(batch) = reader.batch().cloned() else {
                match self.open_next(reader, place) {
                    Ok(()) => continue,
                    Err(stop) => return stop,
                }
            };
            while let Some(record) = reader.next(&self.bytes) {
                match record {
                    Ok(record) if record.offset < place.next => {
                        passed_bytes += 1 + record.value.unwrap_or_default().len();
                        if passed_bytes > PASSED_BYTES_MAX {
                            return Stop::Budget;
                        }
                    }
                    Ok(_) if *budget == 0 => {
                        reader.unread();
                        return Stop::Budget;
                    }
                    Ok(record) => {
                        let next = record.offset + 1;
                        if sink(&record) == Verdict::Later {
                            reader.unread();
                            return Stop::Later;
                        }
                        *budget -= 1;
                        *place = Place { next, leader_epoch: batch.leader_epoch };
                    }
                    Err(error) => return Stop::Damaged { error, next_offset: batch.last_offset + 1 },
                }
            }
            self.pass(reader, &batch, place);
        }
    }

    /// Steps behind the batch that cannot be read.
    pub(super) fn skip_damaged(&mut self, reader: &mut Reader) {
        reader.close();
        self.at = self.next;
    }

    /// Leaves a batch behind.
    fn pass(&mut self, reader: &mut Reader, batch: &Batch, place: &mut Place) {
        // The last records of a batch may have been compacted away.
        if place.next <= batch.last_offset {
            *place = Place { next: batch.last_offset + 1, leader_epoch: batch.leader_epoch };
        }
        reader.close();
        self.at = self.next;
    }

    /// Opens the next batch that holds something for a reader.
    fn open_next(&mut self, reader: &mut Reader, place: &mut Place) -> Result<(), Stop> {
        while let Some(found) = next_batch(&self.bytes, self.at) {
            self.next = found.next;
            let next_offset = found.next_offset.max(place.next.saturating_add(1));
            let damaged = |error| Stop::Damaged { error, next_offset };
            let batch = found.batch.map_err(damaged)?;
            if self.is_wanted(reader, &batch, place).map_err(damaged)? {
                return reader.open(&self.bytes, batch).map_err(damaged);
            }
            self.pass(reader, &batch, place);
        }
        Err(Stop::Empty)
    }

    /// Whether a batch holds something for a reader: no markers, no records of an aborted transaction, not only what has been read.
    fn is_wanted(&mut self, reader: &mut Reader, batch: &Batch, place: &Place) -> Result<bool, RecordsError> {
        while let Some(begun) = self.aborted.pop_if(|transaction| transaction.first_offset <= batch.last_offset) {
            self.void.push(begun.producer_id.0);
        }
        if batch.is_control() {
            reader.open(&self.bytes, batch.clone())?;
            while let Some(record) = reader.next(&self.bytes) {
                if marker(&record?) == Some(Marker::Abort) {
                    self.void.retain(|producer_id| *producer_id != batch.producer_id);
                }
            }
            return Ok(false);
        }
        Ok(batch.last_offset >= place.next && !(batch.is_transactional() && self.void.contains(&batch.producer_id)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::inflate::Codec;
    use super::super::sample::{batch, end_of_transaction, record, transactional};
    use super::*;

    const START: Place = Place { next: 0, leader_epoch: -1 };

    fn fetched(batches: &[Vec<u8>], aborted: &[(i64, i64)]) -> Fetched {
        let aborted = aborted.iter().map(|&(producer_id, first_offset)| {
            AbortedTransaction::default().with_producer_id(producer_id.into()).with_first_offset(first_offset)
        });
        Fetched::new(batches.concat().into(), aborted.collect())
    }

    fn offsets(fetched: &mut Fetched, place: &mut Place) -> Vec<i64> {
        let mut offsets = Vec::new();
        let stop = fetched.deliver(&mut Reader::new(1 << 20), place, &mut 1000, &mut |record| {
            offsets.push(record.offset);
            Verdict::Done
        });
        assert!(matches!(stop, Stop::Empty), "{stop:?}");
        offsets
    }

    #[test]
    fn records_before_the_place_are_passed_over() {
        let mut fetched =
            fetched(&[batch(&[record(0, "a"), record(1, "b")], Codec::Gzip), batch(&[record(2, "c")], Codec::None)], &[]);
        let mut place = Place { next: 1, leader_epoch: -1 };
        assert_eq!(offsets(&mut fetched, &mut place), [1, 2]);
        assert_eq!(place, Place { next: 3, leader_epoch: 3 });
    }

    #[test]
    fn a_large_batch_that_is_begun_anew_is_passed_over_in_several_turns() {
        let value = "v".repeat(60_000);
        let records: Vec<_> = (0..200).map(|offset| record(offset, &value)).collect();
        let mut fetched = fetched(&[batch(&records, Codec::Zstd)], &[]);
        let (mut reader, mut place, mut seen) = (Reader::new(1 << 20), Place { next: 198, leader_epoch: -1 }, Vec::new());
        let mut turns = 1;
        while let Stop::Budget = fetched.deliver(&mut reader, &mut place, &mut 1000, &mut |record| {
            seen.push(record.offset);
            Verdict::Done
        }) {
            turns += 1;
        }
        assert_eq!((seen, turns), (vec![198, 199], 3));
    }

    #[test]
    fn a_refused_record_comes_again_and_nothing_behind_it_before() {
        let mut fetched = fetched(&[batch(&[record(0, "a"), record(1, "b"), record(2, "c")], Codec::Zstd)], &[]);
        let (mut reader, mut place, mut seen) = (Reader::new(1 << 20), START, Vec::new());
        for room in [1, 0, 0, 2] {
            let mut room = room;
            fetched.deliver(&mut reader, &mut place, &mut 10, &mut |record| {
                seen.push(record.offset);
                if room == 0 {
                    return Verdict::Later;
                }
                room -= 1;
                Verdict::Done
            });
        }
        assert_eq!(seen, [0, 1, 1, 1, 1, 2]);
        assert_eq!(place.next, 3);
    }

    #[test]
    fn the_budget_is_kept_and_another_batch_may_be_read_in_between() {
        let mut first = fetched(&[batch(&[record(0, "a"), record(1, "b")], Codec::Lz4)], &[]);
        let mut other = fetched(&[batch(&[record(7, "x")], Codec::Gzip)], &[]);
        let (mut reader, mut place, mut seen) = (Reader::new(1 << 20), START, Vec::new());
        let mut sink = |record: &Record<'_>| {
            seen.push(record.offset);
            Verdict::Done
        };
        assert!(matches!(first.deliver(&mut reader, &mut place, &mut 1, &mut sink), Stop::Budget));
        reader.close();
        other.deliver(&mut reader, &mut Place { next: 7, leader_epoch: -1 }, &mut 9, &mut sink);
        assert!(matches!(first.deliver(&mut reader, &mut place, &mut 9, &mut sink), Stop::Empty));
        assert_eq!(seen, [0, 7, 1]);
    }

    #[test]
    fn aborted_transactions_are_left_out_and_others_of_the_same_producer_are_not() {
        let batches = [
            batch(&[transactional(0, "kept", 5)], Codec::None),
            batch(&[transactional(1, "void", 9)], Codec::Gzip),
            batch(&[record(2, "plain")], Codec::None),
            batch(&[transactional(3, "void", 9)], Codec::None),
            batch(&[end_of_transaction(4, 9, false)], Codec::None),
            batch(&[end_of_transaction(5, 5, true)], Codec::None),
            batch(&[transactional(6, "kept", 9)], Codec::None),
            batch(&[end_of_transaction(7, 9, true)], Codec::None),
        ];
        let mut place = START;
        assert_eq!(offsets(&mut fetched(&batches, &[(9, 1)]), &mut place), [0, 2, 6]);
        assert_eq!(place.next, 8, "markers count as read");
    }

    #[test]
    fn a_damaged_batch_is_named_with_the_place_behind_it() {
        let mut bytes = batch(&[record(0, "a"), record(1, "b")], Codec::None);
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let mut fetched = fetched(&[bytes, batch(&[record(2, "c")], Codec::None)], &[]);
        let (mut reader, mut place) = (Reader::new(1 << 20), START);
        let stop = fetched.deliver(&mut reader, &mut place, &mut 9, &mut |_| Verdict::Done);
        assert!(matches!(stop, Stop::Damaged { error: RecordsError::Checksum { .. }, next_offset: 2 }), "{stop:?}");
        fetched.skip_damaged(&mut reader);
        place.next = 2;
        assert_eq!(offsets(&mut fetched, &mut place), [2]);
    }
}
