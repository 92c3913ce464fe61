//! A batch that the broker finds too large becomes two.

use super::super::inflate::Codec;
use super::super::pool::Pool;
use super::super::records::{Reader, RecordsError, next_batch};
use super::{Record, Sealed, Stamp, Writer, advance};

impl Sealed {
    /// Two batches with the records of this one, in their order and under its sequence numbers. `None`: it holds a single
    /// record, or was never stamped.
    #[must_use]
    pub fn split(&self, codec: Codec, pool: &mut Pool) -> Option<[Self; 2]> {
        if self.records < 2 {
            return None;
        }
        let first_records = self.records / 2;
        let mut first = Writer::new(pool.take());
        let mut second = Writer::new(pool.take());
        let copied = self.copy_into(|n, record| if n < first_records { &mut first } else { &mut second }.append(record));
        // Only our own bytes are read here: they are whole.
        copied.inspect_err(|error| log::error!("a batch of our own: {error}")).ok()?;
        let mut halves = [first.seal(codec, pool), second.seal(codec, pool)];
        if let Some(stamp) = self.stamp {
            let behind = Stamp { sequence: advance(stamp.sequence, first_records), ..stamp };
            for (half, stamp) in halves.iter_mut().zip([stamp, behind]) {
                half.stamped(stamp);
            }
        }
        Some(halves)
    }

    fn copy_into(&self, mut take: impl FnMut(u32, &Record<'_>)) -> Result<(), RecordsError> {
        let mut reader = Reader::new(i32::MAX as usize);
        let Some(found) = next_batch(&self.bytes, 0) else { return Ok(()) };
        reader.open(&self.bytes, found.batch?)?;
        let mut n = 0;
        while let Some(record) = reader.next(&self.bytes) {
            let record = record?;
            let headers = record.headers.map(|(name, value)| (text(name), value.unwrap_or_default()));
            let headers: Vec<(&str, &[u8])> = headers.collect();
            let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
            take(n, &Record { key, value, timestamp_ms: record.timestamp_ms, headers: &headers });
            n += 1;
        }
        Ok(())
    }
}

/// A name that was written from a `str`.
fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(batch: &Sealed) -> Vec<String> {
        let mut records = Vec::new();
        batch.copy_into(|_, record| records.push(format!("{record:?}"))).unwrap();
        records
    }

    #[test]
    fn halves_hold_the_records_in_order_under_the_same_numbers() {
        for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
            let mut pool = Pool::new(1000, 0);
            let mut writer = Writer::new(pool.take());
            for n in 0..5u8 {
                let (value, seq) = (vec![n; 100], [n]);
                let headers: [(&str, &[u8]); 1] = [("seq", &seq)];
                writer.append(&Record {
                    key: b"machine",
                    value: &value,
                    timestamp_ms: 10 - i64::from(n),
                    headers: &headers,
                });
            }
            let mut whole = writer.seal(codec, &mut pool);
            let stamp = Stamp { producer_id: 7, producer_epoch: 1, sequence: i32::MAX - 1 };
            whole.stamped(stamp);
            let [first, second] = whole.split(codec, &mut pool).unwrap();
            assert_eq!([records(&first), records(&second)].concat(), records(&whole), "{codec:?}");
            assert_eq!((first.records(), second.records()), (2, 3));
            assert_eq!(first.stamp(), Some(stamp));
            assert_eq!(second.stamp(), Some(Stamp { sequence: 0, ..stamp }), "numbers go on from 0 after the last");
            let [single, _] = first.split(codec, &mut pool).unwrap();
            assert!(single.split(codec, &mut pool).is_none(), "one record cannot be split");
        }
    }
}
