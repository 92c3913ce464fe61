//! Any bytes as the records of a Fetch answer. Checksums are mended first: a hostile broker's would fit.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use mokasim_fuzz::kafka::records::{Reader, next_batch, next_offset};
use mokasim_fuzz::within;

const INFLATED_MAX: usize = 1 << 20;
/// A buffer that doubles until it holds more than the limit, or a window of Zstandard beside its slack.
const ALLOCATED_MAX: usize = 2 * INFLATED_MAX + (1 << 18);

fuzz_target!(|input: &[u8]| {
    let mut bytes = input.to_vec();
    mend_checksums(&mut bytes);
    let bytes = Bytes::from(bytes);
    within(ALLOCATED_MAX, || read(&bytes));
});

fn read(bytes: &Bytes) {
    let mut reader = Reader::new(INFLATED_MAX);
    let (mut at, mut before) = (0, i64::MIN);
    while let Some(found) = next_batch(bytes, at) {
        assert!(found.next > at && found.next <= bytes.len());
        at = found.next;
        let Ok(batch) = found.batch else { continue };
        assert!(found.next_offset == batch.last_offset + 1);
        before = before.max(found.next_offset);
        if reader.open(bytes, batch.clone()).is_err() {
            continue;
        }
        while let Some(record) = reader.next(bytes) {
            let Ok(record) = record else { continue };
            assert!((batch.base_offset..=batch.last_offset).contains(&record.offset));
            let _ = record.headers.count();
        }
    }
    assert!(next_offset(bytes, before) >= before);
}

fn mend_checksums(bytes: &mut [u8]) {
    let mut at = 0;
    while let Some(found) = next_batch(bytes, at) {
        if let Some(batch) = bytes.get_mut(at..found.next).filter(|batch| batch.len() > 21) {
            let checksum = crc32c::crc32c(&batch[21..]);
            batch[17..21].copy_from_slice(&checksum.to_be_bytes());
        }
        at = found.next;
    }
}
