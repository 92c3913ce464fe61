//! The adapter's own side, with the test in the place of the thread.

use super::*;
use crate::config;
use crate::units::SimTime;
use crate::wire::{TopicId, Topics};

const MS: Duration = Duration::from_millis(1);

fn settings() -> Kafka {
    Kafka {
        bootstrap_servers: vec![],
        group_id: "group".into(),
        from_earliest: true,
        batch_size: 1000,
        linger: 10 * MS,
        compression: Compression::None,
        buffer_bytes: 8 << 20,
        topics: Topics {
            orders: "orders".into(),
            telemetry: vec!["telemetry".into()],
            events: "events".into(),
            rejected: "rejected".into(),
        },
        ..config::load(None, &|_| None, &config::Overrides::default()).unwrap().kafka
    }
}

fn bus() -> (Classic, Ends, Instant) {
    let now = crate::clock::now();
    let (bus, ends) = Classic::wire(&settings(), now);
    (bus, ends, now)
}

fn publish(bus: &mut Classic, bytes: usize) {
    let value = vec![b'x'; bytes];
    let record = Record { topic: TopicId(1), key: b"", timestamp: SimTime(0), headers: &[], value: &value };
    bus.publish(&record).unwrap();
}

fn poll(bus: &mut Classic, now: Instant) {
    bus.poll(now, 0, &mut |_| Taken::Done);
}

/// How many records each batch has that waits for the thread.
fn batches(ends: &Ends) -> Vec<u64> {
    let commands = ends.commands.try_iter();
    commands.map(|command| if let Command::Send(batch) = command { batch.len() } else { panic!("{command:?}") }).collect()
}

fn order(offset: i64) -> Order {
    Order { position: Position { partition: 0, incarnation: 0, offset }, payload: offset.to_string().into_bytes() }
}

#[test]
fn a_batch_leaves_when_it_is_full_or_old() {
    let (mut bus, ends, start) = bus();
    poll(&mut bus, start);
    publish(&mut bus, 999);
    poll(&mut bus, start + 9 * MS);
    assert!(ends.commands.is_empty());
    poll(&mut bus, start + 10 * MS);
    assert_eq!(batches(&ends), [1]);

    publish(&mut bus, 999);
    publish(&mut bus, 1);
    poll(&mut bus, start + 10 * MS);
    assert_eq!(batches(&ends), [2]);
}

#[test]
fn records_count_until_the_broker_has_them() {
    let (mut bus, ends, now) = bus();
    let large = REQUEST_BYTES_MAX + 1;
    for _ in 0..COMMANDS_MAX + 2 {
        publish(&mut bus, large);
    }
    poll(&mut bus, now);
    assert_eq!(ends.commands.len(), COMMANDS_MAX);
    let mut sent = 0;
    while let Ok(Command::Send(batch)) = ends.commands.try_recv() {
        sent += batch.len();
        assert_eq!(bus.status().acknowledged, sent - 1);
        ends.reports.send(Report::Sent { batch, refused: 0 }).unwrap();
        poll(&mut bus, now);
    }
    assert_eq!(sent, COMMANDS_MAX as u64 + 2);
    assert_eq!((bus.status().acknowledged, bus.status().outbox_records), (sent, 0));
}

#[test]
fn offsets_are_committed_a_poll_after_their_orders_were_done() {
    let (mut bus, ends, now) = bus();
    for offset in 0..3 {
        ends.orders.send(order(offset)).unwrap();
    }
    let mut room = 2;
    let mut take = |order: Incoming<'_>| {
        assert_eq!(order.payload, order.position.offset.to_string().as_bytes());
        room -= 1;
        if room < 0 { Taken::Later } else { Taken::Done }
    };
    bus.poll(now, 10, &mut take);
    assert!(ends.commands.is_empty() && !bus.close(now));
    poll(&mut bus, now);
    let commands: Vec<Command> = ends.commands.try_iter().collect();
    let [Command::Commit { number: 1, offsets }] = &commands[..] else { panic!("{commands:?}") };
    assert_eq!(offsets[..], [(0, 2)]);
    assert!(!bus.close(now));
    ends.reports.send(Report::Committed { number: 1 }).unwrap();
    poll(&mut bus, now);
    assert!(bus.close(now));
}

#[test]
fn orders_put_off_do_not_cut_a_wait_short_and_new_ones_do() {
    let (mut bus, ends, _) = bus();
    ends.orders.send(order(0)).unwrap();
    let start = crate::clock::now();
    bus.poll(start, 10, &mut |_| Taken::Later);
    bus.wait(start, start + 20 * MS);
    assert!(crate::clock::now() >= start + 20 * MS);

    bus.poll(start, 10, &mut |_| Taken::Done);
    ends.orders.send(order(1)).unwrap();
    let start = crate::clock::now();
    bus.wait(start, start + Duration::from_secs(600));
    assert!(crate::clock::now() < start + Duration::from_secs(600));
}

#[test]
fn a_thread_that_waits_too_long_for_an_answer_counts_as_disconnected() {
    let (mut bus, ends, start) = bus();
    ends.reports.send(Report::Up).unwrap();
    poll(&mut bus, start);
    assert!(bus.status().connected);
    let late = start + ANSWER_TIME_MAX + MS;
    poll(&mut bus, late);
    assert!(!bus.status().connected);
    ends.steps.fetch_add(1, Ordering::Relaxed);
    poll(&mut bus, late);
    assert!(bus.status().connected);
}

#[test]
fn a_compression_that_the_crate_has_not_is_named() {
    let kafka = Kafka { compression: Compression::Zstd, ..settings() };
    let error = Classic::new(&kafka, true, crate::clock::now()).unwrap_err().to_string();
    assert!(error.contains("Zstd"), "{error}");
}
