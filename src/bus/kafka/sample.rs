//! Batches for the unit tests, written by the codec crate: not by what reads them.

use super::inflate::{Codec, Inflater};
use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{Compression, NO_PRODUCER_ID, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};
use std::io::{self, Write};

pub(super) fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn snappy_raw(data: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(data).unwrap()
}

pub(super) fn snappy_xerial(data: &[u8]) -> Vec<u8> {
    let mut framed = b"\x82SNAPPY\0".to_vec();
    framed.extend([0, 0, 0, 1, 0, 0, 0, 1]);
    for chunk in data.chunks(1000) {
        let block = snappy_raw(chunk);
        framed.extend((block.len() as u32).to_be_bytes());
        framed.extend(block);
    }
    framed
}

pub(super) fn lz4(data: &[u8]) -> Vec<u8> {
    let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn zstd(data: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(data, ruzstd::encoding::CompressionLevel::Fastest)
}

/// All that was compressed.
pub(super) fn inflated(codec: Codec, bytes: &[u8], bytes_max: usize) -> io::Result<Vec<u8>> {
    let mut inflater = Inflater::new(codec, Bytes::copy_from_slice(bytes), bytes_max)?;
    let mut all = Vec::new();
    while inflater.append_to(&mut all)? {}
    Ok(all)
}

/// A record of no producer in particular.
pub(super) fn record(offset: i64, value: &str) -> Record {
    Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 3,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset,
        sequence: offset as i32,
        timestamp: 1_750_865_400_000 + offset,
        key: Some(format!("key-{offset}").into()),
        value: Some(value.to_owned().into()),
        headers: [("seq".to_owned().into(), Some(offset.to_string().into())), ("null".to_owned().into(), None)]
            .into_iter()
            .collect(),
    }
}

/// A record of a transaction.
pub(super) fn transactional(offset: i64, value: &str, producer_id: i64) -> Record {
    Record { transactional: true, producer_id, producer_epoch: 0, ..record(offset, value) }
}

/// The marker that ends a producer's transaction.
pub(super) fn end_of_transaction(offset: i64, producer_id: i64, commit: bool) -> Record {
    Record {
        control: true,
        key: Some(vec![0, 0, 0, u8::from(commit)].into()),
        value: Some(vec![0; 6].into()),
        headers: Default::default(),
        ..transactional(offset, "", producer_id)
    }
}

/// The records as one batch.
pub(super) fn batch(records: &[Record], codec: Codec) -> Vec<u8> {
    let compression = match codec {
        Codec::None => Compression::None,
        Codec::Gzip => Compression::Gzip,
        Codec::Snappy => Compression::Snappy,
        Codec::Lz4 => Compression::Lz4,
        Codec::Zstd => Compression::Zstd,
    };
    let compress = |from: &mut BytesMut, into: &mut BytesMut, compression: Compression| {
        into.extend_from_slice(&match compression {
            Compression::None => from.to_vec(),
            Compression::Gzip => gzip(from),
            Compression::Snappy => snappy_xerial(from),
            Compression::Lz4 => lz4(from),
            Compression::Zstd => zstd(from),
        });
        Ok(())
    };
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression };
    RecordBatchEncoder::encode_with_custom_compression(&mut bytes, records, &options, Some(compress)).unwrap();
    bytes.to_vec()
}
