//! The producer against the scripted broker: each record acknowledged once, in order per key, none lost, none doubled.

use crate::scripted::sim::{Sim, Way};
use crate::scripted::{Act, Broker, Script};
use kafka_protocol::messages::ApiKey::{self, *};
use mokasim::bus::kafka::batch::Record;
use mokasim::bus::kafka::inflate::Codec;
use mokasim::bus::kafka::producer::{Producer, ProducerSettings};
use std::collections::BTreeMap;
use std::time::Duration;

const TOPIC: &str = "events";
const PARTITIONS: usize = 3;
const KEYS: usize = 5;
/// Invented time within which a scenario must come to its end.
const PATIENCE: Duration = Duration::from_secs(900);

fn broker() -> Broker {
    Broker::new(&[(TOPIC, PARTITIONS)])
}

/// A producer behind a simulated network, and how far its caller has come.
struct Writing {
    sim: Sim,
    producer: Producer,
    pushed: usize,
}

impl Writing {
    /// Batches are of a few records, so that several are in flight.
    fn new(broker: Broker, seed: u64) -> Self {
        let sim = Sim::new(broker, seed);
        let settings = ProducerSettings {
            batch_bytes: 200,
            linger: Duration::from_millis(2),
            codec: Codec::None,
            buffer_bytes: 1 << 20,
        };
        let producer = Producer::new(settings, [TOPIC], sim.now);
        Self { sim, producer, pushed: 0 }
    }

    /// Pushes `count` records, a few each turn, and waits for the end of each.
    fn write(&mut self, count: usize) {
        let deadline = self.sim.elapsed() + PATIENCE;
        while self.pushed < count || self.producer.records() > 0 {
            assert!(self.sim.elapsed() < deadline, "{} of {count} pushed, {:#?}", self.pushed, self.producer);
            for _ in 0..4 {
                if self.pushed < count && self.push(self.pushed) {
                    self.pushed += 1;
                }
            }
            let producer = &mut self.producer;
            self.sim.turn(|cluster, now| {
                producer.poll(cluster, now);
                producer.deadline()
            });
        }
    }

    fn push(&mut self, n: usize) -> bool {
        let (key, value) = (format!("machine-{}", n % KEYS), format!("{n:06}"));
        let seq = (n / KEYS).to_string();
        let record = Record {
            key: key.as_bytes(),
            value: value.as_bytes(),
            timestamp_ms: n as i64,
            headers: &[("seq", seq.as_bytes())],
        };
        self.producer.push(0, &record).is_ok()
    }

    /// Each record is in the log once or was refused, and those of a key are in order.
    fn check(&self, what: &str) {
        let mut by_key: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let logs = &self.sim.broker.topics[TOPIC].logs;
        for (key, value) in logs.iter().flat_map(|log| log.records()) {
            by_key.entry(key).or_default().push(value.parse().unwrap());
        }
        for (key, values) in &by_key {
            assert!(values.is_sorted_by(|a, b| a < b), "{what}: {key} is out of order or doubled: {values:?}");
        }
        let written: usize = by_key.values().map(Vec::len).sum();
        assert_eq!(written as u64, self.producer.acknowledged(), "{what}: in the log, and acknowledged");
        assert_eq!(self.producer.acknowledged() + self.producer.refused(), self.pushed as u64, "{what}: nothing is lost");
    }
}

/// Everything arrives, whatever the script does.
fn plays(script: Script<'_>, what: &str) {
    let mut writing = Writing::new(broker().script(script), 1);
    writing.write(40);
    assert!(writing.sim.broker.is_played(), "{what}: the script was not played");
    writing.check(what);
    assert_eq!(writing.producer.refused(), 0, "{what}");
}

#[test]
fn records_arrive_once_and_in_order() {
    plays(&[], "plain");
}

#[test]
fn they_do_so_on_a_broker_of_2017() {
    let mut writing = Writing::new(broker().of_2017(), 1);
    writing.write(40);
    writing.check("Kafka 0.11");
}

#[test]
fn every_error_code_of_produce_is_survived() {
    // What the broker will never take is given up, and counted.
    let refused = [10, 17, 18, 32, 43, 44, 76, 87];
    for code in (-1..=120).filter(|code| ![0, 46, 47, 49, 90].contains(code)) {
        for nth in 1..4 {
            let what = format!("code {code} for request {nth}");
            let mut script: Vec<(ApiKey, Act)> = vec![(Produce, Act::Serve); nth];
            script.extend([(Produce, Act::Fail(code)), (Produce, Act::Fail(code))]);
            let mut writing = Writing::new(broker().script(&script), 1);
            writing.write(40);
            writing.check(&what);
            assert_eq!(writing.producer.refused() > 0, refused.contains(&code), "{what}");
        }
    }
}

#[test]
fn every_error_code_before_the_first_record_is_survived() {
    for api in [InitProducerId, Metadata] {
        for code in (-1..=120).filter(|code| *code != 0) {
            plays(&[(api, Act::Fail(code)), (api, Act::Fail(code))], &format!("{api:?} {code}"));
        }
    }
}

#[test]
fn broken_answers_cost_the_connection_and_no_record() {
    let acts = [
        Act::Cut,
        Act::ServeAndCut,
        Act::HalfAnswer,
        Act::WrongCorrelation,
        Act::Silence,
        Act::Delay(Duration::from_secs(3)),
        Act::Delay(Duration::from_secs(40)),
        Act::Length(i32::MAX),
        Act::Length(-1),
        Act::Length(2),
        Act::Body(&[]),
        Act::Body(&[0xff; 40]),
        Act::Body(&[0; 40]),
    ];
    for api in [ApiVersions, Metadata, InitProducerId, Produce] {
        for act in &acts {
            for nth in 0..3 {
                let mut script = vec![(api, Act::Serve); if api == Produce { nth } else { 0 }];
                script.push((api, act.clone()));
                plays(&script, &format!("{act:?} for {api:?} {nth}"));
            }
        }
    }
}

#[test]
fn a_connection_that_breaks_at_any_byte_loses_and_doubles_no_record() {
    let session = |cut: Option<(Way, u64)>| {
        let mut writing = Writing::new(broker(), cut.map_or(0, |(_, at)| at));
        writing.sim.cuts.extend(cut);
        writing.write(24);
        writing.check(&format!("{cut:?}"));
        assert_eq!(writing.producer.refused(), 0, "{cut:?}");
        writing.sim.bytes
    };
    let whole = session(None);
    for way in [Way::ToBroker, Way::ToClient] {
        for at in 0..whole[way as usize] {
            session(Some((way, at)));
        }
    }
}

#[test]
fn cuts_without_end_lose_and_double_no_record() {
    use rand::{RngExt as _, SeedableRng as _};
    for seed in 0..200 {
        let mut random = rand_xoshiro::Xoshiro256PlusPlus::seed_from_u64(seed);
        let mut writing = Writing::new(broker(), seed);
        let mut at = [0; 2];
        for _ in 0..30 {
            let way = if random.random_bool(0.5) { Way::ToBroker } else { Way::ToClient };
            at[way as usize] += random.random_range(1..600);
            writing.sim.cuts.push_back((way, at[way as usize]));
        }
        writing.write(60);
        writing.check(&format!("seed {seed}"));
        assert_eq!(writing.producer.refused(), 0, "seed {seed}");
    }
}
