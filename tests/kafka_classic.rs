//! The adapter over the `kafka` crate, on real brokers.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by failing")]

#[path = "common/broker.rs"]
mod broker;

use broker::{Cluster, Received, ToSend, wait_for};
use mokasim::bus::classic::Classic;
use mokasim::bus::kafka::murmur2::partition_for;
use mokasim::bus::{Bus, Incoming, Taken};
use mokasim::clock;
use mokasim::config::{self, Compression, Kafka, Overrides};
use mokasim::units::SimTime;
use mokasim::wire::{ORDER_BYTES_MAX, Record, TopicId, Topics};
use std::collections::BTreeMap;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

const KEYS: u64 = 26;

/// One broker for all tests that leave it alone; the end of the process takes it down.
fn shared() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    CLUSTER.get_or_init(|| Cluster::up("classic", "3.9.2", &[])).as_ref()
}

/// Settings with topics and a group of the test's own.
fn settings(cluster: &Cluster, test: &str) -> Kafka {
    Kafka {
        bootstrap_servers: cluster.bootstrap().split(',').map(str::to_owned).collect(),
        group_id: test.into(),
        from_earliest: true,
        batch_size: 16 * 1024,
        linger: Duration::from_millis(10),
        compression: Compression::None,
        buffer_bytes: 32 * 1024 * 1024,
        topics: Topics {
            orders: format!("{test}.orders"),
            telemetry: vec![format!("{test}.telemetry")],
            events: format!("{test}.events"),
            rejected: format!("{test}.rejected"),
        },
        ..config::load(None, &|_| None, &Overrides::default()).unwrap().kafka
    }
}

/// An adapter, and what it was fed and gave.
struct Driver {
    bus: Classic,
    published: u64,
    orders: Vec<(i32, i64, String)>,
}

impl Driver {
    fn new(settings: &Kafka) -> Self {
        Self { bus: Classic::new(settings, true, clock::now()).unwrap(), published: 0, orders: Vec::new() }
    }

    fn poll(&mut self) {
        let orders = &mut self.orders;
        self.bus.poll(clock::now(), 100, &mut |order: Incoming<'_>| {
            let payload = String::from_utf8_lossy(order.payload).into_owned();
            orders.push((order.position.partition, order.position.offset, payload));
            Taken::Done
        });
    }

    /// Publishes the next records, one key after the other, as telemetry: the value counts them.
    fn publish(&mut self, records: u64) {
        for n in self.published..self.published + records {
            let (key, value) = (format!("machine-{}", n % KEYS), n.to_string());
            let record = Record {
                topic: TopicId(0),
                key: key.as_bytes(),
                timestamp: SimTime(0),
                headers: &[],
                value: value.as_bytes(),
            };
            self.bus.publish(&record).unwrap();
        }
        self.published += records;
    }

    fn poll_until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        wait_for(what, || {
            self.poll();
            condition(self)
        });
    }

    fn settle(&mut self) {
        self.poll_until("every record to be acknowledged", |driver| driver.bus.status().outbox_records == 0);
    }

    fn close(mut self) {
        self.poll_until("the first connection", |driver| driver.bus.status().connected);
        wait_for("offsets to be committed", || {
            self.poll();
            self.bus.close(clock::now()) && self.bus.status().outbox_records == 0
        });
    }
}

/// Checks that `count` records are all there, in order within each key; sent again and again is fine if `again`.
fn check(received: &[Received], count: u64, again: bool) {
    let mut by_key: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
    for record in received {
        let key = record.key.as_deref().unwrap();
        assert_eq!(record.partition, partition_for(key.as_bytes(), 3), "{record:?}");
        by_key.entry(key).or_default().push(record.value.parse().unwrap());
    }
    for (key, values) in by_key {
        let first: u64 = key.strip_prefix("machine-").unwrap().parse().unwrap();
        let expected: Vec<u64> = (first..count).step_by(KEYS as usize).collect();
        if !again {
            assert_eq!(values, expected, "{key}");
            continue;
        }
        // A batch that was sent again repeats what came before it, never skips.
        let mut next = expected.iter();
        let mut highest = None;
        for value in values {
            if highest.is_none_or(|highest| value > highest) {
                assert_eq!(next.next(), Some(&value), "{key}");
                highest = Some(value);
            }
        }
        assert_eq!(next.next(), None, "{key}");
    }
    if !again {
        assert_eq!(received.len() as u64, count);
    }
}

#[test]
fn records_arrive_once_and_in_order_under_every_compression() {
    let Some(cluster) = shared() else { return };
    for compression in [Compression::None, Compression::Gzip, Compression::Snappy] {
        let mut settings = settings(cluster, &format!("order-{compression:?}"));
        settings.compression = compression;
        let mut driver = Driver::new(&settings);
        driver.publish(5000);
        driver.settle();
        assert_eq!(driver.bus.status().acknowledged, 5000);
        check(&cluster.consume(&settings.topics.telemetry[0], &[]), 5000, false);
    }
}

fn order(n: u64) -> ToSend {
    ToSend { value: format!("order {n}"), ..ToSend::default() }
}

#[test]
fn orders_come_once_and_their_offsets_survive() {
    let Some(cluster) = shared() else { return };
    let settings = settings(cluster, "orders");
    let orders: Vec<ToSend> = (0..500).map(order).collect();
    cluster.produce(&settings.topics.orders, &orders, &["compression.type=gzip"]);

    let mut driver = Driver::new(&settings);
    driver.poll_until("500 orders", |driver| driver.orders.len() == 500);
    driver.poll_until("no lag", |driver| driver.bus.status().consumer_lag == Some(0));
    let mut seen: Vec<String> = driver.orders.iter().map(|(_, _, payload)| payload.clone()).collect();
    seen.sort_by_key(|payload| payload["order ".len()..].parse::<u64>().unwrap());
    assert!(seen.iter().enumerate().all(|(n, payload)| *payload == format!("order {n}")));
    let mut in_order = driver.orders.clone();
    in_order.sort_by_key(|&(partition, ..)| partition);
    assert!(in_order.is_sorted_by_key(|&(partition, offset, _)| (partition, offset)));
    driver.close();

    let mut again = Driver::new(&settings);
    cluster.produce(&settings.topics.orders, &[order(500)], &[]);
    again.poll_until("the new order", |driver| !driver.orders.is_empty());
    again.poll_until("no lag", |driver| driver.bus.status().consumer_lag == Some(0));
    assert_eq!(again.orders.iter().map(|(_, _, payload)| payload.as_str()).collect::<Vec<_>>(), ["order 500"]);
}

#[test]
fn a_sender_feeds_the_orders_of_a_factory() {
    let Some(cluster) = shared() else { return };
    let settings = settings(cluster, "sender");
    let orders = settings.topics.orders.clone();
    let topics = Topics { orders: orders.clone(), telemetry: vec![], events: orders.clone(), rejected: orders };
    let sender = Kafka { topics, ..settings.clone() };
    let mut sender = Classic::new(&sender, false, clock::now()).unwrap();
    let record = Record { topic: TopicId(0), key: b"L-1", timestamp: SimTime(0), headers: &[], value: b"an order" };
    sender.publish(&record).unwrap();
    wait_for("the acknowledgement", || {
        sender.poll(clock::now(), 100, &mut |order| panic!("{order:?}"));
        sender.status().outbox_records == 0 && sender.close(clock::now())
    });
    let mut factory = Driver::new(&settings);
    factory.poll_until("the order", |driver| driver.orders.len() == 1);
    assert_eq!(factory.orders[0].2, "an order");
}

#[test]
fn an_order_for_which_there_is_no_room_is_handed_over_again() {
    let Some(cluster) = shared() else { return };
    let settings = settings(cluster, "later");
    let orders: Vec<ToSend> = (0..1000).map(|n| ToSend { partition: Some(0), ..order(n) }).collect();
    cluster.create(&settings.topics.orders, 1);
    cluster.produce(&settings.topics.orders, &orders, &[]);
    let mut bus = Classic::new(&settings, true, clock::now()).unwrap();
    let mut offered = 0_u64;
    wait_for("the first order, ten times", || {
        bus.poll(clock::now(), 100, &mut |order: Incoming<'_>| {
            assert_eq!(order.payload, b"order 0");
            offered += 1;
            Taken::Later
        });
        offered >= 10
    });
    wait_for("all orders to count as not read", || {
        bus.poll(clock::now(), 0, &mut |_| Taken::Later);
        bus.status().consumer_lag == Some(1000)
    });
    let mut taken = 0_u64;
    wait_for("all orders", || {
        bus.poll(clock::now(), 100, &mut |order: Incoming<'_>| {
            assert_eq!(order.payload, format!("order {taken}").as_bytes());
            taken += 1;
            Taken::Done
        });
        taken == 1000
    });
}

#[test]
fn orders_that_cannot_be_read_do_not_stop_the_next_ones() {
    let Some(cluster) = shared() else { return };
    let settings = settings(cluster, "unreadable");
    let topic = &settings.topics.orders;
    let send = |value: String, settings: &[&str]| {
        cluster.produce(topic, &[ToSend { value, ..ToSend::default() }], settings);
    };
    cluster.create(topic, 1);
    send("order 0".into(), &[]);
    send("never read ".repeat(100), &["compression.type=lz4"]);
    send("never read ".repeat(100), &["compression.type=zstd"]);
    send("order 3".into(), &["transactional.id=unreadable"]);
    send("x".repeat(900_000), &[]);
    send("order 6".into(), &[]);
    let mut driver = Driver::new(&settings);
    driver.poll_until("order 6", |driver| driver.orders.len() == 6);
    send("order 7".into(), &["transactional.id=unreadable"]);
    driver
        .poll_until("the end of the log", |driver| driver.orders.len() == 7 && driver.bus.status().consumer_lag == Some(0));
    send("order 9".into(), &[]);
    driver.poll_until("order 9", |driver| driver.orders.len() == 8);

    let seen: Vec<(i64, usize)> = driver.orders.iter().map(|(_, offset, payload)| (*offset, payload.len())).collect();
    // Offsets 4 and 8 are ends of transactions.
    assert_eq!(seen, [(0, 7), (1, 0), (2, 0), (3, 7), (5, ORDER_BYTES_MAX + 1), (6, 7), (7, 7), (9, 7)]);
    // An end of a transaction that is the last of the log looks like a record too large to be fetched.
    driver.poll_until("what was passed over to be counted", |driver| driver.bus.status().errors == 3);
}

#[test]
fn a_record_that_the_broker_refuses_is_counted_and_the_next_ones_go_on() {
    let Some(cluster) = shared() else { return };
    let settings = settings(cluster, "refused");
    let mut driver = Driver::new(&settings);
    driver.publish(1000);
    let value = vec![b'x'; 2 * 1024 * 1024];
    let large = Record { topic: TopicId(0), key: b"machine-0", timestamp: SimTime(0), headers: &[], value: &value };
    driver.bus.publish(&large).unwrap();
    driver.publish(1000);
    driver.settle();
    let status = driver.bus.status();
    assert_eq!((status.acknowledged, status.refused, status.errors), (2000, 1, 1));
    check(&cluster.consume(&settings.topics.telemetry[0], &[]), 2000, false);
}

#[test]
fn a_broker_absent_killed_or_frozen_costs_no_record() {
    let Some(cluster) = Cluster::up("classic-restart", "3.9.2", &[]) else { return };
    let settings = settings(&cluster, "restart");
    cluster.act("kill", None);
    let mut driver = Driver::new(&settings);
    driver.publish(1000);
    driver.poll_until("a failed attempt", |driver| driver.bus.status().errors > 0);
    assert!(!driver.bus.status().connected);
    assert_eq!(driver.bus.status().outbox_records, 1000);

    cluster.act("restart", None);
    driver.settle();
    driver.poll_until("the connection", |driver| driver.bus.status().connected);

    // Killed in the middle of it.
    driver.publish(10_000);
    driver.poll_until("some acknowledgements", |driver| driver.bus.status().acknowledged > 1000);
    cluster.act("kill", None);
    driver.publish(10_000);
    driver.poll_until("the loss to be seen", |driver| !driver.bus.status().connected);
    cluster.act("restart", None);
    driver.publish(10_000);
    driver.settle();

    // Frozen: there is no answer, and no error either.
    cluster.act("stop", None);
    driver.publish(10_000);
    driver.poll_until("the silence to be noticed", |driver| !driver.bus.status().connected);
    cluster.act("cont", None);
    driver.settle();
    driver.poll_until("the connection", |driver| driver.bus.status().connected);

    cluster.produce(&settings.topics.orders, &[order(0)], &[]);
    driver.poll_until("an order", |driver| driver.orders.len() == 1);
    check(&cluster.consume(&settings.topics.telemetry[0], &[]), driver.published, true);
}

#[test]
fn a_broker_too_new_is_named() {
    let Some(cluster) = Cluster::up("classic-new", "4.3.1", &[]) else { return };
    let lines = captured_log();
    let mut driver = Driver::new(&settings(&cluster, "new"));
    let named = format!(
        "broker {} speaks Fetch 4 and later (Apache Kafka 4.0 or newer); the classic client speaks version 0",
        cluster.bootstrap()
    );
    driver.poll_until("the reason in the log", |_| lines.lock().unwrap().iter().any(|line| line.contains(&named)));
    driver.poll_until("the failure to be counted", |driver| driver.bus.status().errors > 0);
    assert!(!driver.bus.status().connected);
}

/// What is logged in this process from now on.
fn captured_log() -> &'static Mutex<Vec<String>> {
    struct Capture(Mutex<Vec<String>>);
    impl log::Log for Capture {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }
        fn log(&self, record: &log::Record<'_>) {
            self.0.lock().unwrap().push(record.args().to_string());
        }
        fn flush(&self) {}
    }
    static CAPTURE: Capture = Capture(Mutex::new(Vec::new()));
    log::set_logger(&CAPTURE).unwrap();
    log::set_max_level(log::LevelFilter::Info);
    &CAPTURE.0
}
