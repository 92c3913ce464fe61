//! The producer against the scripted broker: each record acknowledged once, in order per key, none lost, none doubled.

mod forgotten;

use crate::scripted::heard;
use crate::scripted::sim::{Sim, Way};
use crate::scripted::{Act, BROKEN_ANSWERS, Broker, Script};
use kafka_protocol::messages::ApiKey::{self, *};
use mokasim::bus::kafka::batch::Record;
use mokasim::bus::kafka::inflate::Codec;
use mokasim::bus::kafka::producer::{Producer, ProducerSettings};
use rand::{RngExt as _, SeedableRng as _};
use rand_xoshiro::Xoshiro256PlusPlus;
use std::collections::BTreeMap;
use std::time::Duration;

const TOPIC: &str = "events";
const PARTITIONS: usize = 3;
const KEYS: usize = 5;
const BUFFER_BYTES: usize = 4000;
/// Error codes of what the broker will never take: it is given up, and counted.
const REFUSED: [i16; 5] = [17, 43, 44, 76, 87];
/// Error codes by which a single record is refused, and several are split.
const TOO_LARGE: [i16; 2] = [10, 18];
/// Error codes by which a broker says that it has not taken a batch: of sequence numbers and of the producer's identity.
const NOT_TAKEN: [i16; 5] = [45, 47, 49, 59, 90];
/// The headers of batches that were split.
const SPLIT_BYTES: usize = 2000;
/// Invented time within which a scenario must come to its end.
const PATIENCE: Duration = Duration::from_secs(900);

fn broker() -> Broker {
    Broker::new(&[(TOPIC, PARTITIONS)])
}

/// Batches are of a few records, so that several are in flight.
fn settings() -> ProducerSettings {
    ProducerSettings { batch_bytes: 200, linger: Duration::from_millis(2), codec: Codec::None, buffer_bytes: BUFFER_BYTES }
}

/// A producer behind a simulated network, and how far its caller has come.
struct Writing {
    sim: Sim,
    producer: Producer,
    pushed: usize,
    at_once: usize,
    /// Every so many records one has so many digits.
    large: Option<(usize, usize)>,
}

impl Writing {
    fn new(broker: Broker, seed: u64) -> Self {
        let sim = Sim::new(broker, seed);
        let producer = Producer::new(settings(), [TOPIC], sim.now);
        Self { sim, producer, pushed: 0, at_once: 4, large: None }
    }

    /// What the health page would say.
    fn reason(&self) -> Option<String> {
        let trouble = self.sim.cluster.trouble().or(self.producer.trouble());
        trouble.map(ToString::to_string)
    }

    /// Pushes `count` records, a few each turn, and waits for the end of each.
    fn write(&mut self, count: usize) {
        self.write_seeing(count, |_| {});
    }

    /// As [`Self::write`]; `seen` looks at each turn.
    fn write_seeing(&mut self, count: usize, mut seen: impl FnMut(&Self)) {
        let deadline = self.sim.elapsed() + PATIENCE;
        while self.pushed < count || self.producer.records() > 0 {
            assert!(self.sim.elapsed() < deadline, "{} of {count} pushed, {:#?}", self.pushed, self.producer);
            for _ in 0..self.at_once {
                if self.pushed < count && self.push(self.pushed) {
                    self.pushed += 1;
                }
            }
            assert!(self.producer.bytes() <= BUFFER_BYTES + SPLIT_BYTES, "{} bytes", self.producer.bytes());
            self.turn();
            seen(self);
        }
    }

    fn turn(&mut self) {
        let producer = &mut self.producer;
        self.sim.turn(|cluster, now| {
            producer.poll(cluster, now);
            producer.deadline()
        });
    }

    /// Pushes record after record for so long, whatever becomes of them; `seen` looks at each turn.
    fn write_for(&mut self, length: Duration, mut seen: impl FnMut(&Self)) {
        let until = self.sim.elapsed() + length;
        while self.sim.elapsed() < until {
            if self.push(self.pushed) {
                self.pushed += 1;
            }
            self.turn();
            self.sim.now += Duration::from_millis(20);
            seen(self);
        }
    }

    fn push(&mut self, n: usize) -> bool {
        let digits = self.large.filter(|(every, _)| n % every == every - 1).map_or(6, |(_, digits)| digits);
        let (key, value) = (format!("machine-{}", n % KEYS), format!("{n:0digits$}"));
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
        self.check_but(0, what);
    }

    /// As [`Self::check`], but for so many that were deleted from the log.
    fn check_but(&self, deleted: usize, what: &str) {
        let mut by_key: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let logs = &self.sim.broker.topics[TOPIC].logs;
        // What others wrote has no key.
        for (key, value) in logs.iter().flat_map(|log| log.records()).filter(|(key, _)| !key.is_empty()) {
            by_key.entry(key).or_default().push(value.parse().unwrap());
        }
        for (key, values) in &by_key {
            assert!(values.is_sorted_by(|a, b| a < b), "{what}: {key} is out of order or doubled: {values:?}");
        }
        let written: usize = by_key.values().map(Vec::len).sum();
        let written = (written + deleted) as u64;
        assert_eq!(written, self.producer.acknowledged(), "{what}: in the log, and acknowledged");
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
    // It says that the batch is there already.
    let duplicate = 46;
    for code in (-1..=120).filter(|code| ![0, duplicate].contains(code)) {
        for nth in 1..4 {
            let refused = produces(nth, &Act::Fail(code));
            assert!(TOO_LARGE.contains(&code) || (refused > 0) == REFUSED.contains(&code), "code {code} for request {nth}");
        }
    }
}

/// As of a broker that has the batch, and has not heard from its replicas in time.
#[test]
fn every_error_code_for_a_batch_that_was_taken_doubles_no_record() {
    for code in (1..=120).filter(|code| ![&REFUSED[..], &TOO_LARGE, &NOT_TAKEN].concat().contains(code)) {
        for nth in 1..4 {
            assert_eq!(produces(nth, &Act::ServeAndFail(code)), 0, "code {code} for request {nth}");
        }
    }
}

/// Has `act` done about two requests after so many, and returns how many records are refused.
fn produces(nth: usize, act: &Act) -> u64 {
    let mut script: Vec<(ApiKey, Act)> = vec![(Produce, Act::Serve); nth];
    script.extend([(Produce, act.clone()), (Produce, act.clone())]);
    let mut writing = Writing::new(broker().script(&script), 1);
    writing.write(40);
    writing.check(&format!("{act:?} for request {nth}"));
    writing.producer.refused()
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
    for api in [ApiVersions, Metadata, InitProducerId, Produce] {
        for act in &BROKEN_ANSWERS {
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
    breaks_at_any_byte(broker);
}

fn breaks_at_any_byte(broker: impl Fn() -> Broker) {
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
fn every_version_of_produce_is_understood() {
    for version in 3..=13 {
        let mut writing = Writing::new(broker().knowing(&[(Produce, version)]), 1);
        writing.write(100);
        writing.check(&format!("Produce {version}"));
    }
}

/// The broker takes any sequence number first from a producer that it does not know.
#[test]
fn a_first_batch_that_fails_is_not_overtaken() {
    for code in [-1, 3, 6, 7, 19, 45, 47, 49, 59, 90] {
        let mut writing = Writing::new(broker().script(&[(Produce, Act::Fail(code)), (Produce, Act::Fail(code))]), 1);
        writing.at_once = 100;
        writing.write(100);
        writing.check(&format!("code {code}"));
    }
}

#[test]
fn nothing_is_taken_before_partitions_are_known_and_no_more_than_there_is_room_for() {
    let mut writing = Writing::new(broker(), 1);
    assert!(!writing.push(0));
    writing.write(1);
    let taken = (1..1000).take_while(|n| writing.push(*n)).count();
    assert!(taken < 200, "{taken} records of more than 20 bytes in {BUFFER_BYTES}");
    assert!(writing.producer.bytes() > BUFFER_BYTES - 200 && !writing.producer.has_room());
}

/// Plays so many random scripts, in a hurry: `act` draws what is done about a request, `cuts_max` bounds how often a connection breaks.
fn chaos(runs: u64, broker: impl Fn() -> Broker, act: fn(&mut Xoshiro256PlusPlus) -> Act, cuts_max: usize) {
    for seed in 0..runs {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let acts = random.random_range(0..40);
        let script: Vec<(ApiKey, Act)> = (0..acts).map(|_| (Produce, act(&mut random))).collect();
        let mut writing = Writing::new(broker().script(&script), seed);
        writing.at_once = random.random_range(1..100);
        let mut at = 0;
        for _ in 0..random.random_range(0..=cuts_max) {
            at += random.random_range(0..2000);
            let way = if random.random_bool(0.5) { Way::ToBroker } else { Way::ToClient };
            writing.sim.cuts.push_back((way, at));
        }
        writing.write(400);
        writing.check(&format!("seed {seed}"));
        assert_eq!(writing.producer.refused(), 0, "seed {seed}");
    }
}

#[test]
fn failures_and_lost_answers_at_random_lose_and_double_no_record() {
    chaos(200, broker, failures_and_lost_answers, 10);
}

fn failures_and_lost_answers(random: &mut Xoshiro256PlusPlus) -> Act {
    const CODES: [i16; 9] = [2, 3, 5, 6, 7, 19, 20, 56, 74];
    match random.random_range(0..8) {
        0..3 => Act::Serve,
        3..5 => Act::Fail(CODES[random.random_range(0..CODES.len())]),
        5 => Act::ServeAndCut,
        6 => Act::HalfAnswer,
        _ => Act::Delay(Duration::from_millis(random.random_range(0..20_000))),
    }
}

/// No answer is lost here: a broker that has a batch does not say that its number is out of order.
#[test]
fn failures_and_lost_sequences_at_random_lose_and_double_no_record() {
    const CODES: [i16; 7] = [6, 7, 45, 47, 59, 49, 90];
    let act = |random: &mut Xoshiro256PlusPlus| match random.random_range(0..4) {
        0 => Act::Serve,
        1..3 => Act::Fail(CODES[random.random_range(0..CODES.len())]),
        _ => Act::Delay(Duration::from_millis(random.random_range(0..5_000))),
    };
    chaos(200, broker, act, 0);
}

#[test]
fn cuts_without_end_lose_and_double_no_record() {
    is_cut_without_end(broker);
}

fn is_cut_without_end(broker: impl Fn() -> Broker) {
    for seed in 0..200 {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
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

#[test]
fn a_batch_that_is_too_large_is_split_until_it_fits() {
    for batch_bytes_max in [190, 160, 130, 115] {
        for at_once in [1, 4, 100] {
            let what = format!("at most {batch_bytes_max} bytes, {at_once} at once");
            let mut writing = Writing::new(broker().with_batch_bytes_max(batch_bytes_max), 1);
            writing.at_once = at_once;
            writing.write(400);
            writing.check(&what);
            assert_eq!(writing.producer.refused(), 0, "{what}");
        }
    }
}

#[test]
fn a_record_that_is_too_large_alone_is_lost_alone() {
    for seed in 0..20 {
        for every in [7, 40, 401] {
            let mut writing = Writing::new(broker().with_batch_bytes_max(180), seed);
            writing.large = Some((every, 150));
            writing.at_once = 1 + 5 * seed as usize;
            writing.write(400);
            writing.check(&format!("seed {seed}, every {every}"));
            assert_eq!(writing.producer.refused(), 400 / every as u64, "seed {seed}, every {every}");
        }
    }
}

#[test]
fn records_that_are_all_refused_do_not_wait_for_each_other() {
    let mut writing = Writing::new(broker().with_batch_bytes_max(180), 1);
    writing.large = Some((1, 150));
    writing.write(400);
    assert_eq!(writing.producer.refused(), 400);
    assert!(writing.sim.elapsed() < Duration::from_secs(10), "{:?}", writing.sim.elapsed());
}

#[test]
fn splits_failures_and_lost_answers_at_random_lose_and_double_no_record() {
    const CODES: [i16; 5] = [6, 7, 19, 45, 56];
    for seed in 0..200 {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let act = |random: &mut Xoshiro256PlusPlus| match random.random_range(0..8) {
            0..4 => Act::Serve,
            4 => Act::Fail(CODES[random.random_range(0..CODES.len() - 2)]),
            5 => Act::ServeAndCut,
            6 => Act::HalfAnswer,
            _ => Act::Delay(Duration::from_millis(random.random_range(0..20_000))),
        };
        let script: Vec<(ApiKey, Act)> = (0..40).map(|_| (Produce, act(&mut random))).collect();
        let limit = random.random_range(110..200);
        let mut writing = Writing::new(broker().script(&script).with_batch_bytes_max(limit), seed);
        writing.at_once = random.random_range(1..100);
        writing.write(400);
        writing.check(&format!("seed {seed}"));
        assert_eq!(writing.producer.refused(), 0, "seed {seed}");
    }
}

#[test]
fn what_the_broker_never_takes_is_told_until_it_takes_records_again() {
    // INVALID_RECORD is lost; TOPIC_AUTHORIZATION_FAILED and INVALID_TIMESTAMP wait for an operator.
    for (code, level, said) in [
        (87, "ERROR", "InvalidRecord (87)"),
        (29, "WARN", "TopicAuthorizationFailed (29)"),
        (32, "WARN", "timestamps too far"),
    ] {
        heard::listen();
        let mut script = vec![(Produce, Act::Serve); 3];
        script.extend(vec![(Produce, Act::Fail(code)); 9]);
        let mut writing = Writing::new(broker().script(&script), 1);
        let mut reasons = Vec::new();
        writing.write_seeing(400, |writing| reasons.extend(writing.reason()));
        writing.check(said);
        assert_eq!(writing.reason(), None);
        let begun = reasons.first().unwrap();
        assert!(begun.starts_with(&format!("topic {TOPIC}: {said}")), "{begun}");
        let lost = reasons.last().unwrap();
        assert_eq!(lost.contains("; records lost: "), code == 87, "{lost}");
        let lines = heard::lines();
        assert_eq!(lines.len(), 2, "{lines:#?}");
        assert!(lines[0].starts_with(&format!("{level} topic {TOPIC}: {said}")), "{lines:#?}");
        assert!(lines[1].starts_with(&format!("INFO topic {TOPIC}: records are taken again after ")), "{lines:#?}");
        let refused = writing.producer.refused();
        assert!(refused == 0 || lines[1].ends_with(&format!(" s; lost: {refused}")), "{refused}: {lines:#?}");
    }
}

#[test]
fn what_passes_soon_is_not_told_and_what_lasts_once_a_topic() {
    // A topic that is away is so by its name and by its id.
    let by_name_or_id = ([3, 100], &[Metadata, Produce][..]);
    let same = [3, 5, 6, 7, 14, 19, 20].map(|code| ([code; 2], &[InitProducerId, Metadata, Produce][..]));
    for (codes, apis) in same.into_iter().chain([by_name_or_id]) {
        for &api in apis {
            for failures in [3, 60] {
                heard::listen();
                let script: Vec<_> = (0..failures).map(|n| (api, Act::Fail(codes[n % 2]))).collect();
                let mut writing = Writing::new(broker().script(&script), 1);
                let mut reasons = Vec::new();
                writing.write_seeing(40, |writing| reasons.extend(writing.reason()));
                let (lines, what) = (heard::lines(), format!("{api:?} {codes:?} {failures} times"));
                assert_eq!(reasons.is_empty(), failures == 3, "{what}: {reasons:?}");
                assert_eq!(lines.len(), if failures == 3 { 0 } else { 2 }, "{what}: {lines:#?}");
                assert_eq!(writing.reason(), None, "{what}");
            }
        }
    }
}

#[test]
fn a_lost_connection_is_one_line_and_its_return_another() {
    heard::listen();
    let mut writing = Writing::new(broker(), 1);
    let mut away = None;
    writing.sim.down = Some((Duration::from_secs(1), Duration::from_secs(8)));
    writing.write_for(Duration::from_secs(12), |writing| away = writing.reason().or(away.take()));
    let lines = heard::lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(lines[0].starts_with("WARN Kafka broker 127.0.0.1:9092: "), "{lines:#?}");
    assert!(lines[1].starts_with("INFO Kafka broker 127.0.0.1:9092: connected again after "), "{lines:#?}");
    assert_eq!((away.as_deref(), writing.reason()), (Some("127.0.0.1:9092: refused"), None));
}

#[test]
fn no_broker_makes_the_log_long() {
    let acts = |n: usize| match n % 4 {
        0 => Act::Fail(87),
        1 => Act::Serve,
        2 => Act::Cut,
        _ => Act::Body(&[0xff; 40]),
    };
    let script: Vec<(ApiKey, Act)> = (0..100_000).map(|n| (Produce, acts(n))).collect();
    heard::listen();
    let mut writing = Writing::new(broker().script(&script), 1);
    writing.write_for(Duration::from_secs(300), |_| {});
    let lines = heard::lines();
    // Of the broker and of the topic: in five minutes four beginnings a minute, and as many ends.
    assert!((10..=2 * 5 * 8).contains(&lines.len()), "{} lines: {lines:#?}", lines.len());
}

#[test]
fn a_broker_that_says_nothing_is_told_before_its_connection_is_given_up() {
    let mut writing = Writing::new(broker().script(&[(Produce, Act::Serve), (Produce, Act::Silence)]), 1);
    let mut told = Vec::new();
    writing.write_seeing(40, |writing| told.extend(writing.reason().map(|reason| (writing.sim.elapsed(), reason))));
    writing.check("silence");
    let (first, reason) = told.first().unwrap();
    assert!((5..7).contains(&first.as_secs()), "{first:?}");
    assert!(reason.starts_with("broker 127.0.0.1:9092 has not answered for "), "{reason}");
    assert!((14..18).contains(&told.last().unwrap().0.as_secs()), "given up as before: {told:?}");
    assert_eq!(writing.reason(), None);
}
