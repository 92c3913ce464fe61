use super::super::sample::{batch, record};
use super::*;
use proptest::prelude::*;

const CODECS: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

/// Offsets and values of every record that can be read, and every error on the way.
fn read(bytes: &[u8]) -> (Vec<(i64, String)>, Vec<RecordsError>) {
    let bytes = &Bytes::copy_from_slice(bytes);
    let (mut records, mut errors) = (Vec::new(), Vec::new());
    let mut reader = Reader::new(1 << 20);
    let mut at = 0;
    while let Some(found) = next_batch(bytes, at) {
        assert!(found.next > at, "no way forward at {at}");
        at = found.next;
        if let Err(error) = found.batch.and_then(|batch| reader.open(bytes, batch)) {
            errors.push(error);
            continue;
        }
        while let Some(record) = reader.next(bytes) {
            match record {
                Ok(record) => {
                    records.push((record.offset, String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned()));
                }
                Err(error) => errors.push(error),
            }
        }
    }
    (records, errors)
}

#[test]
fn reads_what_the_codec_crate_wrote_with_every_codec() {
    for codec in CODECS {
        let bytes = Bytes::from(batch(&[record(40, "a"), record(41, "b")], codec));
        let found = next_batch(&bytes, 0).unwrap();
        assert_eq!(found.next, bytes.len());
        let header = found.batch.unwrap();
        assert_eq!((header.base_offset, header.last_offset, header.leader_epoch), (40, 41, 3));
        let mut reader = Reader::new(1 << 20);
        reader.open(&bytes, header).unwrap();
        let first = reader.next(&bytes).unwrap().unwrap();
        assert_eq!((first.offset, first.timestamp_ms), (40, 1_750_865_400_040));
        assert_eq!((first.key, first.value), (Some(&b"key-40"[..]), Some(&b"a"[..])));
        assert_eq!(first.headers.collect::<Vec<_>>(), [(&b"seq"[..], Some(&b"40"[..])), (&b"null"[..], None)]);
        assert_eq!(reader.next(&bytes).unwrap().unwrap().offset, 41, "{codec:?}");
        assert!(reader.next(&bytes).is_none());
    }
}

#[test]
fn a_record_that_was_put_back_comes_again() {
    let bytes = Bytes::from(batch(&[record(0, "a"), record(1, "b")], Codec::Lz4));
    let mut reader = Reader::new(1 << 20);
    reader.open(&bytes, next_batch(&bytes, 0).unwrap().batch.unwrap()).unwrap();
    for offset in [0, 1] {
        assert_eq!(reader.next(&bytes).unwrap().unwrap().offset, offset);
        reader.unread();
        assert_eq!(reader.next(&bytes).unwrap().unwrap().offset, offset);
    }
    assert!(reader.next(&bytes).is_none());
}

/// 24 MiB of records, read through a buffer of a few records' size.
#[test]
fn a_batch_that_is_larger_than_the_buffer_is_read_to_its_end() {
    let value = "v".repeat(60_000);
    let written: Vec<_> = (0..400).map(|offset| record(offset, &value)).collect();
    for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd] {
        let bytes = Bytes::from(batch(&written, codec));
        let mut reader = Reader::new(1 << 20);
        reader.open(&bytes, next_batch(&bytes, 0).unwrap().batch.unwrap()).unwrap();
        for offset in 0..400 {
            let record = reader.next(&bytes).unwrap().unwrap();
            assert_eq!((record.offset, record.value.map(<[u8]>::len)), (offset, Some(60_000)), "{codec:?}");
            reader.unread();
            assert_eq!(reader.next(&bytes).unwrap().unwrap().offset, offset, "{codec:?}, put back");
        }
        assert!(reader.next(&bytes).is_none());
        assert!(reader.inflated.capacity() < 1 << 19, "{codec:?}: {} bytes", reader.inflated.capacity());
    }
}

#[test]
fn a_record_that_is_larger_than_it_may_be_is_refused() {
    let bytes = Bytes::from(batch(&[record(0, &"v".repeat(100_000))], Codec::Zstd));
    let mut reader = Reader::new(1 << 16);
    let opened = reader.open(&bytes, next_batch(&bytes, 0).unwrap().batch.unwrap());
    let refused = opened.and_then(|()| reader.next(&bytes).unwrap().map(|_| ()));
    assert!(matches!(refused, Err(RecordsError::Inflate { base_offset: 0, .. })), "{refused:?}");
}

#[test]
fn a_partial_last_batch_is_left_alone_wherever_it_is_cut() {
    let mut bytes = batch(&[record(0, "a")], Codec::None);
    let whole = bytes.len();
    bytes.extend(batch(&[record(1, "b")], Codec::Gzip));
    for cut in whole..bytes.len() {
        let (records, errors) = read(&bytes[..cut]);
        assert_eq!(records, [(0, "a".to_owned())], "cut at {cut}");
        assert!(errors.is_empty(), "cut at {cut}: {errors:?}");
    }
}

#[test]
fn a_flipped_bit_is_noticed_and_the_next_batch_is_read() {
    let mut bytes = batch(&[record(0, "a")], Codec::None);
    let flipped = bytes.len() - 1;
    bytes.extend(batch(&[record(1, "b")], Codec::None));
    bytes[flipped] ^= 1;
    let (records, errors) = read(&bytes);
    assert_eq!(records, [(1, "b".to_owned())]);
    assert!(matches!(errors[..], [RecordsError::Checksum { base_offset: 0, .. }]), "{errors:?}");
}

#[test]
fn a_message_of_an_old_format_is_named_and_stepped_over() {
    let mut bytes = 7_i64.to_be_bytes().to_vec();
    bytes.extend(14_i32.to_be_bytes());
    bytes.extend([0, 0, 0, 0, 1, 0, 255, 255, 255, 255, 255, 255, 255, 255]);
    bytes.extend(batch(&[record(8, "new")], Codec::None));
    let (records, errors) = read(&bytes);
    assert_eq!(records, [(8, "new".to_owned())]);
    assert!(matches!(errors[..], [RecordsError::OldFormat { magic: 1, base_offset: 7 }]), "{errors:?}");
}

proptest! {
    #[test]
    fn every_batch_comes_back(values in prop::collection::vec(".{0,40}", 1..30), base in 0_i64..1 << 40, codec in 0_usize..5) {
        let written: Vec<_> = values.iter().zip(base..).map(|(value, offset)| record(offset, value)).collect();
        let (read, errors) = read(&batch(&written, CODECS[codec]));
        prop_assert!(errors.is_empty(), "{:?}", errors);
        prop_assert_eq!(read, (base..).zip(values).collect::<Vec<_>>());
    }

    #[test]
    fn no_bytes_panic(bytes: Vec<u8>) {
        read(&bytes);
    }

    /// Damage behind a checksum that fits: what a hostile broker can send.
    #[test]
    fn no_damage_panics(codec in 0_usize..5, at in 16_usize..200, with: u8) {
        let mut bytes = batch(&[record(0, "a"), record(1, "b"), record(2, "c")], CODECS[codec]);
        let at = at % bytes.len();
        bytes[at] = with;
        let checksum = crc32c::crc32c(&bytes[CHECKED_FROM..]);
        bytes[17..21].copy_from_slice(&checksum.to_be_bytes());
        let (records, _) = read(&bytes);
        prop_assert!(records.len() <= 3);
    }
}
