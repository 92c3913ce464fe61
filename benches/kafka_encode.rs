//! What a record costs on its way into a batch: ours beside the encoder of `kafka-protocol`; and what each codec costs a batch.
//!
//! `cargo bench --bench kafka_encode`: time a batch of 1,000 records, and bytes a second.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and stops when it cannot run")]

use bytes::{Bytes, BytesMut};
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{self, RecordBatchEncoder, RecordEncodeOptions, TimestampType};
use mokasim::bus::kafka::batch::{Record, Stamp, Writer};
use mokasim::bus::kafka::inflate::Codec;
use mokasim::bus::kafka::pool::Pool;

const RECORDS: usize = 1000;
const BATCH_BYTES: usize = 16 << 10;
const KEY: &[u8] = b"fresa_cnc-Italia-1";
const STAMP: Stamp = Stamp { producer_id: 1000, producer_epoch: 0, sequence: 0 };

fn main() {
    divan::main();
}

/// Text as telemetry is, of this size; `n` makes it differ from its neighbours.
fn value(size: usize, n: usize) -> Vec<u8> {
    let text = format!(
        r#"{{"codice_lotto":"L-2026-{n:05}","luogo":"Italia","timestamp_utc":"2026-06-25T15:30:00Z","tempo_ciclo":{}.5,"vibrazione":0.{n}}}"#,
        n % 60
    );
    text.bytes().cycle().take(size).collect()
}

fn write(writer: &mut Writer, values: &[Vec<u8>]) {
    for (n, value) in values.iter().enumerate() {
        let headers: [(&str, &[u8]); 3] = [("machine_id", KEY), ("seq", b"123456"), ("run_id", b"0a1b2c3d")];
        writer.append(&Record { key: KEY, value, timestamp_ms: 1_750_000_000_000 + n as i64, headers: &headers });
    }
}

/// Ours: appended, sealed, stamped, in a buffer that is used again.
#[divan::bench(args = [100, 500, 2000])]
fn mokasim(bencher: Bencher<'_, '_>, size: usize) {
    let values: Vec<Vec<u8>> = (0..RECORDS).map(|n| value(size, n)).collect();
    let mut pool = Pool::new(RECORDS * size, 2 * RECORDS * size);
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        let mut writer = Writer::new(pool.take());
        write(&mut writer, black_box(&values));
        let mut sealed = writer.seal(Codec::None, &mut pool);
        black_box(sealed.stamped(STAMP));
        pool.give(sealed.into_buffer().unwrap());
    });
}

fn owned(value: &[u8], n: usize) -> records::Record {
    let headers: [(&'static str, &[u8]); 3] = [("machine_id", KEY), ("seq", b"123456"), ("run_id", b"0a1b2c3d")];
    let header = |(name, value)| (StrBytes::from_static_str(name), Some(Bytes::copy_from_slice(value)));
    records::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: STAMP.producer_id,
        producer_epoch: STAMP.producer_epoch,
        timestamp_type: TimestampType::Creation,
        offset: n as i64,
        sequence: n as i32,
        timestamp: 1_750_000_000_000 + n as i64,
        key: Some(Bytes::copy_from_slice(KEY)),
        value: Some(Bytes::copy_from_slice(value)),
        headers: headers.into_iter().map(header).collect::<IndexMap<_, _>>(),
    }
}

fn encode(buffer: &mut BytesMut, records: &[records::Record]) {
    let options = RecordEncodeOptions { version: 2, compression: records::Compression::None };
    buffer.clear();
    RecordBatchEncoder::encode(buffer, records, &options).unwrap();
    black_box(&buffer);
}

/// The encoder of `kafka-protocol` with the records it wants made, as ours makes do with borrowed ones.
#[divan::bench(args = [100, 500, 2000])]
fn kafka_protocol(bencher: Bencher<'_, '_>, size: usize) {
    let values: Vec<Vec<u8>> = (0..RECORDS).map(|n| value(size, n)).collect();
    let mut buffer = BytesMut::new();
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| {
        let records: Vec<_> = black_box(&values).iter().enumerate().map(|(n, value)| owned(value, n)).collect();
        encode(&mut buffer, &records);
    });
}

/// The same with records that exist already.
#[divan::bench(args = [100, 500, 2000])]
fn kafka_protocol_encoder_alone(bencher: Bencher<'_, '_>, size: usize) {
    let records: Vec<_> = (0..RECORDS).map(|n| owned(&value(size, n), n)).collect();
    let mut buffer = BytesMut::new();
    bencher.counter(ItemsCount::new(RECORDS)).bench_local(|| encode(&mut buffer, black_box(&records)));
}

/// A batch of 16 KiB, the default `batch_size`, sealed with each codec.
#[divan::bench(args = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd])]
fn codec(bencher: Bencher<'_, '_>, codec: Codec) {
    let values: Vec<Vec<u8>> = (0..28).map(|n| value(500, n)).collect();
    let bytes = values.iter().map(Vec::len).sum::<usize>();
    let mut writer = Writer::new(BytesMut::with_capacity(BATCH_BYTES));
    write(&mut writer, &values);
    let before = writer.len();
    let mut pool = Pool::new(BATCH_BYTES, 2 * BATCH_BYTES);
    let after = writer.seal(codec, &mut pool).len();
    println!("{codec:?}: {before} bytes become {after}");
    let filled = || {
        let mut writer = Writer::new(BytesMut::with_capacity(BATCH_BYTES));
        write(&mut writer, &values);
        writer
    };
    bencher.counter(BytesCount::new(bytes)).with_inputs(filled).bench_local_values(|writer| writer.seal(codec, &mut pool));
}
