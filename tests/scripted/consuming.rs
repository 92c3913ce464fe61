//! The consumer against the scripted broker.

use crate::scripted::heard;
use crate::scripted::sim::{self, Sim, Way};
use crate::scripted::tcp::Served;
use crate::scripted::{Act, BROKEN_ANSWERS, Broker, Script};
use kafka_protocol::messages::ApiKey::{self, *};
use mokasim::bus::kafka::consumer::Consumer;
use mokasim::bus::kafka::fetch::FetchSettings;
use mokasim::bus::kafka::fetched::{Source, Verdict};
use mokasim::bus::kafka::group::GroupSettings;
use mokasim::bus::kafka::link::{Lane, Target};
use std::time::Duration;

pub(crate) const TOPIC: &str = "orders";
pub(crate) const GROUP: &str = "mokasim";
/// Invented time within which a scenario must come to its end.
const PATIENCE: Duration = Duration::from_secs(900);

/// A broker with some orders in two partitions, and their values.
pub(crate) fn with_orders(count: usize) -> (Broker, Vec<String>) {
    let mut broker = Broker::new(&[(TOPIC, 2)]);
    let values: Vec<String> = (0..count).map(|n| format!("order-{n:02}")).collect();
    for (n, value) in values.iter().enumerate() {
        add_order(&mut broker, n % 2, value);
    }
    (broker, values)
}

pub(crate) fn add_order(broker: &mut Broker, partition: usize, value: &str) {
    broker.topics.get_mut(TOPIC).unwrap().logs[partition].append(&batch(value)).unwrap();
}

/// A batch of one record, written by the codec crate.
fn batch(value: &str) -> bytes::Bytes {
    use kafka_protocol::records::*;
    let record = Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 0,
        producer_id: NO_PRODUCER_ID,
        producer_epoch: NO_PRODUCER_EPOCH,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: 0,
        timestamp: 1,
        key: None,
        value: Some(value.to_owned().into()),
        headers: Default::default(),
    };
    let mut bytes = bytes::BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, &[record], &options).unwrap();
    bytes.freeze()
}

/// A consumer behind a simulated network, and what it was handed.
pub(crate) struct Reading {
    pub(crate) sim: Sim,
    pub(crate) consumer: Consumer,
    pub(crate) seen: Vec<String>,
    /// Where each was.
    pub(crate) positions: Vec<(Source, i64)>,
}

impl Reading {
    pub(crate) fn new(broker: Broker, seed: u64) -> Self {
        let sim = Sim::new(broker, seed);
        let consumer = consumer(&sim.broker, GroupSettings::new(GROUP, TOPIC));
        Self { sim, consumer, seen: Vec::new(), positions: Vec::new() }
    }

    pub(crate) fn until(&mut self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = self.sim.elapsed() + PATIENCE;
        while !done(self) {
            assert!(self.sim.elapsed() < deadline, "not {what}: seen {:?}, {:?}", self.seen, self.consumer.group());
            let Self { sim, consumer, seen, positions } = self;
            sim.turn(|cluster, now| {
                consumer.poll(now, cluster, 3, &mut |source, record| {
                    positions.push((source, record.offset));
                    seen.push(String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned());
                    Verdict::Done
                });
                consumer.deadline(now)
            });
        }
    }

    /// Reads `count` orders, closes, and checks that all was committed.
    pub(crate) fn read_and_close(&mut self, values: &[String]) {
        self.until("all read", |reading| reading.seen.len() >= values.len());
        self.close();
        let mut seen = self.seen.clone();
        seen.sort_unstable();
        assert_eq!(seen, values, "each order once");
    }

    fn is_all_committed(&self) -> bool {
        let mut logs = self.sim.broker.topics[TOPIC].logs.iter().enumerate();
        logs.all(|(partition, log)| self.sim.broker.committed(TOPIC, partition as i32) == Some(log.end))
    }

    fn close(&mut self) {
        self.consumer.close();
        self.until("closed", |reading| reading.consumer.is_closed());
        assert!(self.is_all_committed(), "closed without a commit");
    }
}

pub(crate) fn consumer(broker: &Broker, group: GroupSettings) -> Consumer {
    Consumer::new(group, FetchSettings::default(), &sim::settings(broker))
}

/// Metadata is had while another request is on the way to the same address.
#[test]
fn no_connection_to_the_bootstrap_address_stays_once_a_named_broker_has_answered() {
    let (broker, values) = with_orders(4);
    let script: Script<'_> = &[(FindCoordinator, Act::Delay(Duration::from_secs(3)))];
    let mut reading = Reading::new(broker.script(script), 1);
    let bootstrap = Target { broker: -1, lane: Lane::Main };
    reading.until("metadata", |reading| reading.sim.cluster.metadata().broker(1).is_some());
    assert!(reading.sim.cluster.connection_mut(bootstrap).is_some(), "the coordinator is still looked for there");
    reading.until("all read", |reading| reading.seen.len() == values.len());
    assert!(reading.sim.cluster.connection_mut(bootstrap).is_none(), "it stays");
}

#[test]
fn a_broker_that_lets_a_fetch_wait_is_not_silent() {
    let (broker, values) = with_orders(2);
    let mut reading = Reading::new(broker, 1);
    let fetch = FetchSettings { max_wait: Duration::from_secs(30), ..FetchSettings::default() };
    let group =
        GroupSettings { modern: false, heartbeat_interval: Duration::from_secs(20), ..GroupSettings::new(GROUP, TOPIC) };
    reading.consumer = Consumer::new(group, fetch, &sim::settings(&reading.sim.broker));
    reading.until("two minutes of nothing", |reading| {
        assert_eq!(reading.sim.cluster.trouble(), None, "after {:?}", reading.sim.elapsed());
        reading.sim.elapsed() > Duration::from_secs(120)
    });
    assert_eq!(reading.seen.len(), values.len());
}

/// Plays a script against a consumer of the classic and of the modern protocol: it reads and commits everything, once.
fn plays(script: Script<'_>) {
    for modern in [false, true] {
        let (broker, values) = with_orders(6);
        let broker = if modern { broker } else { broker.classic() };
        let played = script.iter().filter(|(api, _)| !matches!((modern, api), (true, JoinGroup | SyncGroup | Heartbeat)));
        let script: Vec<(ApiKey, Act)> = played.cloned().collect();
        let mut reading = Reading::new(broker.script(&script), 1);
        reading.until("all read", |reading| reading.seen.len() >= values.len());
        // Heartbeats come only after a while.
        reading.until("played", |reading| reading.sim.broker.is_played());
        reading.read_and_close(&values);
    }
}

#[test]
fn a_consumer_reads_commits_and_leaves() {
    plays(&[]);
}

#[test]
fn it_does_so_on_a_broker_of_2017() {
    let (broker, values) = with_orders(6);
    let mut reading = Reading::new(broker.of_2017(), 1);
    reading.read_and_close(&values);
    assert_eq!(reading.sim.broker.count(LeaveGroup), 1);
}

#[test]
fn every_error_code_of_every_request_is_survived() {
    let codes: Vec<i16> = (-1..=120).filter(|code| *code != 0).collect();
    // These say that nothing is left to be done but to wait for a person, or that another process has taken over.
    let fenced = 82;
    let of_both = [Fetch, ListOffsets, FindCoordinator, OffsetCommit, OffsetFetch];
    let classic = of_both.into_iter().chain([JoinGroup, SyncGroup, Heartbeat]).map(|api| (api, false));
    let modern = of_both.into_iter().chain([ConsumerGroupHeartbeat]).map(|api| (api, true));
    for (api, modern) in classic.chain(modern) {
        for &code in codes.iter().filter(|code| **code != fenced) {
            let twice = [(api, Act::Fail(code)), (api, Act::Fail(code))];
            // A place that is gone is begun anew, and a coordinator that has no modern protocol is not asked for it again.
            let once = if matches!((api, code), (Fetch, 1) | (ConsumerGroupHeartbeat, 23 | 35 | 69)) {
                &twice[..1]
            } else {
                &twice[..]
            };
            survives(modern, once, &format!("{api:?} {code}, modern {modern}"));
        }
    }
}

/// As [`plays`], but records may come again: some errors void the membership, and with it what was not committed.
fn survives(modern: bool, script: Script<'_>, what: &str) {
    let (broker, values) = with_orders(2);
    let broker = if modern { broker } else { broker.classic() };
    let mut reading = Reading::new(broker.script(script), 1);
    reading.until(what, |reading| {
        let all = values.iter().all(|value| reading.seen.contains(value));
        all && reading.sim.broker.is_played() && reading.is_all_committed()
    });
    reading.close();
}

#[test]
fn broken_answers_cost_the_connection_and_nothing_else() {
    let of_both = [ApiVersions, Metadata, FindCoordinator, OffsetFetch, ListOffsets, Fetch, OffsetCommit];
    let classic = of_both.into_iter().chain([JoinGroup, SyncGroup, Heartbeat]).map(|api| (api, false));
    let modern = of_both.into_iter().chain([ConsumerGroupHeartbeat]).map(|api| (api, true));
    for (api, modern) in classic.chain(modern) {
        for act in &BROKEN_ANSWERS {
            let what = format!("{act:?} for {api:?}, modern {modern}");
            survives(modern, &[(api, act.clone())], &what);
        }
    }
}

#[test]
fn a_connection_that_breaks_at_any_byte_loses_and_doubles_no_order() {
    for (modern, instance_id) in [(false, None), (true, None), (true, Some("edge-1"))] {
        let reading = |cut: Option<(Way, u64)>| {
            let (broker, values) = with_orders(4);
            let mut reading = Reading::new(if modern { broker } else { broker.classic() }, cut.map_or(0, |(_, at)| at));
            let instance_id = instance_id.map(str::to_owned);
            let group = GroupSettings { instance_id, ..GroupSettings::new(GROUP, TOPIC) };
            reading.consumer = consumer(&reading.sim.broker, group);
            reading.sim.cuts.extend(cut);
            reading.read_and_close(&values);
            reading.sim.bytes
        };
        let whole = reading(None);
        eprintln!("modern {modern}, {instance_id:?}: a session of {whole:?} bytes");
        for way in [Way::ToBroker, Way::ToClient] {
            for at in 0..whole[way as usize] {
                reading(Some((way, at)));
            }
        }
    }
}

#[test]
fn a_crash_at_any_byte_loses_no_order_and_doubles_only_what_was_not_committed() {
    let (broker, values) = with_orders(4);
    let mut whole = Reading::new(broker, 0);
    whole.read_and_close(&values);
    for at in 0..whole.sim.bytes[Way::ToBroker as usize] {
        let (broker, values) = with_orders(4);
        let mut reading = Reading::new(broker, at);
        reading.until("crashed", |reading| reading.sim.bytes[Way::ToBroker as usize] > at || reading.seen.len() == 4);
        let committed: i64 = (0..2).filter_map(|partition| reading.sim.broker.committed(TOPIC, partition)).sum();
        let before = reading.seen.len();
        reading.sim.restart();
        reading.consumer = consumer(&reading.sim.broker, GroupSettings::new(GROUP, TOPIC));
        reading.until("all read", |reading| reading.is_all_committed());
        reading.close();
        let again = (reading.seen.len() - before) as i64;
        assert!(again <= 4 - committed, "crash at byte {at}: {again} after {committed} were committed");
        for value in &values {
            assert!(reading.seen.contains(value), "crash at byte {at}: {value} is lost");
        }
    }
}

#[test]
fn cuts_without_end_do_not_keep_it_from_its_work() {
    for seed in 0..200 {
        let (broker, values) = with_orders(8);
        let mut reading = Reading::new(broker, seed);
        let mut random = <rand_xoshiro::Xoshiro256PlusPlus as rand::SeedableRng>::seed_from_u64(seed);
        let mut at = [0; 2];
        for _ in 0..30 {
            use rand::RngExt as _;
            let way = if random.random_bool(0.5) { Way::ToBroker } else { Way::ToClient };
            at[way as usize] += random.random_range(1..400);
            reading.sim.cuts.push_back((way, at[way as usize]));
        }
        eprintln!("seed {seed}");
        reading.read_and_close(&values);
    }
}

#[test]
fn a_place_that_retention_has_deleted_is_counted_and_reading_goes_on() {
    let (broker, _) = with_orders(6);
    let mut reading = Reading::new(broker, 1);
    heard::listen();
    reading.until("begun", |reading| reading.consumer.place(0).is_some_and(|place| place.next == 3));
    reading.sim.broker.topics.get_mut(TOPIC).unwrap().logs[0].end = 10;
    reading.sim.broker.topics.get_mut(TOPIC).unwrap().logs[0].delete_before(8);
    reading.until("counted", |reading| reading.consumer.fetch_counts().lost_places == 1);
    reading.until("gone on", |reading| reading.consumer.place(0).is_some_and(|place| place.next == 8));
    let told = "ERROR orders partition 0: offset 3 is gone, going on at 8: 5 offsets passed over";
    assert_eq!(heard::lines().iter().filter(|line| line.contains("partition 0")).collect::<Vec<_>>(), [told]);
}

#[test]
fn what_the_caller_has_no_room_for_is_neither_committed_nor_passed_over() {
    let (broker, values) = with_orders(6);
    let mut reading = Reading::new(broker, 1);
    let mut offered = Vec::new();
    while reading.sim.elapsed() < Duration::from_secs(30) {
        let consumer = &mut reading.consumer;
        reading.sim.turn(|cluster, now| {
            consumer.poll(now, cluster, 3, &mut |_, record| {
                offered.push(String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned());
                Verdict::Later
            });
            consumer.deadline(now)
        });
    }
    offered.dedup();
    assert_eq!(offered.len(), 1, "only the first of one partition is offered: {offered:?}");
    assert_eq!(
        reading.sim.broker.committed(TOPIC, 0).max(reading.sim.broker.committed(TOPIC, 1)),
        Some(0),
        "where it began"
    );
    reading.read_and_close(&values);
}

#[test]
fn it_works_over_sockets() {
    let (broker, values) = with_orders(6);
    let served = Served::start(broker.script(&[(Fetch, Act::HalfAnswer), (OffsetCommit, Act::ServeAndCut)]));
    let settings = sim::settings(&served.broker.lock().unwrap());
    let mut consumer = Consumer::new(GroupSettings::new(GROUP, TOPIC), FetchSettings::default(), &settings);
    let mut client = mokasim::bus::kafka::client::Client::new(settings, mokasim::clock::now()).unwrap();
    let mut seen = Vec::new();
    let deadline = mokasim::clock::now() + Duration::from_secs(30);
    while !consumer.is_closed() {
        let now = mokasim::clock::now();
        assert!(now < deadline, "seen {seen:?}, {:?}", consumer.group());
        client.receive(now);
        consumer.poll(now, &mut client.cluster, 10, &mut |_, record| {
            seen.push(String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned());
            Verdict::Done
        });
        if seen.len() == values.len() {
            consumer.close();
        }
        client.send(now);
        client.wait(now, now + Duration::from_millis(10));
    }
    seen.sort_unstable();
    assert_eq!(seen, values);
}
