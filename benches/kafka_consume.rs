//! Reads a topic of a real broker as a group of one and reports rate, CPU and memory.
//!
//! `KAFKA=HOST:PORT TOPIC=bench RECORDS=1000000 cargo bench --bench kafka_consume`. Without `KAFKA` it does nothing.

#![expect(clippy::panic, clippy::expect_used, reason = "a benchmark that is called wrongly should stop")]

#[path = "kafka/usage.rs"]
mod usage;

use mokasim::bus::kafka::client::Client;
use mokasim::bus::kafka::consumer::Consumer;
use mokasim::bus::kafka::fetch::FetchSettings;
use mokasim::bus::kafka::fetched::Verdict;
use mokasim::bus::kafka::group::GroupSettings;
use mokasim::bus::kafka::settings::Settings;
use mokasim::clock;
use std::io::Write as _;
use std::time::Duration;
use usage::{env, usage};

fn main() {
    let Ok(broker) = std::env::var("KAFKA") else { return };
    let topic = std::env::var("TOPIC").unwrap_or_else(|_| "bench".into());
    let records = env("RECORDS", 1_000_000);
    let settings = Settings::new(vec![broker.parse().expect("KAFKA=HOST:PORT")]);
    let group = GroupSettings::new(&format!("bench-{}", std::process::id()), &topic);
    let mut consumer = Consumer::new(group, FetchSettings::default(), &settings);
    let mut client = Client::new(settings, clock::now()).expect("a client");
    let mut begun = None;
    let (mut read, mut bytes) = (0u64, 0u64);
    while read < records {
        let now = clock::now();
        client.receive(now);
        let before = read;
        consumer.poll(now, &mut client.cluster, usize::MAX, &mut |_, record| {
            begun.get_or_insert_with(|| (now, usage().0));
            read += 1;
            bytes += record.value.map_or(0, <[u8]>::len) as u64;
            Verdict::Done
        });
        client.send(now);
        if read == before {
            client.wait(now, now + Duration::from_millis(10));
        }
    }
    let (begun, cpu_before) = begun.expect("a record was read");
    let seconds = clock::now().duration_since(begun).as_secs_f64();
    let (cpu, peak_kib) = usage();
    let rate = read as f64 / seconds;
    let cpu_of_million = (cpu - cpu_before) / read as f64 * 1e6;
    let line = format!(
        "mokasim: read {read} records, {bytes} B, in {seconds:.2} s, {rate:.0} records/s, {cpu_of_million:.2} CPU s per million, \
         {peak_kib} KiB resident at most\n"
    );
    let _ = std::io::stdout().write_all(line.as_bytes());
}
