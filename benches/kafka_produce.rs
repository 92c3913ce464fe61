//! Produces to a real broker with key, timestamp and three headers on every record, and reports rate, CPU and memory.
//!
//! `KAFKA=HOST:PORT cargo bench --bench kafka_produce`; also `TOPIC`, `RECORDS`, `SIZE` (bytes of a value), `BATCH` (bytes),
//! `BUFFER` (bytes), `LINGER_MS`, `COMPRESSION` (`none`, `gzip`, `snappy`, `lz4`, `zstd`). Without `KAFKA` it does nothing.

#![expect(clippy::panic, clippy::expect_used, reason = "a benchmark that is called wrongly should stop")]

#[path = "kafka/usage.rs"]
mod usage;

use mokasim::bus::kafka::batch::Record;
use mokasim::bus::kafka::client::Client;
use mokasim::bus::kafka::inflate::Codec;
use mokasim::bus::kafka::producer::{Producer, ProducerSettings};
use mokasim::bus::kafka::settings::Settings;
use mokasim::clock;
use std::io::Write as _;
use std::time::Duration;
use usage::{env, usage};

fn main() {
    let Ok(broker) = std::env::var("KAFKA") else { return };
    let topic = std::env::var("TOPIC").unwrap_or_else(|_| "bench".into());
    let (records, size) = (env("RECORDS", 1_000_000), env("SIZE", 500));
    let codec = match std::env::var("COMPRESSION").as_deref() {
        Ok("gzip") => Codec::Gzip,
        Ok("snappy") => Codec::Snappy,
        Ok("lz4") => Codec::Lz4,
        Ok("zstd") => Codec::Zstd,
        _ => Codec::None,
    };
    let settings = ProducerSettings {
        batch_bytes: env("BATCH", 512 << 10) as usize,
        linger: Duration::from_millis(env("LINGER_MS", 5)),
        codec,
        buffer_bytes: env("BUFFER", 3 << 20) as usize,
    };
    let started = clock::now();
    let settings_of_client = Settings::new(vec![broker.parse().expect("KAFKA=HOST:PORT")]);
    let mut client = Client::new(settings_of_client, started).expect("a client");
    let mut producer = Producer::new(settings, [topic.as_str()], started);
    let value: Vec<u8> = (0..size).map(|n| b'a' + (n * n % 26) as u8).collect();
    let mut begun = None;
    let mut sent = 0;
    while producer.acknowledged() + producer.refused() < records {
        let now = clock::now();
        client.receive(now);
        producer.poll(&mut client.cluster, now);
        client.send(now);
        let before = sent;
        let mut seq = itoa::Buffer::new();
        while sent < records {
            let headers: [(&str, &[u8]); 3] =
                [("machine_id", b"fresa_cnc-Italia-1"), ("seq", seq.format(sent).as_bytes()), ("run_id", b"0a1b2c3d")];
            let timestamp_ms = 1_750_000_000_000 + (sent / 100) as i64;
            let record = Record { key: b"fresa_cnc-Italia-1", value: &value, timestamp_ms, headers: &headers };
            if producer.push(0, &record).is_err() {
                break;
            }
            begun.get_or_insert_with(|| (now, usage().0));
            sent += 1;
        }
        if sent == records {
            producer.flush();
        }
        if sent == before {
            client.wait(now, now + Duration::from_millis(10));
        }
    }
    let (begun, cpu_before) = begun.unwrap_or((started, 0.0));
    let seconds = clock::now().duration_since(begun).as_secs_f64();
    let (cpu, peak_kib) = usage();
    let rate = records as f64 / seconds;
    let cpu_of_million = (cpu - cpu_before) / records as f64 * 1e6;
    let line = format!(
        "mokasim: {records} records of {size} B in {seconds:.2} s, {rate:.0} records/s, {cpu_of_million:.2} CPU s per million, \
         {peak_kib} KiB resident at most, {} errors, {} refused\n",
        producer.errors() + client.cluster.errors(),
        producer.refused(),
    );
    let _ = std::io::stdout().write_all(line.as_bytes());
}
