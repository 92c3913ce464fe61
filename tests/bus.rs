//! What the bus's own parts promise, driven at random against a plain model. `SEED=n` replays one run.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "a test says what went wrong by failing")]

#[path = "common/seeds.rs"]
mod seeds;

use mokasim::bus::faulty::{Faults, Faulty};
use mokasim::bus::memory::Memory;
use mokasim::bus::outbox::Outbox;
use mokasim::bus::{Bus as _, Full, Position, Taken};
use mokasim::clock;
use mokasim::units::SimTime;
use mokasim::wire::{Class, Record, TopicId, Topics};
use rand::RngExt as _;
use seeds::for_seeds;
use std::time::Duration;

/// What record number `n` of a test says, so that it can be told from every other.
struct Sample {
    key: String,
    seq: String,
    value: String,
}

impl Sample {
    fn new(n: u64, padding: usize) -> Self {
        Self {
            key: format!("key-{}", n % 7),
            seq: n.to_string(),
            value: format!("{{\"n\":{n},\"p\":\"{}\"}}", "x".repeat(padding)),
        }
    }

    fn with<T>(&self, n: u64, use_it: impl FnOnce(&Record<'_>) -> T) -> T {
        let headers = [("machine_id", self.key.as_bytes()), ("seq", self.seq.as_bytes()), ("run_id", &b"00c0ffee"[..])];
        let (key, value) = (self.key.as_bytes(), self.value.as_bytes());
        use_it(&Record {
            topic: TopicId((n % 6) as u16),
            key,
            timestamp: SimTime(n as i64 - 5),
            headers: &headers[..(n % 4).min(3) as usize],
            value,
        })
    }
}

#[test]
fn outbox_loses_and_doubles_nothing_through_rewinds() {
    for_seeds(60, |random| {
        let mut outbox = Outbox::new(random.random_range(0..300_000));
        let mut stored: Vec<(u64, Class, usize)> = Vec::new(); // (n, class, padding) by seq
        let mut in_flight: Vec<u64> = Vec::new(); // seqs, as handed out
        let mut left: Vec<u64> = Vec::new(); // seqs, as acknowledged
        let mut n = 0;
        for _ in 0..random.random_range(100..6000) {
            match random.random_range(0..100) {
                0..60 => {
                    let class = if random.random_bool(0.3) { Class::Event } else { Class::Telemetry };
                    let padding = if random.random_bool(0.002) { 70_000 } else { random.random_range(0..900) };
                    let dropped = outbox.dropped();
                    match Sample::new(n, padding).with(n, |record| outbox.push(record, class)) {
                        Ok(()) => stored.push((n, class, padding)),
                        Err(Full) => assert_eq!((class, outbox.dropped()), (Class::Event, dropped)),
                    }
                    n += 1;
                }
                60..90 => {
                    let Some(entry) = outbox.take() else { continue };
                    let (n, _, padding) = stored[entry.seq as usize];
                    Sample::new(n, padding).with(n, |record| assert_eq!(entry.record(), *record));
                    assert!(in_flight.last().is_none_or(|last| *last < entry.seq), "out of order");
                    in_flight.push(entry.seq);
                }
                90..98 => {
                    let taken = random.random_range(0..=in_flight.len());
                    if taken > 0 {
                        outbox.acknowledge(in_flight[taken - 1]);
                        left.extend(in_flight.drain(..taken));
                    }
                }
                _ => {
                    outbox.rewind();
                    in_flight.clear();
                }
            }
        }
        outbox.rewind();
        in_flight.clear();
        while let Some(entry) = outbox.take() {
            left.push(entry.seq);
        }
        outbox.acknowledge(u64::MAX);

        assert!(left.is_sorted_by(|a, b| a < b), "left twice or out of order");
        assert_eq!(outbox.acknowledged(), left.len() as u64);
        assert_eq!((outbox.records(), outbox.bytes()), (0, 0));
        assert_eq!(outbox.dropped(), (stored.len() - left.len()) as u64);
        let lost = (0..stored.len() as u64).filter(|seq| left.binary_search(seq).is_err());
        assert!(lost.into_iter().all(|seq| stored[seq as usize].1 == Class::Telemetry), "an event was dropped");
    });
}

#[test]
fn outbox_drops_the_oldest_telemetry_and_counts_it() {
    for_seeds(20, |random| {
        let mut outbox = Outbox::new(600_000);
        let events = random.random_range(1..50);
        for n in 0..events {
            Sample::new(n, 100).with(n, |record| outbox.push(record, Class::Event)).unwrap();
        }
        let in_flight = random.random_range(0..200);
        let mut taken = 0;
        let pushed = 3000;
        for n in events..events + pushed {
            Sample::new(n, random.random_range(0..300)).with(n, |record| outbox.push(record, Class::Telemetry)).unwrap();
            if taken < events + in_flight {
                assert_eq!(outbox.take().unwrap().seq, taken);
                taken += 1;
            }
        }
        assert!(outbox.dropped() > 500);
        assert!(!outbox.has_room());

        // What is left behind those in flight is the rest of the memory they are in, then the newest without a gap.
        let rest: Vec<u64> = std::iter::from_fn(|| outbox.take().map(|entry| entry.seq)).collect();
        assert_eq!(rest.last(), Some(&(events + pushed - 1)));
        assert!(rest.windows(2).filter(|pair| pair[1] != pair[0] + 1).count() <= 1, "{rest:?}");
        assert_eq!(outbox.dropped() + taken + rest.len() as u64, events + pushed);
        outbox.rewind();
        let again: Vec<u64> = std::iter::from_fn(|| outbox.take().map(|entry| entry.seq)).collect();
        assert_eq!(again, (0..taken).chain(rest).collect::<Vec<_>>(), "a record in flight was dropped");
    });
}

#[test]
fn a_full_half_leaves_the_other_its_room() {
    let mut outbox = Outbox::new(200_000);
    let sample = Sample::new(0, 300);
    while sample.with(0, |record| outbox.push(record, Class::Event)).is_ok() {}
    assert!(!outbox.has_room());
    let events = outbox.records();
    assert!((150..=300).contains(&events), "{events} events of about 400 bytes in 100,000");
    sample.with(0, |record| outbox.push(record, Class::Telemetry)).unwrap();
    assert_eq!((outbox.records(), outbox.dropped()), (events + 1, 0));
}

fn topics() -> Topics {
    let name = String::from;
    Topics {
        orders: name("orders"),
        telemetry: vec![name("telemetry"); 4],
        events: name("events"),
        rejected: name("rejected"),
    }
}

#[test]
fn a_faulty_bus_repeats_and_holds_back_but_loses_nothing() {
    for_seeds(50, |random| {
        let mut chance = |max| if random.random_bool(0.5) { random.random_range(0.0..max) } else { 0.0 };
        let faults = Faults {
            lost_commit: chance(0.5),
            duplicate: chance(0.5),
            delay: chance(0.5),
            disconnect: chance(0.05),
            full: chance(0.05),
            outage: Duration::from_secs(2),
        };
        let memory = Memory::new(&topics(), 1 << 20, 50);
        let mut bus = Faulty::new(memory, &topics(), faults, random.random());
        let mut now = clock::now();
        let mut orders: Vec<(Position, Vec<u8>)> = Vec::new();
        let (mut repeated, mut refused, mut away, mut published) = (0, 0, 0, 0);
        let mut arrived = Vec::new();
        for order in 0..200 {
            bus.inner().push_order(order.to_string());
        }
        for _ in 0..5000 {
            now += Duration::from_millis(100);
            bus.poll(now, 3, &mut |incoming| {
                let order = (incoming.position, incoming.payload.to_vec());
                match orders.iter().position(|known| *known == order) {
                    Some(known) => {
                        assert_eq!(known, orders.len() - 1, "only the last one may be repeated");
                        repeated += 1;
                    }
                    None => orders.push(order),
                }
                Taken::Done
            });
            away += u64::from(!bus.status().connected);
            if published < 400 {
                let event = TopicId(4);
                match Sample::new(published, 50).with(published, |record| bus.publish(&Record { topic: event, ..*record })) {
                    Ok(()) => published += 1,
                    Err(Full) => refused += u64::from(!bus.has_room()),
                }
            }
            arrived.extend(bus.inner().take_delivered());
            if orders.len() == 200 && published == 400 && bus.status().outbox_records == 0 && bus.close(now) {
                break;
            }
        }
        let expected: Vec<_> =
            (0..200).map(|n| (Position { partition: 0, incarnation: 0, offset: n }, n.to_string().into_bytes())).collect();
        assert_eq!(orders, expected);
        let seqs: Vec<_> = arrived.iter().map(|record| record.timestamp.0 + 5).collect();
        assert_eq!(seqs, (0..400).collect::<Vec<_>>());
        assert_eq!(bus.status().errors > 0, away > 0);
        assert!(repeated > 0 || faults.lost_commit + faults.duplicate < 0.1);
        assert!(refused > 0 || faults.full < 0.02);
        assert!(away > 0 || faults.disconnect < 0.02);
    });
}

#[test]
fn a_bus_in_memory_delivers_what_was_published() {
    let mut bus = Memory::new(&topics(), 1 << 20, 2);
    for n in 0..3 {
        Sample::new(n, 9).with(n, |record| bus.publish(record)).unwrap();
    }
    let poll = |bus: &mut Memory| bus.poll(clock::now(), 0, &mut |_| Taken::Later);
    poll(&mut bus);
    let first = bus.take_delivered();
    assert_eq!(
        (first.len(), bus.status().outbox_records, bus.close(clock::now())),
        (2, 1, false),
        "it is full of two records"
    );
    poll(&mut bus);
    assert!(bus.close(clock::now()));
    for (n, delivered) in first.into_iter().chain(bus.take_delivered()).enumerate() {
        Sample::new(n as u64, 9).with(n as u64, |record| assert_eq!(delivered, record.into()));
    }
}
